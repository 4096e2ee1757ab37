"""One stage's work in a store: its artifact is found or made, and recorded in the run."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...stages.contract import Inputs, Runtime, Source, Stage
from ...store import Artifact, Store
from ...store.paths import absolute, is_in_bucket
from ..device import find_device, fitting_device
from ..wording import agreeing, counted
from .engines import torchrun
from .engines.engine import find_engine
from .slow_model import watch

_PACKAGES = ("cpp-pipe", "torch", "open_clip_torch", "numpy", "pyarrow", "scikit-learn")


class PartsInProgress(Exception):
    """Other workers are still making parts, and the runtime does not wait for them."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A stage and its inputs, for one slot of a run."""

    slot: str
    """A kind's name, or e.g. `index/SPACE` for one of several."""
    stage: Stage
    inputs: Inputs
    runtime: Runtime
    """Its device may be `auto`, which is resolved when there is work."""
    asked_by: str = ""
    """The command that needs it; empty if the user asked for this slot."""


def find_or_make(
    job: Job, store: Store, run: str, settings: Mapping[str, Any], say: Callable[[str], None]
) -> Artifact:
    """The artifact that a job makes; the run refers to it afterwards.

    `settings` go into the run's record once they have worked, and only if the user asked for this
    slot. Raises PartsInProgress where the runtime does not wait for parts that others make.
    """
    parts = job.stage.parts(job.inputs, job.runtime)
    version = job.stage.recipe(parts).version
    where = {part: _place_of(source) for part, source in job.runtime.sources.items()}
    stamps = {part: source.stamp for part, source in job.runtime.sources.items() if source.stamp}
    record = {} if job.asked_by else {"settings": settings}
    done = {
        "versions": {job.slot: version},
        "making": {job.slot: None},
        "sources": where,
        "stamps": stamps,
        **record,
    }
    # gc keeps what the run refers to, so that nothing need be locked: the store may be read-only.
    is_kept = store.runs.has(run, **done)
    artifact = store.find(job.stage.kind, version)
    if is_kept and artifact is not None:
        _say_that_it_is_there(job, version, say)
        return artifact
    with store.writing():
        # Only now: gc may have removed it before the store was locked.
        artifact = store.find(job.stage.kind, version)
        if artifact is None:
            store.runs.update(
                run, making={job.slot: version}, sources=where, stamps=stamps, **record
            )
            artifact = _make(job, store, say)
        else:
            _say_that_it_is_there(job, version, say)
        store.runs.update(run, **done)
    return artifact


def _place_of(source: Source) -> str:
    """Where a source lies, by the name under which it was embedded.

    The target of a link may have another name, and so be another part.
    """
    return absolute(str(source.path)) if isinstance(source.path, Path) else str(source.path)


def _say_that_it_is_there(job: Job, version: str, say: Callable[[str], None]) -> None:
    if not job.asked_by:
        say(f"{job.slot} {version} is there already: nothing to do")


def _make(job: Job, store: Store, say: Callable[[str], None]) -> Artifact:
    if job.stage.is_collective and torchrun.size() > 1:
        return _make_together(job, store, say)
    return _make_alone(job, store, say)


def _make_together(job: Job, store: Store, say: Callable[[str], None]) -> Artifact:
    """The first process makes the artifact while the others take part."""
    device = fitting_device(job.stage, find_device(job.runtime.device))
    with torchrun.group(device) as device:
        job = replace(job, runtime=replace(job.runtime, device=device))
        recipe = job.stage.recipe(job.stage.parts(job.inputs, job.runtime))
        draft = store.draft(recipe)
        if is_in_bucket(store.root) and not torchrun.is_on_one_machine():
            # Only the machine of the first process has the checkpoints.
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
        there = f"{counted(len(parts), 'part')} {agreeing(len(parts), 'is', 'are')}"
        say(f"{stage.name}: {len(finished)} of {there} there already")
    engine = find_engine(runtime.engine)
    if stage.is_fit:
        # Its sample is needed at once, so it is fitted here; where rows are read is another matter.
        runtime = replace(runtime, draw=engine.drawer(runtime))
        engine = find_engine("local")
    device = "none"
    if len(finished) < len(parts):
        device = fitting_device(stage, engine.find_device(runtime))
    started = time.monotonic()
    # Only the sources that are still to be read, so that progress counts them alone.
    todo = {part: source for part, source in runtime.sources.items() if part not in finished}
    runtime = replace(runtime, device=device, sources=todo)
    runtime = replace(runtime, progress=watch(stage, device, runtime))
    held = engine.make_parts(stage, draft, parts, job.inputs, runtime)
    runtime.progress.end()
    if held:
        raise PartsInProgress(
            f"{stage.name}: other workers are still making {len(held)} of "
            f"{counted(len(parts), 'part')} of {job.slot}; the last to finish publishes them"
        )
    stage.review(list(draft.finished().values()), runtime)
    seconds = time.monotonic() - started
    artifact = draft.publish(job.inputs, _made_by(device, seconds))
    size = f"{counted(artifact.rows, 'row')} in {counted(len(parts), 'part')}"
    say(f"{stage.name}: {size}, {seconds:.1f} s on {device}")
    return artifact


def _made_by(device: str, seconds: float) -> dict[str, Any]:
    import platform

    from ..doctor import find_version

    versions = {package: find_version(package) for package in _PACKAGES}
    return {
        "packages": {
            package: version for package, version in versions.items() if version is not None
        },
        "python": platform.python_version(),
        "device": device,
        "seconds": round(seconds, 3),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
