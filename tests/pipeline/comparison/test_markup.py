"""Tables of a comparison in LaTeX, Markdown and HTML, with names that hold markup of each."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from cpp_pipe import Run
from cpp_pipe.pipeline.comparison.comparison import compare_partitions
from cpp_pipe.pipeline.comparison.image_set import ImageSet
from cpp_pipe.pipeline.comparison.partition import Partition
from cpp_pipe.pipeline.comparison.result import ComparedRuns
from cpp_pipe.pipeline.view.evaluation import Scores

from .world import import_run, write

ODD = (
    r"a_b%c&d#e$f~g^h\i{j}k",
    "[0.1] *twice* <b>bold</b> | `code` [x](y) ~~z~~ &lt; &amp;",
    "“Schrödinger’s” – ąð þ ß Ł 東京 Ω 😀",
    "-- ?` !` ``q'' << >> ,, \"r\"",
)
NOTES = ("- not a list of 50%", "1. nor this", "# no heading", "[x] nor a box", "plain & simple")


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> ComparedRuns:
    """Runs of two seeds each with odd values of settings, and a rival."""
    folder = tmp_path_factory.mktemp("odd")
    store = folder / "artifacts"
    import_run(store, "all", write(folder / "all.npz", np.arange(160)))
    images = ImageSet.read(Run.open(store, "all").artifact("embeddings"), "cls", None)

    def partition(name: str, shift: int, seed: int, ari: float = 0.5, **others) -> Partition:
        clusters = (np.arange(160) + shift + seed) // 40 % 4
        scores = Scores(acc=0.5 + shift / 100 + seed / 10, nmi=0.5, ari=ari)
        return Partition(
            name=name, images=images, clusters=clusters, k=4, scores=scores, seed=seed, **others
        )

    runs = [
        partition(f"{place}", place, seed, settings={"a.b": f"|{text}", "a.c": text})
        for place, text in enumerate(ODD)
        for seed in (0, 1)
    ]
    rivals = [partition("[k-means*]", 9, 0, ari=-0.25, is_rival=True)]
    return ComparedRuns(compare_partitions([*runs, *rivals], NOTES))


def labels_of(compared: ComparedRuns) -> list[str]:
    labels = [group.label for group in compared.comparison.groups]
    assert all(text in label for text, label in zip(ODD, labels, strict=False))
    return labels


def test_no_mark_of_latex_is_left_in_a_name(compared):
    text = compared.to_latex()
    assert r"a\_b\%c\&d\#e\$f\textasciitilde{}g\textasciicircum{}h\textbackslash{}i\{j\}k" in text
    assert "{[}0.1{]} {*}twice{*} \\textless{}b\\textgreater{}bold" in text
    assert r"Schrödinger’s” – \unicodeletter{0105}{ą}" in text
    assert r"\unicodeletter{6771}{東}" in text
    assert "-{}- ?{}` !{}` `{}`q'{}' \\textless{}\\textless{}" in text
    assert text.count(r"\providecommand{\unicodeletter}") == 1
    body = re.sub(r"\\[\\{}%&#$_]", "", text)
    assert body.count("{") == body.count("}")
    assert not re.search(r"^\s*[*\[]", body, re.M), "an option of the end of the line before"


def test_numbers_have_a_minus_sign_in_latex_and_gaps_a_dash(compared):
    text = compared.to_latex()
    assert " & $-$0.250 & " in text
    assert text.endswith(r" & -- \\" + "\n\\bottomrule\n\\end{tabular}\n\\end{table}\n")
    assert not re.search(r"& -(\d| )", text)


def test_latex_needs_no_command_of_ours_for_letters():
    from cpp_pipe.pipeline.comparison.markup_tables import _tex

    assert _tex("é ± ñ Č") == r"é $\pm$ ñ Č"


NO_LATEX = (
    "no pdflatex: apt-get install texlive-latex-base"
    if shutil.which("pdflatex") is None
    else "LaTeX lacks booktabs: apt-get install texlive-latex-recommended"
    if not subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).stdout
    else None
)


@pytest.mark.skipif(NO_LATEX is not None, reason=NO_LATEX or "")
@pytest.mark.parametrize("package", ["", r"\usepackage[T1]{fontenc}"])
def test_latex_is_compiled_without_an_error(compared, tmp_path, package):
    compared.save(tmp_path / "table.tex")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n" + package + "\n"
        "\\begin{document}\n\\listoftables\n\\input{table.tex}\n\\end{document}\n"
    )
    # Twice: captions come back from the file of the list of tables.
    for _ in range(2):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
            cwd=tmp_path, capture_output=True, check=False,
        )  # fmt: skip
        log = (tmp_path / "paper.log").read_text(errors="replace")
        assert done.returncode == 0 and "Missing character" not in log, log[-2000:]
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")


def test_a_reader_of_markdown_sees_the_names_as_they_are(compared):
    # What GitHub reads beside CommonMark: tables, and text that is struck out.
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = reader.parse(compared.to_markdown())
    kinds = {token.type for token in tokens}
    assert kinds.isdisjoint({"bullet_list_open", "ordered_list_open", "heading_open"})
    texts = [token for token in tokens if token.type == "inline"]
    cells = [shown(token.children or []) for token in texts]
    for label in labels_of(compared):
        assert cells.count(label) == 4 - label.startswith("[k-means*]"), label
    assert [f"{note}." for note in NOTES] == [cell for cell in cells if cell[:-1] in NOTES]
    widths = [line.count("|") for line in re.sub(r"\\.", "", compared.to_markdown()).splitlines()]
    assert len({width for width in widths if width}) <= 3, "a table's lines are equal"


def shown(tokens) -> str:
    """The plain text; anything but text and code counts as markup that was interpreted."""
    assert {token.type for token in tokens} <= {
        "text", "text_special", "code_inline", "strong_open", "strong_close"
    }  # fmt: skip
    return "".join(token.content for token in tokens)


class Page(HTMLParser):
    """The elements of a page, and the text of its row and column headings."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.heads: list[str] = []
        self.is_head = False

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.add(tag)
        self.is_head = tag == "th"
        if self.is_head:
            self.heads.append("")

    def handle_endtag(self, tag) -> None:
        self.is_head = False

    def handle_data(self, data) -> None:
        if self.is_head:
            self.heads[-1] += data


def test_a_browser_sees_the_names_as_they_are(compared, recwarn):
    page = Page()
    page.feed(compared.to_html())
    assert page.elements.isdisjoint({"b", "script", "x"})
    for number, label in enumerate(labels_of(compared), 1):
        assert page.heads.count(f"{number} {label}") == 2, label


def test_files_hold_the_letters_of_every_script(compared, tmp_path: Path):
    for suffix in ("tex", "md", "html", "csv", "json"):
        compared.save(tmp_path / f"table.{suffix}")
        text = (tmp_path / f"table.{suffix}").read_text(encoding="utf-8")
        assert "Schr" in text and ("東" in text or suffix == "json"), suffix
