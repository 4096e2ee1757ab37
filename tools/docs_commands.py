"""The page of all commands, in Markdown, from the application that runs them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from textwrap import dedent
from types import MappingProxyType
from typing import Any

import typer

from cpp_pipe.pipeline.commands.app import EXIT_CODES

HEAD = """\
# Commands

This page is generated from the program each time the site is built; `--help` of a command says the
same.

Each command first runs the earlier steps that are still missing, and says so. You can omit `--run`
if the store holds only one run.

| exit code | what it means |
|---|---|
"""

TYPE_WORDS: Mapping[str, str] = MappingProxyType({"Path": "path", "int": "integer", "str": "text"})
"""Python's names of types in the words of a user; newer versions of typer use Python's."""


def commands_page(group: Any) -> str:
    """Markdown that describes every command of a group: what it does, its usage and its flags."""
    # typer 0.20 builds its commands from click, 0.29 from a copy of its own: only typer's names
    # fit both, and only what both kinds of parameters have is read here.
    with typer.Context(group, info_name="cpp-pipe") as parent:
        names = group.list_commands(parent)
        commands = {name: _command(group, parent, name) for name in names}
        return "\n".join([*_head(), *_contents(commands), *_sections(commands, parent)])


def _head() -> Iterator[str]:
    codes = (f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    yield HEAD + "\n".join(codes) + "\n"


def _command(group: Any, parent: typer.Context, name: str) -> Any:
    command = group.get_command(parent, name)
    assert command is not None, f"{name} is listed but is not a command"
    return command


def _contents(commands: Mapping[str, Any]) -> Iterator[str]:
    yield "| command | what it does |"
    yield "|---|---|"
    for name, command in commands.items():
        yield f"| [`{name}`](#{name}) | {_cell(escape(command.get_short_help_str(limit=200)))} |"
    yield ""


def _sections(commands: Mapping[str, Any], parent: typer.Context) -> Iterator[str]:
    for name, command in commands.items():
        context = typer.Context(command, info_name=name, parent=parent)
        arguments = [_argument(each) for each in command.params if _is_argument(each)]
        yield f"## {name}\n"
        yield f"```text\n{' '.join([context.command_path, '[OPTIONS]', *arguments])}\n```\n"
        yield f"{help_markdown(command.help or '')}\n"
        yield from _parameters(command, context)


def help_markdown(text: str) -> str:
    """A help text as Markdown; a paragraph that starts with a line `\\b` is an example."""
    paragraphs = dedent(text).replace("\f", "").strip().split("\n\n")
    return "\n\n".join(map(_paragraph, paragraphs))


def _paragraph(text: str) -> str:
    first, _, rest = text.partition("\n")
    if first.strip() == "\b":
        return f"```console\n{_typed(dedent(rest))}\n```"
    return escape(" ".join(text.split()))


def _typed(lines: str) -> str:
    return "\n".join(f"$ {line}" if line.strip() else line for line in lines.splitlines())


def _parameters(command: Any, context: typer.Context) -> Iterator[str]:
    shown = [
        parameter
        for parameter in command.params
        if "--help" not in parameter.opts and not getattr(parameter, "hidden", False)
    ]
    if not shown:
        return
    yield "| flag | takes | default | what it does |"
    yield "|---|---|---|---|"
    for parameter in shown:
        cells = (
            _names(parameter),
            _takes(parameter, context),
            _default(parameter),
            _help(parameter),
        )
        yield f"| {' | '.join(map(_cell, cells))} |"
    yield ""


def _is_argument(parameter: Any) -> bool:
    return parameter.param_type_name == "argument"


def _argument(parameter: Any) -> str:
    """An argument as a usage line shows it: `DIR`, `[CONFIG]`, `PATHS...`."""
    name = (parameter.metavar or parameter.name.upper()).removesuffix("...").strip("[]")
    name = name if parameter.required else f"[{name}]"
    return f"{name}..." if parameter.nargs == -1 else name


def _names(parameter: Any) -> str:
    if _is_argument(parameter):
        return f"`{_argument(parameter)}`"
    names = [*parameter.opts, *parameter.secondary_opts]
    return ", ".join(f"`{name}`" for name in names)


def _takes(parameter: Any, context: typer.Context) -> str:
    if getattr(parameter, "is_flag", False):
        return ""
    metavar = None if _is_argument(parameter) else parameter.metavar
    word = metavar or _type_name(parameter, context)
    return f"{word}, several times" if parameter.multiple or parameter.nargs == -1 else word


def _type_name(parameter: Any, context: typer.Context) -> str:
    if hasattr(parameter, "type"):  # click's: the type knows its name and its range
        name, bounds = parameter.type.name, parameter.type
    else:  # typer's own: `<list[int range]>`, and the range is the parameter's
        name, bounds = parameter.display_type(context).strip("<>"), parameter
    name = name.removeprefix("list[").removesuffix("]").removesuffix(" range")
    ends = (("from", getattr(bounds, "min", None)), ("to", getattr(bounds, "max", None)))
    range_words = [f"{word} {end}" for word, end in ends if end is not None]
    return " ".join([TYPE_WORDS.get(name, name), *range_words])


def _default(parameter: Any) -> str:
    default: Any = parameter.default
    if not _is_argument(parameter) and parameter.secondary_opts:
        default = parameter.opts[0] if default else parameter.secondary_opts[0]
    if parameter.required:
        return "required"
    is_absent = callable(default) or default is None or default is False
    return "" if is_absent or default == "" else f"`{default}`"


def _help(parameter: Any) -> str:
    text = getattr(parameter, "help", None) or ""
    variables: str | Sequence[str] = parameter.envvar or ()
    names = [variables] if isinstance(variables, str) else variables
    return " ".join([escape(text), *(f"Environment: `{name}`." for name in names)])


def escape(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return re.sub(r"([\\`*_<\[\]])", r"\\\1", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
