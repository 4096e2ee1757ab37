"""The page of all settings, in Markdown: from the classes that hold them, and shipped configs."""

import ast
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from textwrap import dedent
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

HEAD = """\
# Settings

Settings define what a run does, in a table for each step. They come from a TOML file
(`--config FILE.toml`, or `cpp-pipe run FILE.toml`), from a shipped config by its name
(`--config reference`), and from flags: `--set train.epochs=20` changes any setting, and a flag
such as `--epochs 20` is a short form. The run records every setting that it used. An unknown table
or key is an error that lists the known ones.

```toml
[train]
epochs = 20
eta = 0.13

[assign]
k = [20, 50, 100]
```

A table has the name of its command, but `[data]` is read by `embed` and `eval`, `[views]` by
`train`, and `[merge]` by `hierarchy`. Words that the tables use:

- **Heads** are two small networks that refine the embeddings into **features**. They have a common
  part, the trunk.
- **Landmarks** are rows that stand for all. Clusters are found among them.
- The **membership** says which rows belong together, and how strongly ([Membership by
  Sinkhorn](method.md#membership-by-sinkhorn)); the **consensus**, how often several runs of k-means
  put two rows together.
- The **rate** and the **code** measure how many nats (1 nat is 1.44 bits) rows take ([Rate
  reduction](method.md#rate-reduction)).

How the work is done (device, workers, images at a time) is not a setting: it changes no result, so
only flags set it. This page is generated from the program each time the site is built.
"""


def settings_page(settings: type, configs: Path, *, others: Sequence[type] = ()) -> str:
    """Markdown of every table of `settings`, a dataclass of dataclasses, and of each config.

    A key without docs of its own takes those of the field of the same name in one of the `others`.
    """
    hints = get_type_hints(settings)
    spare = {key: text for kind in others for key, text in field_docs(kind).items()}
    lines = [HEAD]
    for table in fields(settings):
        lines += _table(table.name, hints[table.name], spare)
    return "\n".join([*lines, *_configs(configs)])


def _table(name: str, kind: type, spare: Mapping[str, str]) -> Iterator[str]:
    assert is_dataclass(kind)
    yield f"## `[{name}]`\n"
    yield f"{_first_paragraph(kind)}\n"
    hints, docs = get_type_hints(kind), {**spare, **field_docs(kind)}
    yield "| key | allowed | default | what it does |"
    yield "|---|---|---|---|"
    for field in fields(kind):
        name, default = field.name, f"`{_toml(_default(field))}`"
        cells = (f"`{name}`", _allowed(hints[name]), default, docs.get(name, ""))
        yield f"| {' | '.join(_cell(text) for text in cells)} |"
    yield ""


def _first_paragraph(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


def field_docs(kind: type) -> dict[str, str]:
    """The text below each field of a dataclass, including those of its bases."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not is_dataclass(base):
            continue
        (tree,) = ast.parse(dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = _text(below)
                docs |= {} if text is None else {field.target.id: text}
    return docs


def _text(node: ast.stmt) -> str | None:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
    return None


def _default(field: Field) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _toml(value: Any) -> str:
    """A default as TOML writes it."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _allowed(hint: Any) -> str:
    """A type in the words of someone who writes TOML."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_allowed(argument) for argument in arguments)
    if origin is Literal:
        return " or ".join(f"`{_toml(argument)}`" for argument in arguments)
    if origin is tuple:
        return f"list, each {_allowed(arguments[0])}"
    return {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}[hint]


def _configs(folder: Path) -> Iterator[str]:
    yield "## Shipped configs\n"
    yield "`cpp-pipe run NAME` runs one; `--config NAME` gives its settings to a command.\n"
    for path in sorted(folder.glob("*.toml")):
        yield f"### {path.stem}\n"
        yield f"```toml\n{path.read_text().strip()}\n```\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
