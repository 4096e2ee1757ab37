"""A comparison as Markdown and as LaTeX."""

import re
from collections.abc import Mapping, Sequence

from .cells import (
    AGREEMENT,
    Cell,
    Column,
    agreement_cells,
    cells_of,
    columns_of,
    describe,
    repetitions,
)
from .comparison import Comparison

_TEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"{\char34}",
    # After a line's end they would be its options.
    "[": "{[}", "]": "{]}", "*": "{*}",
    "±": r"$\pm$", "ε": r"$\varepsilon$", "η": r"$\eta$", "γ": r"$\gamma$",
}  # fmt: skip

_LIGATURES = re.compile(r"(?<=-)(?=-)|(?<=[?!`])(?=`)|(?<=')(?=')|(?<=,)(?=,)")
"""The places between two letters that TeX would set as a ligature."""

_UNKNOWN_TO_TEX = re.compile("[^ -~\u00a1-\u017e–—‘’“”†‡•…€™]|[«»ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲų]")
"""A letter that pdfLaTeX stops at, without further packages; each was tried."""

_LETTER = r"""% Letters that pdfLaTeX lacks; LuaLaTeX and XeLaTeX set them in a font that has them.
\providecommand{\unicodeletter}[2]{\ifdefined\Umathchar #2\else\texttt{U+#1}\fi}
"""


def to_markdown(comparison: Comparison) -> str:
    """Tables of scores, of settings that differ and of agreement, in GitHub's Markdown."""
    columns = columns_of(comparison)
    labels = [_md(group.label) for group in comparison.groups]
    cells = [cells_of(comparison, column) for column in columns]
    head = ["", "runs", *(column.title for column in columns)]
    rows = [
        [label, runs, *(_md_cell(cell) for cell in row)]
        for label, runs, row in zip(
            labels, repetitions(comparison), zip(*cells, strict=True), strict=True
        )
    ]
    blocks = [describe(comparison), _md_table(head, rows)]
    if comparison.settings:
        runs = [number for number, group in enumerate(comparison.groups) if not group.is_rival]
        settings = [
            [f"`{name}`", *(_md(values[number]) for number in runs)]
            for name, values in comparison.settings.items()
        ]
        own = [labels[number] for number in runs]
        blocks += ["Settings that differ", _md_table(["", *own], settings)]
    if len(labels) > 1:
        agreement = [
            [label, *agreement_cells(row)]
            for label, row in zip(labels, comparison.agreement, strict=True)
        ]
        blocks += [AGREEMENT, _md_table(["", *labels], agreement)]
    return "\n\n".join([*blocks, *(f"{_md_start(note)}." for note in comparison.notes)]) + "\n"


def _md(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]&~$#])", r"\\\1", " ".join(text.split()))


def _md_start(text: str) -> str:
    """Text that begins a paragraph, not a list."""
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", _md(text))


def _md_cell(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    mean = f"**{cell.mean}**" if cell.is_best else cell.mean
    return f"{mean} ± {cell.spread}" if cell.spread else mean


def _md_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_latex(comparison: Comparison) -> str:
    r"""Two `tabular`s in a `table` each, for the package booktabs; the best scores are bold."""
    columns = columns_of(comparison)
    labels = [_tex(group.label) for group in comparison.groups]
    cells = [cells_of(comparison, column) for column in columns]
    rows = [
        [label, runs, *(_tex_cell(cell, column) for cell, column in zip(row, columns, strict=True))]
        for label, runs, row in zip(
            labels, repetitions(comparison), zip(*cells, strict=True), strict=True
        )
    ]
    head = ["", "runs", *(_tex_title(column) for column in columns)]
    notes = " ".join(f"{_tex(note)}." for note in comparison.notes)
    caption = f"{_tex(describe(comparison))}. {notes}".strip()
    # A line separates rivals from runs.
    first_rival = sum(not group.is_rival for group in comparison.groups)
    tables = [_tex_table(caption, head, rows, first_rival)]
    if len(labels) > 1:
        numbered = [f"{number} {label}" for number, label in enumerate(labels, 1)]
        agreement = [
            [label, *map(_tex_number, agreement_cells(row))]
            for label, row in zip(numbered, comparison.agreement, strict=True)
        ]
        numbers = [str(number) for number in range(1, len(labels) + 1)]
        tables.append(_tex_table(f"{AGREEMENT}.", ["", *numbers], agreement, first_rival))
    text = "\n".join(tables)
    return "% \\usepackage{booktabs}\n" + (_LETTER if r"\unicodeletter{" in text else "") + text


def _tex(text: str) -> str:
    # `{}` between the letters of a ligature is TeX, not text, so it must not be escaped.
    pieces = _LIGATURES.split(" ".join(text.split()))
    return "{}".join("".join(map(_tex_letter, piece)) for piece in pieces)


def _tex_letter(letter: str) -> str:
    if letter not in _TEX and _UNKNOWN_TO_TEX.match(letter):
        return rf"\unicodeletter{{{ord(letter):04X}}}{{{letter}}}"
    return _TEX.get(letter, letter)


def _tex_title(column: Column) -> str:
    return "$k$" if column.measure == "k" else _tex(column.title)


def _tex_cell(cell: Cell | None, column: Column) -> str:
    if cell is None:
        return _tex_number("-")
    mean = _tex_number(cell.mean)
    if cell.is_best:
        mean = rf"\textbf{{{mean}}}"
    return rf"{mean} {{\scriptsize $\pm$ {cell.spread}}}" if cell.spread else mean


def _tex_number(text: str) -> str:
    """A number with a minus sign, or a dash where there is none; a hyphen alone is neither."""
    return "--" if text == "-" else text.replace("-", "$-$")


def _tex_table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], first_rival: int
) -> str:
    lines = [" & ".join(row) + r" \\" for row in rows]
    if 0 < first_rival < len(lines):
        lines.insert(first_rival, r"\midrule")
    body = "\n".join(lines)
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{caption}}}\n\\smallskip\n"
        f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}\n\\toprule\n"
        f"{' & '.join(head)} \\\\\n\\midrule\n{body}\n\\bottomrule\n"
        "\\end{tabular}\n\\end{table}\n"
    )
