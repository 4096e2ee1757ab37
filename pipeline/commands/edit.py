"""The command that records decisions about clusters and images: edit."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ...store import ConfigError
from ..destinations import new_folder
from ..wording import agreeing, counted
from .app import subcommands
from .options import LONG, READING, Common, embed_table, open_plan, takes
from .output import Column, print_json, print_next, print_table, print_text

if TYPE_CHECKING:
    from ...stages.edits.edit import Edit
    from ..edits.editor import Editor
    from ..making.plan import Plan
    from ..run import Run

app = subcommands()


@app.command()
@takes("as_json", "pretrained", "model_config", "device", *LONG, *READING)
def edit(
    common: Common,
    operation: Annotated[
        str, typer.Argument(metavar="OPERATION", help="What to decide; see above.")
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENTS", help="What the operation needs; see above."),
    ] = None,
    cluster: Annotated[
        int | None,
        typer.Option(
            "--cluster",
            help="Decide about the images that this cluster has now; note: about the cluster.",
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="Decide about this image, KEY or SHARD:KEY; repeatable."),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys", help="Decide about these images: a KEY or SHARD:KEY a line, or .parquet."
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", help="Decide about images like these words; needs --above."),
    ] = None,
    above: Annotated[
        float | None, typer.Option("--above", help="Minimum cosine of an image with --text.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="seal: replace what is sealed under this name.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option("--by", help="Name of the person who decides; your user name if absent."),
    ] = None,
) -> None:
    """Decide about clusters and images: name, merge, tag, exclude, undo.

    Decisions are logged in the run; embeddings and clusters do not change. Commands with --edits
    apply them. When clusters are made again, a decision about images stays with these images, and a
    decision about a cluster moves to the new cluster that holds at least half of its images. If
    there is none, or a decision can be applied only in part, the log marks it `look`: check it.

    `merge` keeps the number and caption of the first cluster. `split` makes a new cluster of the
    given images of CLUSTER. An empty name or note removes the old one. `seal` saves the current
    decisions under a name.

    \b
      name CLUSTER NAME             merge CLUSTER CLUSTER...
      split CLUSTER (images)        move CLUSTER (images)
      tag TAG (images or cluster)   untag TAG (images or cluster)
      note TEXT (images or cluster) exclude, include (images or cluster)
      log                           undo [NUMBER]      seal NAME

    \b
      cpp-pipe edit name 12 'steam engines'
      cpp-pipe edit merge 3 17
      cpp-pipe edit tag screenshot --text 'a screenshot' --above 0.27
      cpp-pipe edit exclude --keys bad.txt
      cpp-pipe edit undo
      cpp-pipe edit seal final
      cpp-pipe curate --edits final --not-tag screenshot --out shards/
    """
    from ..edits.editor import Editor
    from .search import open_run

    if operation not in _OPERATIONS:
        import difflib

        near = difflib.get_close_matches(operation, _OPERATIONS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"OPERATION must be one of {', '.join(_OPERATIONS)}, got {operation!r}{hint}"
        )
    images = {"--cluster": cluster, "--key": key, "--keys": keys, "--text": text}
    named = [flag for flag, value in images.items() if value is not None]
    unused = named if operation in _TAKE_NO_IMAGES else []
    unused = (
        [flag for flag in named if flag == "--cluster"] if operation in _NEED_IMAGES else unused
    )
    if unused:
        raise ConfigError(f"edit {operation} takes no {unused[0]}: see cpp-pipe edit --help")
    if operation in _NEED_IMAGES and not named:
        raise ConfigError(f"edit {operation} needs images: give --key, --keys or --text")
    plan = open_plan(common, embed=embed_table(common))
    run = open_run(plan)
    run.artifact("embeddings")
    editor, given = Editor(run, by), list(words or ())
    if operation == "log":
        _take(given, operation, _NONE)
        _print_log(run, common)
    elif operation == "seal":
        _seal(plan, _take(given, operation, _ONE)[0], common, replaces=replace)
    elif operation == "undo":
        number = _take(given, operation, range(2))
        _report(editor.undo(*map(_number, number)), editor, common)
    else:
        from ..edits.selection import select_images

        rows = select_images(run, keys=key or (), file=keys, text=text, above=above)
        on: dict[str, Any] = {} if cluster is None else {"cluster": cluster}
        if any(flag != "--cluster" for flag in named):
            on["images"] = rows
        decision = _DECISIONS[operation]
        words = _take(given, operation, decision.words)
        if operation not in _TAKE_NO_IMAGES and not named:
            flags = "--cluster, --key, --keys or --text"
            raise ConfigError(f"edit {operation} needs images or a cluster: give {flags}")
        _report(decision.decide(editor, words, on), editor, common)


_TAKE_NO_IMAGES = ("name", "merge", "log", "undo", "seal")
"""Operations that take neither images nor --cluster."""

_USAGE = {
    "name": " (CLUSTER NAME)", "note": " (TEXT)", "split": " (CLUSTER)", "move": " (CLUSTER)",
    "tag": " (TAG)", "untag": " (TAG)", "seal": " (NAME)", "undo": " (NUMBER)",
}  # fmt: skip
"""The arguments of operations, as the help names them."""

_NEED_IMAGES = ("split", "move")
"""Operations that take images, and a cluster as their argument."""


def _take(words: list[str], operation: str, allowed: range) -> list[str]:
    """The arguments of an operation; ConfigError where there are too few or too many."""
    if len(words) not in allowed:
        least, most = allowed[0], allowed[-1]
        count = str(least) if least == most else f"{least} to {most}"
        noun = "argument" if (least, most) in {(1, 1), (0, 1)} else "arguments"
        raise ConfigError(
            f"edit {operation} takes {count} {noun}{_USAGE.get(operation, '')}, got {len(words)}"
        )
    return words


def _number(word: str) -> int:
    try:
        return int(word)
    except ValueError as error:
        raise ConfigError(
            f"CLUSTER or NUMBER must be a whole number, such as 12, got {word!r}"
        ) from error


class _Operation(NamedTuple):
    """An operation that adds a decision."""

    words: range
    """How many arguments it may have."""
    decide: "Callable[[Editor, list[str], dict[str, Any]], Edit]"
    """Makes the decision, from the arguments and from what it is about: `images` or a `cluster`."""


_ONE, _NONE = range(1, 2), range(1)

_DECISIONS: Mapping[str, _Operation] = {
    "name": _Operation(
        range(2, 3), lambda editor, words, on: editor.name(_number(words[0]), words[1])
    ),
    "note": _Operation(_ONE, lambda editor, words, on: editor.note(*words, **on)),
    "merge": _Operation(
        range(10_000), lambda editor, words, on: editor.merge(*map(_number, words))
    ),
    "split": _Operation(
        _ONE, lambda editor, words, on: editor.split(_number(*words), on["images"])
    ),
    "move": _Operation(_ONE, lambda editor, words, on: editor.move(on["images"], _number(*words))),
    "tag": _Operation(_ONE, lambda editor, words, on: editor.tag(*words, **on)),
    "untag": _Operation(_ONE, lambda editor, words, on: editor.untag(*words, **on)),
    "exclude": _Operation(_NONE, lambda editor, words, on: editor.exclude(**on)),
    "include": _Operation(_NONE, lambda editor, words, on: editor.include(**on)),
}

_OPERATIONS = (*_DECISIONS, "log", "undo", "seal")


def _report(edit: "Edit", editor: "Editor", common: Common) -> None:
    """Prints the decision that was made, with its status."""
    outcome = editor.edited().outcomes[-1]
    if common.as_json:
        print_json({**edit.to_json(), "status": outcome.status, "why": outcome.why})
    else:
        what = edit.describe_among({other.id: other for other in editor.decisions()})
        print_text(f"decision {edit.number}: {what}{f' ({outcome.why})' if outcome.why else ''}")
    print_next(common, ["edit", "log"], ["edit", "seal", "NAME"])


def _print_log(run: "Run", common: Common) -> None:
    """Lists all decisions, and says which of them need a look, and why."""
    from ..view.applied_edits import open_edited

    outcomes = open_edited(run, warns=False).outcomes
    if common.as_json:
        rows = [
            {**outcome.edit.to_json(), "status": outcome.status, "why": outcome.why}
            for outcome in outcomes
        ]
        print_json(rows)
        return
    if not outcomes:
        print_text("no decisions yet: cpp-pipe edit --help shows how to make them")
        return
    known = {outcome.edit.id: outcome.edit for outcome in outcomes}
    print_table(
        [
            Column("number", is_right=True),
            Column("at"),
            Column("by", is_cut=True),
            Column("decision", is_cut=True),
            Column("status", is_cut=True),
        ],
        [
            (
                str(outcome.edit.number),
                outcome.edit.at[:16].replace("T", " "),
                outcome.edit.by,
                outcome.edit.describe_among(known),
                outcome.status if outcome.status != "needs a look" else "look",
            )
            for outcome in outcomes
        ],
    )
    for outcome in outcomes:
        if outcome.status == "needs a look":
            print_text(f"decision {outcome.edit.number} needs a look: {outcome.why}")


def _seal(plan: "Plan", name: str, common: Common, *, replaces: bool) -> None:
    from ..edits.sealed_edits import seal

    sealed = seal(plan, name, replaces=replaces)
    facts, look = sealed.facts, int(sealed.facts["needs_a_look"])
    if common.as_json:
        print_json({"name": name, "version": sealed.version, **facts})
    else:
        print_text(
            f"sealed {counted(facts['decisions'], 'decision')} as {name!r}: "
            f"{facts['excluded']:,} of {counted(sealed.rows, 'image')} excluded; "
            f"tags: {', '.join(facts['tags']) or 'none'}; "
            f"{counted(look, 'decision')} {agreeing(look, 'needs', 'need')} a look"
        )
    print_next(
        common,
        ["curate", "--edits", name, "--out", new_folder("shards")],
        result=sealed.path(sealed.only_part, "rows"),
    )
