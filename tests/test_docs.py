"""The site says what the program does: generated pages are complete, and what is written runs."""

import html
import importlib
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer

from cpp_pipe.pipeline.commands.app import COMMANDS, app
from cpp_pipe.pipeline.config import CONFIGS, Settings
from cpp_pipe.stages.algorithms.objective import Objective
from cpp_pipe.store.kinds import KINDS
from cpp_pipe.store.specs import Table, Tensors
from tools.docs_checks import foreign_loads, loads_of_site
from tools.docs_commands import commands_page, help_markdown
from tools.docs_console import CommandFailed, Console
from tools.docs_kinds import kinds_section
from tools.docs_notebook import notebook_page
from tools.docs_settings import field_docs, settings_page

from .pipeline.cli import call
from .test_house import tracked

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
NOTEBOOK = DOCS / "cpp_pipe.ipynb"
PAGES = sorted(DOCS.glob("*.md"))

WARNINGS_ARE_ERRORS = """
import warnings
for module in ("cpp_pipe", "__main__"):
    warnings.filterwarnings("error", module=module)
"""


def extra(name: str) -> Any:
    """A package of the extra `docs`; skips the test without it, and fails in CI."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        reason = f"{name} is not installed: pip install -c constraints.txt -e '.[docs]'"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def sections(markdown: str) -> dict[str, str]:
    """The text below each heading of the second level, by heading."""
    parts = re.split(r"^## (.+)$", markdown, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def fences(markdown: str) -> Iterator[tuple[str, str]]:
    """Each block of code: the words after its opening fence, and the code."""
    for block in re.finditer(r"^```([^\n]*)\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL):
        yield block[1], block[2]


@pytest.fixture(scope="module")
def group() -> Any:
    return typer.main.get_command(app)


# Generated pages.


def test_the_page_of_commands_shows_every_flag(group):
    shown_sections = sections(commands_page(group))
    assert list(shown_sections) == list(COMMANDS)
    for name, section in shown_sections.items():
        flags = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", call(None, name, "--help").out))
        rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        shown = {flag for row in rows for flag in re.findall(r"`(-[^`]+)`", row)}
        assert shown <= flags, f"{name} has no such flag"
        # Examples in the help name flags of other programs too.
        parameters = group.get_command(None, name).params
        options = {flag for parameter in parameters for flag in parameter.opts}
        assert {flag for flag in options if flag.startswith("-")} <= shown, name


def test_examples_of_a_help_text_become_commands_and_brackets_stay():
    markdown = help_markdown("Do it, with [train] and *.tar.\n\n\b\n  cpp-pipe do --it")
    assert markdown == "Do it, with \\[train\\] and \\*.tar.\n\n```console\n$ cpp-pipe do --it\n```"


def test_the_page_of_settings_shows_every_setting_with_its_default():
    shown = sections(settings_page(Settings, CONFIGS, others=(Objective,)))
    for name, table in Settings().tables().items():
        rows = [line.split(" | ") for line in shown[f"`[{name}]`"].splitlines()]
        written = {
            row[0].strip("|` "): row[2].strip("`") for row in rows if row[0].startswith("| `")
        }
        assert list(written) == list(table), name
        for key, default in table.items():
            assert tomllib.loads(f"value = {written[key]}")["value"] == default, f"{name}.{key}"


def test_the_page_of_settings_shows_every_shipped_config():
    page = settings_page(Settings, CONFIGS)
    shown = [tomllib.loads(code) for kind, code in fences(page) if kind == "toml"]
    assert all(tomllib.loads(path.read_text()) in shown for path in CONFIGS.glob("*.toml"))


def test_docs_of_fields_include_those_of_base_classes():
    @dataclass
    class Base:
        first: int = 0
        """Of the base."""

    @dataclass
    class Child(Base):
        second: int = 0
        third: int = 0
        """Two
        lines."""

    assert field_docs(Child) == {"first": "Of the base.", "third": "Two lines."}


def test_the_page_of_kinds_shows_every_column():
    parts = re.split(r"^### `(\w+)`, format (\d+)$", kinds_section(KINDS.values()), flags=re.M)
    assert [(name, int(number)) for name, number in zip(parts[1::3], parts[2::3], strict=True)] == [
        (kind.name, kind.format) for kind in KINDS.values()
    ]
    for kind, text in zip(KINDS.values(), parts[3::3], strict=True):
        for spec in kind.files.values():
            assert f"`PART{spec.suffix}`" in text
            names = spec.names if isinstance(spec, Tensors) else ()
            columns = spec.columns if isinstance(spec, Table) else ()
            assert all(f"`{name}`" in text for name in names)
            assert all(f"| `{column.name}` |" in text for column in columns)


def test_the_history_of_formats_ends_with_the_current_ones():
    history: dict[str, list[int]] = {}
    for kind, number in re.findall(r"^\| (\w+) \| (\d+) \|", (DOCS / "store.md").read_text(), re.M):
        history.setdefault(kind, []).append(int(number))
    current = {kind.name: list(range(1, kind.format + 1)) for kind in KINDS.values()}
    assert history == current, "say in docs/store.md what each format changed"


# Formulas, and what a page may load.


def test_formulas_become_mathml_and_code_stays():
    markdown, math = extra("markdown"), extra("tools.docs_math")
    source = "Sizes \\(a < b\\).\n\n$$\n\\frac{p}{n}\n$$\n\n`\\(c\\)`\n"
    arithmatex = {"pymdownx.arithmatex": {"generic": True}}
    page = math.to_mathml(
        markdown.markdown(source, extensions=["pymdownx.arithmatex"], extension_configs=arithmatex)
    )
    assert page.count("<math") == 2
    assert page.count('display="block"') == 1
    assert "<mfrac>" in page and "<mo><</mo>" in html.unescape(page)
    assert r"<code>\(c\)</code>" in page and "arithmatex" not in page


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://a.example/x.js"></script>',
        '<link rel="stylesheet" href="//a.example/x.css">',
        '<link rel="preconnect" href="https://a.example">',
        '<img alt="" src="HTTP://a.example/x.png">',
        '<img srcset="https://a.example/x.png 2x">',
        "<style>body { background: url('https://a.example/x.png') }</style>",
        '<p style="background: url(https://a.example/x.png)">',
        "<style>@import 'https://a.example/x.css';</style>",
    ],
)
def test_a_load_from_another_host_is_found(page: str):
    assert len(foreign_loads(page)) == 1


@pytest.mark.parametrize(
    "page",
    [
        '<a href="https://a.example">there</a>',
        '<link rel="canonical" href="https://a.example/page.html">',
        '<img src="pictures/x.png">',
        '<script src="/assets/x.js"></script>',
        "<p>url(https://a.example/x.png)</p>",
    ],
)
def test_links_and_own_files_are_not_foreign_loads(page: str):
    assert foreign_loads(page) == []


def test_style_sheets_and_pages_of_a_site_are_checked(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.css").write_text("a { background: url(https://a.example/x.png) }")
    (tmp_path / "x.html").write_text('<img src="https://a.example/y.png">')
    (tmp_path / "x.txt").write_text('<img src="https://a.example/z.png">')
    assert list(loads_of_site(tmp_path)) == [
        "a/x.css loads https://a.example/x.png",
        "x.html loads https://a.example/y.png",
    ]


# Commands in pages.


def test_a_block_shows_what_its_commands_print_and_runs_each_once(tmp_path):
    console = Console(tmp_path)
    filled = console.fill(
        "One:\n\n```console run\n$ cpp-pipe status\n```\n\n```console\n$ x\n```\n"
    )
    printed = "the store artifacts is empty: `cpp-pipe run --images FOLDER` begins a run"
    assert (
        filled == f"One:\n\n```console\n$ cpp-pipe status\n{printed}\n```\n\n```console\n$ x\n```\n"
    )
    (tmp_path / "artifacts").write_text("no folder")
    assert console.run("cpp-pipe status").strip() == printed


@pytest.mark.parametrize("line", ["$ ls", "cpp-pipe status", "$ cpp-pipe lineage captions"])
def test_a_block_with_a_line_that_fails_is_an_error(line: str, tmp_path):
    with pytest.raises(CommandFailed, match=re.escape(line.removeprefix("$ "))):
        Console(tmp_path).fill(f"```console run\n{line}\n```\n")


def commands_of(markdown: str) -> Iterator[list[str]]:
    """The words of each cpp-pipe command in the blocks of code of a page."""
    for kind, code in fences(markdown):
        if not kind.startswith(("console", "bash")):
            continue
        for line in code.replace("\\\n", " ").splitlines():
            command = re.match(r"(?:\$ )?(?:torchrun .*-m cpp_pipe|cpp-pipe) +(.+)", line)
            if command:
                yield shlex.split(command[1], comments=True)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_commands_in_pages_exist_and_have_their_flags(path: Path, group):
    for name, *words in commands_of(path.read_text()):
        command = group.get_command(None, name)
        assert command is not None, f"{name} is not a command"
        known = {
            flag
            for parameter in command.params
            for flag in (*parameter.opts, *parameter.secondary_opts)
        }
        given = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
        assert set(given) <= known, f"{name} {' '.join(words)}"


def test_recipes_of_clusters_are_well_formed_and_run_the_same_commands():
    blocks = list(fences((DOCS / "ray.md").read_text()))
    (job,) = (extra("yaml").safe_load(code) for kind, code in blocks if kind == "yaml")
    (script,) = (code for _, code in blocks if code.startswith("#!/bin/bash"))
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    cluster = job["spec"]["rayClusterSpec"]
    for pods in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = pods["template"]["spec"]["containers"]
        volumes = {volume["name"] for volume in pods["template"]["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    names = [
        re.findall(r"cpp-pipe ([a-z-]+)", code) for code in (job["spec"]["entrypoint"], script)
    ]
    assert names[0] == names[1]
    assert names[0][-1] == "index" and len(names[0]) == 7


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_settings_in_pages_exist(path: Path):
    for table, key in re.findall(r"--set (\w+)\.(\w+)=", path.read_text()):
        settings = getattr(Settings(), table)
        assert key in {field.name for field in fields(settings)}, f"{table}.{key}"


def members_of(page: str) -> Iterator[tuple[str, list[str]]]:
    """The path of each object that a page describes, and the members that it lists."""
    for block in re.finditer(r"^::: (\S+)\n((?:    .*\n|\n)*)", page, re.MULTILINE):
        options = block[2]
        inline = re.search(r"members: \[(.*)\]", options)
        listed = re.findall(r"^ +- (\w+)$", options, re.MULTILINE)
        yield block[1], inline[1].split(", ") if inline else listed


def has_member(described: Any, name: str) -> bool:
    """Whether a class has an attribute, a field, or something that its constructor sets."""
    sources = [
        inspect.getsource(kind)
        for kind in described.__mro__
        if kind.__module__.startswith("cpp_pipe")
    ]
    is_set = re.compile(rf"^ +(self\.)?{name}(: | = )", re.MULTILINE)
    return hasattr(described, name) or any(map(is_set.search, sources))


def test_members_that_the_page_of_python_lists_exist():
    """The site left out a member that had been renamed, and said nothing."""
    listed = dict(members_of((DOCS / "python.md").read_text()))
    assert len(listed) > 10
    for path, members in listed.items():
        module, _, name = path.rpartition(".")
        described = getattr(importlib.import_module(module), name)
        assert [each for each in members if not has_member(described, each)] == [], path


# The README.


def test_the_images_of_the_readme_exist_and_are_small():
    paths = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README.read_text())
    assert len(paths) == 2
    assert sum((ROOT / path).stat().st_size for path in paths) < 1_000_000


def test_the_files_that_the_readme_names_exist():
    text = README.read_text()
    paths = {
        *re.findall(r"\]\(([^):#]+)\)", text),
        *re.findall(r"`([\w./-]+\.(?:md|ipynb))`", text),
    }
    assert len(paths) > 10
    assert [path for path in sorted(paths) if not (ROOT / path).is_file()] == []


# The notebook.


def test_the_notebook_is_stored_without_outputs():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_the_page_of_the_notebook_shows_every_cell():
    page = notebook_page(NOTEBOOK)
    assert page.startswith("# ")
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        assert "".join(cell["source"]).strip() in page


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    nbformat, nbclient = extra("nbformat"), extra("nbclient")
    monkeypatch.delenv("CPP_PIPE_STORE", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(WARNINGS_ARE_ERRORS))
    folder = {"metadata": {"path": str(tmp_path)}}
    client = nbclient.NotebookClient(notebook, kernel_name="python3", timeout=240, resources=folder)
    client.execute()
    outputs_of = {
        cell["id"]: cell.outputs for cell in notebook.cells if cell["cell_type"] == "code"
    }
    agreement = float(outputs_of[notebook.cells[-1]["id"]][0]["data"]["text/plain"])
    assert agreement > 0.8
    shown = [output["data"] for outputs in outputs_of.values() for output in outputs
             if "data" in output]  # fmt: skip
    assert sum("image/png" in data for data in shown) == 3
    pages = [data["text/html"] for data in shown if "text/html" in data]
    # A run its counts, clusters a table, a cluster its images, hits theirs, a sweep its scores.
    for words in ("896 embedded", "<table>", "data:image/jpeg", "<figcaption>", "HDBSCAN"):
        assert any(words in page for page in pages), words
    assert not any("".join(cell["source"])[:1] == "!" for cell in notebook.cells)


# The stage that a page adds.


def apply_diff(path: Path, diff: str) -> None:
    """Inserts the lines that a `diff` block adds between the lines that surround them."""
    lines = diff.splitlines()
    old = "\n".join(line[1:] for line in lines if line[:1] in ("", " "))
    new = "\n".join(line[1:] for line in lines)
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name} must hold this exactly once:\n{old}"
    path.write_text(text.replace(old, new))


def copy_of_the_checkout(folder: Path) -> Path:
    """A copy of all files of the project, as a repository of its own."""
    for path in tracked():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    shutil.copytree(ROOT / "typings", folder / "typings", symlinks=True, dirs_exist_ok=True)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)  # it runs the program and tests of a copy, in processes of their own
def test_the_stage_that_a_page_adds_works_in_a_copy_of_the_checkout(tmp_path, digit_shards):
    copy = copy_of_the_checkout(tmp_path / "program")
    for kind, code in fences((DOCS / "add-a-stage.md").read_text()):
        language, title = re.fullmatch(r'(\w+) title="(.+)"', kind).groups()  # pyright: ignore[reportOptionalMemberAccess]
        path = copy / title
        if language == "diff":
            apply_diff(path, code)
        else:
            assert not path.exists(), f"{title} exists already"
            path.write_text(code)
    store = tmp_path / "artifacts"

    def run(module: str, *words: str) -> str:
        places = os.pathsep.join([str(copy / "typings"), str(copy)])
        env = {**os.environ, "PYTHONPATH": places, "PYTHONSAFEPATH": "1"}
        command = [sys.executable, "-m", module, *words]
        done = subprocess.run(
            command, cwd=copy, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    model = ("--model", "digits-clip", "--pretrained", "shipped", "--set", "assign.k=5")
    run("cpp_pipe", "embed", str(digit_shards), *model, "--store", str(store))
    made = run("cpp_pipe", "typicality", "--store", str(store))
    assert re.match(r"60 rows; the least typical is digit_\d+ \(", made)

    def column(kind: str, name: str) -> np.ndarray:
        paths = sorted(store.glob(f"{kind}/*/parts/*.parquet"))
        tables = [pq.read_table(path) for path in paths if ".skipped." not in path.name]
        return np.array([value for table in tables for value in table.column(name).to_pylist()])

    x, clusters = column("embeddings", "embedding"), column("assignments", "cluster")
    means = np.stack([x[clusters == cluster].mean(0) for cluster in range(clusters.max() + 1)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    expected = (x * means[clusters]).sum(1)
    assert column("typicality", "typicality") == pytest.approx(expected, abs=2e-3)
    assert column("typicality", "key").tolist() == column("embeddings", "key").tolist()

    run("tests.store.old_store")
    # The package that is tested is that of the copy, which a plugin of pytest loads first.
    pytest_words = ("-q", "-x", "-p", "no:cacheprovider", "-p", "cpp_pipe.store.errors")
    new = "typicality or every_stage_and_format or history_of_formats"
    files = (
        "tests/stages/algorithms/test_typicality.py",
        "tests/stages/test_stage_contract.py",
        "tests/store/test_old_store.py",
        "tests/test_house.py",
        "tests/test_docs.py",
    )
    run("pytest", *pytest_words, "-k", f"({new}) and not copy", *files)
