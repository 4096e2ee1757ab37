"""One stage's work in a store: found, finished, or made; and written down in the run."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ...stages.contract import Inputs, Runtime, Stage
from ...store import Artifact, Store
from ...store.paths import is_in_bucket
from ..device import find_device
from .engines import torchrun
from .engines.engine import find_engine

_PACKAGES = ("cpp-pipe", "torch", "open_clip_torch", "numpy", "pyarrow", "scikit-learn")


class LeftToOthers(Exception):
    """Parts are being made elsewhere and are not waited for: no fault, but no artifact yet."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A stage with all that it needs, for one slot of a run."""

    slot: str
    """A kind's name, or `index/SPACE` for one of several."""
    stage: Stage
    inputs: Inputs
    runtime: Runtime
    """Its device may still be `auto`: it is looked for when there is work."""
    asked_by: str = ""
    """The command that needs it, where the user has not named it."""


def find_or_make(
    job: Job, store: Store, run: str, settings: Mapping[str, Any], say: Callable[[str], None]
) -> Artifact:
    """The artifact that a job makes; the run refers to it afterwards.

    `settings` go into the run's record when they have proved to work, and only for what the user
    has named. Raises LeftToOthers where the runtime does not wait for parts that others make.
    """
    parts = job.stage.parts(job.inputs, job.runtime)
    version = job.stage.recipe(parts).version
    where = {name: str(one.path.resolve()) for name, one in job.runtime.sources.items()}
    named = {} if job.asked_by else {"settings": settings}
    found = store.find(job.stage.kind, version)
    if found is None:
        with store.writing():
            store.runs.update(run, making={job.slot: version}, sources=where, **named)
            found = _make(job, store, say)
    elif not job.asked_by:
        say(f"{job.slot} {version} is there already: nothing to do")
    store.runs.update(
        run, versions={job.slot: version}, making={job.slot: None}, sources=where, **named
    )
    return found


def _make(job: Job, store: Store, say: Callable[[str], None]) -> Artifact:
    if job.stage.is_collective and torchrun.size() > 1:
        return _make_together(job, store, say)
    return _make_alone(job, store, say)


def _make_together(job: Job, store: Store, say: Callable[[str], None]) -> Artifact:
    """The first process makes the artifact while the others take part."""
    with torchrun.group(find_device(job.runtime.device)) as device:
        job = replace(job, runtime=replace(job.runtime, device=device))
        recipe = job.stage.recipe(job.stage.parts(job.inputs, job.runtime))
        draft = store.draft(recipe)
        if is_in_bucket(store.root) and not torchrun.is_on_one_machine():
            # Checkpoints lie on the machine of the first process; the others would begin elsewhere.
            shutil.rmtree(draft.checkpoints, ignore_errors=True)
        if torchrun.rank() == 0:
            return _make_alone(job, store, say)
        job.stage.follow(job.inputs, job.runtime, draft.checkpoints)
    return store.open(job.stage.kind, recipe.version)


def _make_alone(job: Job, store: Store, say: Callable[[str], None]) -> Artifact:
    stage, runtime = job.stage, job.runtime
    parts = stage.parts(job.inputs, runtime)
    draft = store.draft(stage.recipe(parts))
    finished = draft.finished()
    why = f", needed by {job.asked_by}" if job.asked_by else ""
    say(f"{stage.name}: making {job.slot} {draft.recipe.version}{why}")
    if finished:
        say(f"{stage.name}: {len(finished)} of {len(parts)} parts are there already")
    # What learns from all rows is no map over parts, and is made here.
    engine = find_engine("local" if stage.is_fit else runtime.engine)
    device = engine.find_device(runtime) if len(finished) < len(parts) else "none"
    started = time.monotonic()
    # Of the shards only those that are still to be read, so that progress counts them alone.
    todo = {name: one for name, one in runtime.sources.items() if name not in finished}
    runtime = replace(runtime, device=device, sources=todo)
    left = engine.make_parts(stage, draft, parts, job.inputs, runtime)
    if left:
        raise LeftToOthers(
            f"{stage.name}: {len(left)} of {len(parts)} parts of {job.slot} are still being made "
            "elsewhere, and the last one to finish publishes them"
        )
    stage.review(list(draft.finished().values()), runtime)
    seconds = time.monotonic() - started
    made = draft.publish(job.inputs, _made_by(device, seconds))
    say(f"{stage.name}: {made.rows:,} rows in {len(parts):,} part(s), {seconds:.1f} s on {device}")
    return made


def _made_by(device: str, seconds: float) -> dict[str, Any]:
    import platform

    from ..doctor import find_version

    versions = {name: find_version(name) for name in _PACKAGES}
    return {
        "packages": {name: one for name, one in versions.items() if one is not None},
        "python": platform.python_version(),
        "device": device,
        "seconds": round(seconds, 3),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
