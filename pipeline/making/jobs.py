"""Finds or makes the artifact of one stage, and records it in the run."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...stages.contract import Inputs, Runtime, Source, Stage
from ...store import Artifact, ConfigError, NumericError, Store
from ...store.paths import absolute, is_in_bucket
from ..config import IMAGE_TABLES
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
    """The name of a kind, or e.g. `index/SPACE` where a kind has several slots."""
    stage: Stage
    inputs: Inputs
    runtime: Runtime
    """Its device may be `auto`, which is resolved when there is work."""
    asked_by: str = ""
    """The command that needs the artifact; empty if the user asked for this slot."""


def find_or_make(
    job: Job, store: Store, run: str, settings: Mapping[str, Any], say: Callable[[str], None]
) -> Artifact:
    """The artifact that a job makes; the run refers to it afterwards.

    `settings` are recorded in the run only if the user asked for this slot: when the work begins,
    so that it can be resumed. The run gets its former settings back if these cannot be used.
    Raises PartsInProgress if the runtime does not wait for parts that others are making.
    """
    parts = job.stage.parts(job.inputs, job.runtime)
    version = job.stage.recipe(parts).version
    locations = {part: _locate(source) for part, source in job.runtime.sources.items()}
    stamps = {part: source.stamp for part, source in job.runtime.sources.items() if source.stamp}
    settings_update = {} if job.asked_by else {"settings": settings}
    update = {
        "versions": {job.slot: version},
        "making": {job.slot: None},
        "sources": locations,
        "stamps": stamps,
        **settings_update,
    }
    # gc keeps what the run refers to, so no lock is needed, and the store may be read-only.
    is_recorded = store.runs.has(run, **update)
    artifact = store.find(job.stage.kind, version)
    if is_recorded and artifact is not None:
        _report_existing(job, version, say)
        return artifact
    with store.writing():
        # Find it again: gc may have removed it before the store was locked.
        artifact = store.find(job.stage.kind, version)
        if artifact is None:
            before = store.runs.read(run)
            store.runs.update(
                run,
                making={job.slot: version},
                sources=locations,
                stamps=stamps,
                **settings_update,
            )
            try:
                artifact = _make(job, store, say)
            except (ConfigError, NumericError):
                if torchrun.rank() == 0:
                    former = {"settings": before.settings} if settings_update else {}
                    making = before.making.get(job.slot)
                    still = None if making == version else making
                    store.runs.update(run, making={job.slot: still}, **former)
                raise
        else:
            _report_existing(job, version, say)
        store.runs.update(run, **update)
    return artifact


@contextlib.contextmanager
def settings_given_back(store: Store, run: str) -> Iterator[None]:
    """Gives a run its former settings back if steps in the block cannot use the new ones.

    The settings of its images stay, because these are embedded by then.
    """
    before = store.runs.read(run).settings
    try:
        yield
    except (ConfigError, NumericError):
        now = store.runs.read(run).settings
        of_images = {name: now[name] for name in IMAGE_TABLES if name in now}
        former = {**before, **of_images}
        # Where nothing was recorded, there may be no run yet, and there must be none afterwards.
        if former != now and torchrun.rank() == 0:
            store.runs.update(run, settings=former)
        raise


def _locate(source: Source) -> str:
    """The location of a source, under the name with which it was embedded.

    The target of a link may have another name, and so be another part.
    """
    return absolute(str(source.path)) if isinstance(source.path, Path) else str(source.path)


def _report_existing(job: Job, version: str, say: Callable[[str], None]) -> None:
    if not job.asked_by:
        say(f"{job.slot} {version} is there already: nothing to do")


def _make(job: Job, store: Store, say: Callable[[str], None]) -> Artifact:
    if job.stage.is_collective and torchrun.size() > 1:
        return _make_in_group(job, store, say)
    return _make_in_process(job, store, say)


def _make_in_group(job: Job, store: Store, say: Callable[[str], None]) -> Artifact:
    """The artifact, made by all processes of torchrun; the first one writes it."""
    device = fitting_device(job.stage, find_device(job.runtime.device))
    with torchrun.group(device) as device:
        job = replace(job, runtime=replace(job.runtime, device=device))
        recipe = job.stage.recipe(job.stage.parts(job.inputs, job.runtime))
        draft = store.draft(recipe)
        if is_in_bucket(store.root) and not torchrun.is_on_one_machine():
            # Only the machine of the first process has the checkpoints.
            shutil.rmtree(draft.checkpoints, ignore_errors=True)
        if torchrun.rank() == 0:
            return _make_in_process(job, store, say)
        job.stage.follow(job.inputs, job.runtime, draft.checkpoints)
    return store.open(job.stage.kind, recipe.version)


def _make_in_process(job: Job, store: Store, say: Callable[[str], None]) -> Artifact:
    """The artifact, made by this process and the workers of its engine."""
    stage, runtime = job.stage, job.runtime
    parts = stage.parts(job.inputs, runtime)
    recipe = stage.recipe(parts)
    why = f", needed by {job.asked_by}" if job.asked_by else ""
    say(f"{stage.name}: making {job.slot} {recipe.version}{why}")
    draft = store.draft(recipe)  # reads the parts that other versions have
    finished = draft.finished()
    if finished:
        total = f"{counted(len(parts), 'part')} {agreeing(len(parts), 'is', 'are')}"
        say(f"{stage.name}: {len(finished)} of {total} there already")
    engine = find_engine(runtime.engine)
    if stage.is_fit:
        # A fit needs its whole sample at once, so it runs here; the engine may still read the rows.
        runtime = replace(runtime, draw=engine.drawer(runtime))
        engine = find_engine("local")
    device = "none"
    if len(finished) < len(parts):
        device = fitting_device(stage, engine.find_device(runtime))
    started = time.monotonic()
    # Only unread sources, so that progress counts no others.
    unread = {part: source for part, source in runtime.sources.items() if part not in finished}
    runtime = replace(runtime, device=device, sources=unread)
    runtime = replace(runtime, progress=watch(stage, device, runtime))
    in_progress = engine.make_parts(stage, draft, parts, job.inputs, runtime)
    runtime.progress.end()
    if in_progress:
        raise PartsInProgress(
            f"{stage.name}: other workers are still making {len(in_progress)} of "
            f"{counted(len(parts), 'part')} of {job.slot}; the last to finish publishes them"
        )
    stage.review(list(draft.finished().values()), runtime)
    seconds = time.monotonic() - started
    artifact = draft.publish(job.inputs, _describe_machine(device, seconds))
    size = f"{counted(artifact.rows, 'row')} in {counted(len(parts), 'part')}"
    say(f"{stage.name}: {size}, {seconds:.1f} s on {device}")
    return artifact


def _describe_machine(device: str, seconds: float) -> dict[str, Any]:
    """What the manifest records about the machine and the time; no version depends on it."""
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
