"""The page of all commands, in Markdown, from the application that runs them."""

import re
from collections.abc import Iterator, Sequence
from textwrap import dedent
from typing import Any

import click

HEAD = """\
# Commands

Every command tells the same with `--help`. This page is made from the program itself whenever the
site is built.

A command makes what is missing between what the store holds and what it needs, and says so. An
error is one line on standard error that says what to do, with exit code 2. A command that was
stopped (Ctrl-C) ends with 130, and goes on where it was when it is given again.
"""


def commands_page(group: click.Group) -> str:
    """Markdown that tells every command of a group: what it does, its usage and its flags."""
    with click.Context(group, info_name="cpp-pipe") as parent:
        names = group.list_commands(parent)
        commands = {name: _command(group, parent, name) for name in names}
        return "\n".join([HEAD, *_contents(commands), *_sections(commands, parent)])


def _command(group: click.Group, parent: click.Context, name: str) -> click.Command:
    found = group.get_command(parent, name)
    assert found is not None, f"{name} is listed, and is no command"
    return found


def _contents(commands: dict[str, click.Command]) -> Iterator[str]:
    yield "| command | what it does |"
    yield "|---|---|"
    for name, command in commands.items():
        yield f"| [`{name}`](#{name}) | {_cell(escape(command.get_short_help_str(limit=200)))} |"
    yield ""


def _sections(commands: dict[str, click.Command], parent: click.Context) -> Iterator[str]:
    for name, command in commands.items():
        context = click.Context(command, info_name=name, parent=parent)
        usage = command.get_usage(context).removeprefix("Usage: ")
        yield f"## {name}\n"
        yield f"```text\n{' '.join(usage.split())}\n```\n"
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


def _parameters(command: click.Command, context: click.Context) -> Iterator[str]:
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    shown = [one for one in shown if "--help" not in one.opts]
    if not shown:
        return
    yield "| flag | takes | default | what it says |"
    yield "|---|---|---|---|"
    for one in shown:
        cells = (_names(one, context), _takes(one), _default(one), _help(one))
        yield f"| {' | '.join(map(_cell, cells))} |"
    yield ""


def _names(one: click.Parameter, context: click.Context) -> str:
    if isinstance(one, click.Argument):
        return f"`{one.make_metavar(context)}`"
    names = [*one.opts, *one.secondary_opts]
    return ", ".join(f"`{name}`" for name in names)


def _takes(one: click.Parameter) -> str:
    if isinstance(one, click.Option) and one.is_flag:
        return ""
    word = one.metavar if one.metavar and isinstance(one, click.Option) else _type_name(one.type)
    return f"{word}, several times" if one.multiple or one.nargs == -1 else word


def _type_name(kind: click.ParamType) -> str:
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return kind.name
    name = kind.name.removesuffix(" range")
    ends = (("from", kind.min), ("to", kind.max))
    return " ".join([name, *(f"{word} {end}" for word, end in ends if end is not None)])


def _default(one: click.Parameter) -> str:
    default: Any = one.default
    if isinstance(one, click.Option) and one.secondary_opts:
        default = one.opts[0] if default else one.secondary_opts[0]
    if one.required:
        return "needed"
    is_absent = callable(default) or default is None or default is False
    return "" if is_absent or default == "" else f"`{default}`"


def _help(one: click.Parameter) -> str:
    said = getattr(one, "help", None) or ""
    variables: str | Sequence[str] = one.envvar or ()
    names = [variables] if isinstance(variables, str) else variables
    return " ".join([escape(said), *(f"Environment: `{name}`." for name in names)])


def escape(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return re.sub(r"([\\`*_<\[\]])", r"\\\1", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
