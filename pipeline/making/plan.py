"""Makes the artifacts that a command needs and the store lacks."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...stages.assign import Assign
from ...stages.contract import Inputs, Runtime, Source, Stage
from ...stages.embed import Embed
from ...stages.import_embeddings import Import
from ...stages.rows.other_runs import OTHER
from ...stages.spectrum import Spectrum
from ...store import Artifact, ConfigError, MissingError, Store
from ...store.kinds import EMBEDDINGS, KINDS, WORDS
from ...store.slots import split_slot
from ..command_line import command_line
from ..config import EmbedSettings, Settings, settings_of
from ..run_slots import RunSlots, share_kept
from ..slot_commands import command_to_make, name_slot
from .changed_sources import identify_sources
from .cluster_numbers import keep_numbers
from .index_stages import INDEX_KINDS, index_stage
from .jobs import Job, find_or_make
from .slots import SlotStage, choose_stage
from .sources import embed_fields, find_sources, model_files


@dataclass(frozen=True)
class Plan:
    """The work of one command on one run."""

    store: Store
    run: str
    settings: Settings
    runtime: Runtime
    say: Callable[[str], None]
    is_dry: bool = False
    """Whether nothing may be written: then every artifact that is needed must exist."""
    make_command: tuple[str, ...] = ()
    """The words of the command that a dry run names if an artifact is missing; if empty, the usual
    command that makes it."""
    reported: set[str] = field(default_factory=set)
    """Lines that are not reported again."""
    shard_folder: Path | None = None
    """The folder for the shards of a built-in data set; None is the store's."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Counts, by suffix, of the files in embedded folders that belong to no sample."""

    def find(self, slot: str) -> Artifact | None:
        """The artifact in a slot of the run (a kind, or e.g. `index/SPACE`), or None."""
        return RunSlots(self.store, self.store.runs.read(self.run)).find(slot)

    def make(self, slot: str, *, stage: Stage | None = None, asked_by: str = "") -> Artifact:
        """The artifact that the settings ask for in a slot, made if it is missing.

        `stage` replaces the stage of the settings. `asked_by` is the command that needs the slot;
        without it the user asked for the slot itself, and what was fitted to other rows is fitted
        again.
        """
        if slot == "embeddings" and asked_by:
            embeddings = self._find_embeddings()
            if embeddings is not None:
                return embeddings
        if slot.startswith(OTHER):
            return self._open_other_embeddings(slot)
        job = self.job(slot, stage=stage, asked_by=asked_by)
        fitted = self._find_fitted(job) if asked_by and job.stage.is_fit else None
        return fitted or self._find_or_make(job)

    def import_embeddings(self, stage: Import, sources: Mapping[str, Source]) -> Artifact:
        """Imports embeddings from the user's files."""
        sources = identify_sources(sources, self.store, self.run, self.say)
        runtime = replace(self.runtime, sources=sources)
        return self._find_or_make(Job(slot="embeddings", stage=stage, inputs={}, runtime=runtime))

    def _find_or_make(self, job: Job) -> Artifact:
        if self.is_dry:
            return self._open_made(job)
        return find_or_make(job, self.store, self.run, self.settings.tables(), self.say)

    def _open_made(self, job: Job) -> Artifact:
        recipe = job.stage.recipe(job.stage.parts(job.inputs, job.runtime))
        artifact = self.store.find(job.stage.kind, recipe.version)
        if artifact is None:
            words = self.make_command or command_to_make(job.slot)
            command = command_line(*words, run=self.run, store=str(self.store.root))
            raise MissingError(
                f"{name_slot(job.slot)} needed but not made yet, and a dry run makes nothing: run "
                f"`{command}` first"
            )
        return artifact

    def job(self, slot: str, *, stage: Stage | None = None, asked_by: str = "") -> Job:
        """The job that makes a slot; makes its inputs if they are missing."""
        if slot == "embeddings":
            return self._embedding_job(asked_by)
        files = {**self.runtime.files, **model_files(self._embed_settings(slot))}
        if stage is None:
            stage, stage_files = self._choose_stage(slot, asked_by or slot)
            files |= stage_files
        inputs = {need: self.make(need, asked_by=asked_by or slot) for need in stage.needs}
        if isinstance(stage, Spectrum):
            stage = self._with_enough_eigenvectors(stage, inputs)
        runtime = replace(self.runtime, files=files)
        if stage.reads_images:
            sources = find_sources(self.settings.data, self.store.local_folder, self.say)
            runtime = replace(runtime, sources=sources)
        previous = self.find(slot) if slot == "assignments" else None
        if isinstance(stage, Assign) and previous is not None:
            stage.parts(inputs, runtime)  # raises for a k that is not possible
            stage = keep_numbers(stage, inputs, previous, self.store)
        return Job(slot=slot, stage=stage, inputs=inputs, runtime=runtime, asked_by=asked_by)

    def _embed_settings(self, slot: str) -> EmbedSettings:
        """The model that embeds a slot's texts; captions may be compared with another run's."""
        beside = self.settings.caption.beside
        if slot != WORDS.name or not beside:
            return self.settings.embed
        return settings_of(self.store, self.store.runs.read(beside)).embed

    def _choose_stage(self, slot: str, asked_by: str) -> SlotStage:
        kind, space = split_slot(slot)
        if kind not in INDEX_KINDS:
            return choose_stage(slot, self.settings)
        source = self.make(space, asked_by=asked_by)
        stage = index_stage(slot, self.settings.index, source, self.find(f"quantizer/{space}"))
        return SlotStage(stage, {})

    def _open_other_embeddings(self, slot: str) -> Artifact:
        """The embeddings of another run, to which this run refers from now on."""
        name, runs = slot.removeprefix(OTHER), self.store.runs
        if name == self.run or name not in runs.names():
            others = ", ".join(run for run in runs.names() if run != self.run) or "none"
            raise ConfigError(
                f"--beside must name another run of the store {self.store.root}, got {name!r}; the "
                f"other runs are: {others}"
            )
        record = runs.read(name)
        version = record.versions.get("embeddings")
        embeddings = self.store.find(EMBEDDINGS, version) if version else None
        if embeddings is None:
            raise MissingError(
                f"run {name!r} has no embeddings yet: run cpp-pipe embed --run {name}"
            )
        if not self.is_dry:
            self.store.refer(self.run, {slot: embeddings.version})
        return embeddings

    def _with_enough_eigenvectors(self, stage: Spectrum, inputs: Inputs) -> Spectrum:
        """The stage with enough eigenvectors for the requested number of clusters."""
        assign, rows = self.settings.assign, inputs["features"].rows
        k = max(assign.numbers, default=0) if assign.method == "spectral" else 0
        if k <= stage.eigenvectors(rows) or k > min(rows, stage.landmarks):
            return stage
        # More than k, to distinguish clusters from pieces of one group.
        return replace(stage, k_max=min(k + k // 2, rows, stage.landmarks))

    def _find_embeddings(self) -> Artifact | None:
        """The run's embeddings, unless an unfinished `embed` is to replace them."""
        record = self.store.runs.read(self.run)
        is_unfinished = "embeddings" in record.making
        return None if is_unfinished else self.find("embeddings")

    def _embedding_job(self, asked_by: str) -> Job:
        data = self.settings.data
        if not data.is_named:
            names = ", ".join(self.store.runs.names())
            hint = f", or name one of its runs with --run: {names}" if names else ""
            raise MissingError(
                f"run {self.run!r} of the store {self.store.root} has no embeddings yet: start "
                "with `cpp-pipe embed --images FOLDER`, `cpp-pipe embed --shards 'FOLDER/*.tar'` "
                "or `cpp-pipe import FILE.npz`"
                f"{hint}"
            )
        fields, files = embed_fields(self.settings.embed)
        self.left_out.clear()
        sources = find_sources(
            data,
            self.shard_folder or self.store.local_folder,
            self.say,
            allow_missing=self.runtime.allow_partial,
            left_out=self.left_out,
        )
        sources = identify_sources(sources, self.store, self.run, self.say)
        runtime = replace(self.runtime, sources=sources, files={**self.runtime.files, **files})
        stage = Embed(**fields)
        return Job(slot="embeddings", stage=stage, inputs={}, runtime=runtime, asked_by=asked_by)

    def _find_fitted(self, job: Job) -> Artifact | None:
        """The artifact in the job's slot, if enough of the rows that it was fitted to still exist.

        None also if it was fitted by another stage or with other settings.
        """
        fitted = self.find(job.slot)
        if fitted is None:
            return None
        manifest = fitted.manifest
        is_same_stage = (manifest.stage, manifest.revision) == (job.stage.name, job.stage.revision)
        if not is_same_stage or dict(manifest.config) != job.stage.config():
            return None
        change = ""
        for slot, used in manifest.inputs.items():
            current = job.inputs[slot]
            if current.content != used.content:
                old = self.store.find(KINDS[used.kind], used.version)
                share = 0.0 if old is None else share_kept(self.store, old, current)
                if share < (job.stage.kind.least_kept or 1.0):
                    return None
                change = "added" if share == 1 else "removed"
        if change:
            words = (job.stage.refit or job.stage.name).split()
            command = command_line(*words, run=self.run, store=str(self.store.root))
            self._report_once(
                f"{job.slot} {fitted.version} was fitted before rows were {change} and is kept; "
                f"`{command}` fits it again"
            )
        return fitted

    def _report_once(self, line: str) -> None:
        if line not in self.reported:
            self.reported.add(line)
            self.say(line)
