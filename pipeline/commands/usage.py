"""Errors of usage, each as one line that says what is wrong and which help to read."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import typer

PROGRAM = "cpp-pipe"

# typer 0.20 has no name of its own for it, and newer versions do not import click.
UsageError: Any = typer.BadParameter.__mro__[1]

_KINDS = {
    "valid integer": "a whole number",
    "valid integer range": "a whole number",
    "valid float": "a number",
    "valid float range": "a number",
    "valid boolean": "true or false",
}


def usage_line(error: Any) -> str:
    """What is wrong with a command line, and the command that shows its help."""
    context = error.ctx
    words = [PROGRAM]
    while context is not None and context.parent is not None:
        words.insert(1, context.info_name)
        context = context.parent
    message = _message(error).rstrip(".")
    see = " See" if message.endswith("?") else "; see"
    return f"{message}{see} `{' '.join([*words, '--help'])}`"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the names that are similar to a misspelt one; empty if none is."""
    similar = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(similar)}?" if similar else ""


def _message(error: Any) -> str:
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):
        return _unknown_option(error)
    param = getattr(error, "param", None)
    if type(error).__name__ == "MissingParameter" and param is not None:
        what = getattr(param, "help", None) or ""
        return f"{_flag(param)} is missing" + (f": {what[:1].lower()}{what[1:]}" if what else "")
    if isinstance(error, typer.BadParameter) and param is not None:
        return f"{_flag(param)} {_expected(error.message, param.type)}"
    text = error.format_message()
    extra = re.fullmatch(r"Got unexpected extra arguments? \((.*)\)", text)
    if extra is not None:
        return f"unexpected argument {extra.group(1)!r}"
    argument = re.fullmatch(r"Option '(.+)' requires (?:an argument|(\d+) arguments)\.?", text)
    if argument is not None:
        return f"{argument.group(1)} needs a value"
    return text[:1].lower() + text[1:]


def _unknown_option(error: Any) -> str:
    known = []
    if error.ctx is not None:
        known = [flag for param in error.ctx.command.params for flag in param.opts]
    hint = did_you_mean(error.option_name, [*known, "--help"])
    return f"there is no option {error.option_name}{hint}"


def _flag(param: Any) -> str:
    """A flag such as --out, or the name of an argument."""
    if param.param_type_name == "option":
        return max(param.opts, key=len)
    return param.metavar or param.name.upper()


def _expected(message: str, kind: Any) -> str:
    """What a value must be, and the value."""
    outside = re.fullmatch(r"(.+) is not in the range (.+)\.", message)
    if outside is not None:
        return f"must be {_range(kind)}, got {outside.group(1)}"
    invalid = re.fullmatch(r"(.+) is not a (.+)\.", message)
    if invalid is not None and invalid.group(2) in _KINDS:
        return f"must be {_KINDS[invalid.group(2)]}, got {invalid.group(1)}"
    return f"is not valid: {message}"


def _range(kind: Any) -> str:
    low, high = kind.min, kind.max
    if low is not None and high is not None:
        return f"from {low:g} to {high:g}"
    return f"at least {low:g}" if high is None else f"at most {high:g}"


def check_command(name: str, known: Mapping[str, object], context: Any) -> None:
    """UsageError where there is no such command."""
    if name not in known and not name.startswith("-"):
        raise UsageError(f"there is no command {name!r}{did_you_mean(name, known)}", context)
