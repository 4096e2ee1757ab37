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

A run is told what to do by settings, a table a stage. They come from a TOML file
(`--config FILE.toml`, or `cpp-pipe run FILE.toml`), from the name of a config that ships
(`--config reference`), and from flags: `--set train.epochs=20` changes any of them, and a flag as
`--epochs 20` is a short form. What was used is recorded in full in the run. An unknown table or key
is an error that names the known ones.

```toml
[train]
epochs = 20
eta = 0.13

[assign]
k = [20, 50, 100]
```

How the work is done (device, workers, batch size of the frozen model) is no setting: it changes no
result, so it stands in flags alone. This page is made from the program itself whenever the site is
built.
"""


def settings_page(settings: type, configs: Path, *, others: Sequence[type] = ()) -> str:
    """Markdown that tells every table of `settings`, a dataclass of dataclasses, and each config.

    Where a table says nothing of a key, one of the `others` may, which have a field of that name.
    """
    hints = get_type_hints(settings)
    spare = {key: text for kind in others for key, text in field_docs(kind).items()}
    lines = [HEAD]
    for one in fields(settings):
        lines += _table(one.name, hints[one.name], spare)
    return "\n".join([*lines, *_configs(configs)])


def _table(name: str, kind: type, spare: Mapping[str, str]) -> Iterator[str]:
    assert is_dataclass(kind)
    yield f"## `[{name}]`\n"
    yield f"{_first_paragraph(kind)}\n"
    hints, said = get_type_hints(kind), {**spare, **field_docs(kind)}
    yield "| key | allowed | default | what it says |"
    yield "|---|---|---|---|"
    for one in fields(kind):
        default = f"`{_toml(_default(one))}`"
        cells = (f"`{one.name}`", _allowed(hints[one.name]), default, said.get(one.name, ""))
        yield f"| {' | '.join(_cell(text) for text in cells)} |"
    yield ""


def _first_paragraph(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


def field_docs(kind: type) -> dict[str, str]:
    """The text that stands below each field of a dataclass, of its bases too."""
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


def _default(one: Field) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _toml(value: Any) -> str:
    """A default as one would write it in TOML."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _allowed(hint: Any) -> str:
    """A type in the words of a person who writes TOML."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_allowed(one) for one in arguments)
    if origin is Literal:
        return " or ".join(f"`{_toml(one)}`" for one in arguments)
    if origin is tuple:
        return f"list, each {_allowed(arguments[0])}"
    return {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}[hint]


def _configs(folder: Path) -> Iterator[str]:
    yield "## Configs that ship\n"
    yield "`cpp-pipe run NAME` takes one whole; `--config NAME` gives its settings to a command.\n"
    for path in sorted(folder.glob("*.toml")):
        yield f"### {path.stem}\n"
        yield f"```toml\n{path.read_text().strip()}\n```\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
