"""The command that lists what runs hold: status."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from ...store import Artifact, MissingError, RunRecord, Store
from ...store.errors import FormatError, NewerFormatError
from ...store.slots import kind_of, sorted_slots, split_slot
from ..missing_runs import explain_no_run
from ..run_slots import RunSlots
from ..slot_commands import command_to_renew, name_slot
from .app import subcommands
from .options import Common, takes
from .output import Column, command_line, print_json, print_next, print_table, print_text

_NEXT = {
    "captions": "report",
    "assignments": "caption",  # or another command, if the model embeds no texts
    "heads": "select-k",
    "embeddings": "train",
}
"""The next command, by the first of these artifacts that is current in a run."""

_FOREIGN = "made by "
_ADVICE = "use that version of cpp-pipe, or begin another run with --run"

app = subcommands()


@app.command()
@takes("as_json", "store")
def status(
    common: Common,
    run: Annotated[
        str | None, typer.Option("--run", help="List only this run; all if absent.")
    ] = None,
) -> None:
    """List the artifacts of each run, and what is unfinished.

    For an artifact that is out of date, it prints the command that makes it again. An artifact that
    another version of cpp-pipe made in another format is listed as that.

    \b
      cpp-pipe status
    """
    store = Store(common.store)
    names = store.runs.names()
    if run and run not in names:
        raise MissingError(explain_no_run(store, run, names))
    names = [run] if run else names
    if not names:
        step = command_line(common, "run", "--images", "FOLDER")
        print_text(f"the store {common.store} is empty: `{step}` begins a run")
        return
    is_named = run is not None or len(names) > 1
    named = {name: replace(common, run=name if is_named else None) for name in names}
    records = {name: store.runs.read(name) for name in names}
    slots_of = {name: _known_slots(store, record) for name, record in records.items()}
    runs = {
        name: _run_status(store, record, slots_of[name], named[name])
        for name, record in records.items()
    }
    if common.as_json:
        print_json(runs)
        return
    for name, rows in runs.items():
        print_text(f"run {name}")
        _print_rows(rows)
        curve = slots_of[name].current("k_curve")
        if curve is not None:
            from ..view.verdict import read_verdict  # loads pyarrow

            print_text(f"select-k: {read_verdict(curve).sentence}")
        for row in rows:
            if row["state"].startswith(_FOREIGN):
                print_text(f"{name_slot(row['slot'])} {row['state']}")
        for slot in slots_of[name].last_stale():
            print_text(f"{name_slot(slot)} {_advise(slots_of[name], slot, named[name])}")
    with_texts = functools.cache(functools.partial(_runs_with_texts, store))
    for name, rows in runs.items():
        current = {row["slot"] for row in rows if slots_of[name].current(row["slot"]) is not None}
        foreign = {row["slot"] for row in rows if row["state"].startswith(_FOREIGN)}
        step = next((step for slot, step in _NEXT.items() if slot in current), "embed")
        if step == "embed" and "embeddings" in foreign:
            continue  # it would replace what another version made
        words = [step]
        if step == "caption":
            from ..text_models import find_caption_command  # loads NumPy

            words = find_caption_command(store, records[name], with_texts) or ["report"]
        print_next(named[name], words)


def _runs_with_texts(store: Store) -> "Sequence[RunRecord]":
    from ..text_models import runs_with_texts  # loads NumPy

    return runs_with_texts(store)


def _known_slots(store: Store, record: RunRecord) -> RunSlots:
    """The slots of a run, without those whose state cannot be told.

    An artifact in another format does not say whether it is current, nor whether what was made
    from it is.
    """
    slots, untold = RunSlots(store, record), set()
    for slot in slots.names:
        try:
            if slots.find(slot) is not None:
                slots.state(slot)
        except FormatError:
            untold.add(slot)
    versions = {slot: name for slot, name in record.versions.items() if slot not in untold}
    return RunSlots(store, replace(record, versions=versions)) if untold else slots


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        [
            Column("artifact", is_name=True),
            Column("version"),
            Column("rows", is_right=True),
            Column("MiB", is_right=True),
            Column("made (UTC)"),
        ],
        [
            (
                row["slot"],
                row["version"],
                "-" if row["rows"] is None else f"{row['rows']:,}",
                "-" if row["bytes"] is None else f"{row['bytes'] / 2**20:,.1f}",
                _brief(row["state"]),
            )
            for row in rows
        ],
    )


def _brief(state: str) -> str:
    """A date to the minute, or the first words of another state."""
    return state[:16].replace("T", " ") if state[:1].isdigit() else state.partition(":")[0]


def _advise(slots: RunSlots, slot: str, common: Common) -> str:
    """What to do about an artifact that is out of date."""
    artifact = slots.find(slot)
    assert artifact is not None, "what is missing is not out of date"
    return f"out of date: run `{command_line(common, *command_to_renew(slot, artifact))}`"


def _run_status(
    store: Store, record: RunRecord, slots: RunSlots, common: Common
) -> list[dict[str, Any]]:
    rows = []
    for slot, version in record.versions.items():
        artifact = slots.find(slot) or store.find(kind_of(slot), version)
        try:
            state = "missing" if artifact is None else _describe(slots, slot, artifact, common)
        except FormatError as error:
            maker = "a newer" if isinstance(error, NewerFormatError) else "an older"
            artifact, state = None, f"{_FOREIGN}{maker} version: {_ADVICE}"
        rows.append(
            {
                "slot": slot,
                "version": version,
                "rows": artifact.rows if artifact else None,
                "bytes": artifact.manifest.bytes if artifact else None,
                "state": state,
                "content": artifact.content if artifact else None,
            }
        )
    for slot, version in record.making.items():
        rows.append(
            {
                "slot": slot,
                "version": version,
                "rows": None,
                "bytes": None,
                "state": "unfinished: run the same command to continue",
                "content": None,
            }
        )
    order = sorted_slots({*record.versions, *record.making})
    return sorted(rows, key=lambda row: order.index(row["slot"]))


def _describe(slots: RunSlots, slot: str, artifact: Artifact, common: Common) -> str:
    """When an artifact was made, or what to do if it is out of date."""
    made = artifact.manifest.date or "made at an unknown time"
    # Clusters kept for decisions stay, whatever has been made since.
    is_kept = split_slot(slot) == ("assignments", artifact.version)
    is_told = slot in slots.record.versions
    is_current = is_kept or not is_told or slots.state(slot) == "current"
    return made if is_current else _advise(slots, slot, common)
