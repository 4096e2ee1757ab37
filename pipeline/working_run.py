"""A run with the steps of the commands as methods."""

import contextlib
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from ..stages.contract import Runtime
from ..store import Artifact, ConfigError, Store
from ..store.paths import StorePath, expanded
from .arguments import at_least_one
from .config import Settings, find_config, settings_of, to_plain
from .making.named_inputs import data_table, model_table, vocabulary_setting
from .making.overrides import read_settings
from .making.plan import Plan
from .making.progress import ShownProgress, open_progress
from .making.slots import require_makeable
from .run_slots import RunSlots
from .view.evaluation import Evaluation, evaluate
from .view.labels import require_labels
from .view.opened_run import OpenedRun

Names = str | Path | Sequence[str | Path]
"""One name or several."""


class WorkingRun(OpenedRun):
    """A run with a method for each step.

    Each step first makes the artifacts that it needs and the store lacks; finished work is found
    again. Settings that a method is given stay in the run, as with the commands.
    """

    progress = "auto"
    """How progress is shown: auto (a bar in terminals and notebooks), bar, log, json or none."""

    _opened: tuple[str, ShownProgress] | None = None

    @classmethod
    def create(
        cls,
        store: "Store | str | StorePath" = "artifacts",
        name: str = "default",
        *,
        config: str | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        device: str = "auto",
        progress: str = "auto",
    ) -> Self:
        """Begins a run; opens it if it exists, with all its artifacts.

        `config` is a TOML file or the name of a shipped one; a run that exists keeps its own
        settings instead. `settings` change these, by table and key: `{"train": {"epochs": 12}}`.
        ConfigError for a setting that does not exist.
        """
        store = store if isinstance(store, Store) else Store(store)
        if store.runs.read(name).settings and config is not None:
            find_config(config)  # raises if there is no such config
            config = None
        run_settings = read_settings(store, name, config, (), begins=True)
        for table, values in _tables(settings):
            run_settings = _override(run_settings, table, values)
        if config is not None or settings:
            store.runs.update(name, settings=run_settings.tables())
        run = cls(store, store.runs.read(name), device)
        run.progress = progress
        return run

    @property
    def settings(self) -> Settings:
        """The settings of the run, with defaults for those that were not set."""
        return settings_of(self.store, self.record)

    def embed(
        self,
        *,
        images: Names | None = None,
        shards: Names | None = None,
        tables: Names | None = None,
        image_column: str | None = None,
        model: str | None = None,
        pretrained: str | None = None,
        model_config: str | None = None,
        batch_size: int = 64,
        workers: int | None = None,
        max_skipped: float = 0.1,
        allow_partial: bool = False,
    ) -> Self:
        """Embeds the images of folders, tar shards or Parquet tables.

        The named inputs replace those named before; images that are embedded already cost nothing.
        Every image is embedded, or skipped with a reason; ShardError if none can be embedded, or if
        a larger share than `max_skipped` is skipped. Finished work is kept.
        """
        plan = self._plan(
            data=data_table(
                _as_list(shards, "shards"),
                _as_list(images, "images"),
                _as_list(tables, "tables"),
                image_column,
            ),
            embed=model_table(model, pretrained, model_config),
        )
        runtime = replace(
            plan.runtime,
            batch_size=batch_size,
            workers=workers,
            max_skipped=max_skipped,
            allow_partial=allow_partial,
        )
        return self._made(replace(plan, runtime=runtime), "embeddings")

    def import_embeddings(
        self,
        *paths: str | Path,
        model: str,
        pretrained: str | None = "openai",
        keys: str | Path | None = None,
        labels: str | Path | None = None,
        workers: int | None = None,
        max_skipped: float = 0.1,
    ) -> Self:
        """Imports embeddings that were made elsewhere: .npz, .npy, clip-retrieval folders.

        `model` and `pretrained` name the model that made them; queries are embedded with it.
        None keeps the run's `pretrained`.
        ShardError if a larger share of the rows than `max_skipped` is skipped, such as rows whose
        keys other rows have.
        """
        from ..stages.import_embeddings import Import
        from ..stages.sources.embeddings.files import find_embeddings
        from ..stages.sources.shards import by_part

        if not paths:
            raise ConfigError("name the embeddings to import: an .npz, an .npy or a folder")
        sources = [
            part
            for path in paths
            for part in find_embeddings(
                expanded(path),
                keys=None if keys is None else expanded(keys),
                labels=None if labels is None else expanded(labels),
            )
        ]
        plan = self._plan(
            embed=model_table(model, pretrained, None),
            data={"shards": (), "images": (), "tables": (), "builtin": ""},
        )
        runtime = replace(plan.runtime, workers=workers, max_skipped=max_skipped)
        plan = replace(plan, runtime=runtime)
        stage = Import(
            model=plan.settings.embed.model, pretrained=Path(plan.settings.embed.pretrained).name
        )
        with self._showing_progress():
            plan.import_embeddings(stage, by_part(sources)[0])
        return self._reload()

    def train(self, **settings: Any) -> Self:
        """Fits the refinement of the embeddings, in closed form or by training.

        Takes any key of the table [train]: `epochs` (0, the default, is the closed form), `lr`,
        `eta`, `features`, `seed` and so on.
        """
        return self._made(self._plan(train=settings), "heads")

    def assign(
        self,
        k: int | Sequence[int] | str | None = None,
        *,
        level: int | Sequence[int] | str | None = None,
    ) -> Self:
        """Puts every image in one of k clusters, with a confidence.

        `k` is a number, a list of numbers, or "auto" for the number that `select_k` chooses.
        `level` cuts the hierarchy into that many clusters instead, nested in every finer level.
        Without either, the run's setting stays, which is "auto" in a new run.
        """
        if k is not None and level is not None:
            raise ConfigError("give either k, a number of clusters, or level, a hierarchy's cut")
        number = to_plain(level if k is None else k)
        if isinstance(number, list) and len(number) == 1:
            (number,) = number  # as of `--k 20`
        if isinstance(number, int) and number < 1:
            raise ConfigError(f"k must be at least 1, got {number}")
        values: dict[str, Any] = {}
        if number is not None:
            values["k"] = number
            values["method"] = "spectral" if level is None else "hierarchy"
        return self._made(self._plan(assign=values), "assignments")

    def caption(
        self,
        vocabulary: Names | None = None,
        *,
        templates: str | Sequence[str] | None = None,
        rule: str | None = None,
        beside: str | None = None,
    ) -> Self:
        """Names every cluster in words.

        `vocabulary` is imagenet, coco, wordnet, a text file, a .parquet of phrases, an .npz of
        embeddings, or several. `templates` are prompts with {} for the word. `rule` is contrast, or
        vote (the paper's). `beside` is a run of the same images, whose model embeds the words.
        """
        values = {
            "vocabulary": vocabulary_setting(_as_list(vocabulary, "vocabulary")),
            "templates": tuple(_as_list(templates, "templates") or ()) or None,
            "rule": rule,
            "beside": beside,
        }
        return self._made(self._plan(caption=values), "captions")

    def index(self, space: str = "features", **settings: Any) -> Self:
        """Builds the index that makes search fast, for `features` or `embeddings`.

        Takes any key of the table [index]: `factory`, `target_recall`, `seed`.
        """
        if space not in ("features", "embeddings"):
            raise ConfigError(f"space must be 'features' or 'embeddings', got {space!r}")
        return self._made(self._plan(index=settings), f"index/{space}")

    def make(self, slot: str) -> Artifact:
        """The artifact of a slot such as `hierarchy` or `projection` (the map), made if missing.

        ConfigError, which lists the slots that can be made, for any other name.
        """
        require_makeable(slot)
        self._made(self._plan(), slot)
        return self.artifact(slot)

    def evaluate(
        self, *, label: str | None = None, labels: str | Path | None = None, k: int | None = None
    ) -> Evaluation:
        """Scores the clusters against labels, beside chance and k-means.

        `label` is `cls`, `folder` (the images' folders), or the name of a JSON field; `labels` is a
        .csv or .parquet of key and label. `k` is one of several that `assign` was given; by default
        the first. MissingError if no image has a label.
        """
        plan = self._plan(data={"label": label})
        field, table = plan.settings.data.label, None if labels is None else expanded(labels)
        with self._showing_progress():
            embeddings = plan.make("embeddings", asked_by="eval")
            require_labels(embeddings, field, table)
            assignments = plan.make("assignments", asked_by="eval")
        self._reload()
        return evaluate(embeddings, assignments, field, table, k=k)

    def _make_needed(self, slot: str, asked_by: str) -> None:
        """Makes a slot that was not asked for; what was fitted before stays."""
        with self._showing_progress():
            self._plan().make(slot, asked_by=asked_by)
        self._reload()

    def _plan(self, **tables: Mapping[str, Any]) -> Plan:
        """The plan of this run, with changed settings; None keeps a setting."""
        settings = settings_of(self.store, self.store.runs.read(self.record.name))
        for table, values in tables.items():
            settings = _override(settings, table, values)
        progress = self._shown
        runtime = Runtime(device=self.device, progress=progress)
        return Plan(self.store, self.record.name, settings, runtime, progress.report)

    @property
    def _shown(self) -> ShownProgress:
        """What shows progress now; after `progress` was set, what shows it in that way."""
        if self._opened is None or self._opened[0] != self.progress:
            self._opened = self.progress, open_progress(self.progress)
        return self._opened[1]

    @contextlib.contextmanager
    def _showing_progress(self) -> Iterator[None]:
        """Ends what is shown of progress with the block, also where a step in it fails."""
        try:
            yield
        finally:
            self._shown.end()

    def _made(self, plan: Plan, slot: str) -> Self:
        with self._showing_progress():
            plan.make(slot)
        return self._reload()

    def _reload(self) -> Self:
        """Reads the run's record again, and closes what was opened by the old one."""
        self.record = self.store.runs.read(self.record.name)
        self.slots = RunSlots(self.store, self.record)
        self._encoder = None
        self._reported.clear()
        self.__dict__.pop("refiner", None)
        return self


def _tables(settings: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Settings by table and key; ConfigError for anything else, such as values without a table."""
    tables = {} if settings is None else settings
    if not isinstance(tables, Mapping) or not all(
        isinstance(values, Mapping) and all(isinstance(key, str) for key in values)
        for values in tables.values()
    ):
        raise ConfigError(
            "settings must be by table and key, such as {'train': {'epochs': 12}}, got "
            f"{reprlib.repr(settings)}"
        )
    return list(tables.items())


def _override(settings: Settings, table: str, values: Mapping[str, Any]) -> Settings:
    if table not in settings.tables():
        known = ", ".join(settings.tables())
        raise ConfigError(f"there is no table of settings {table!r}: the tables are {known}")
    return settings.override(table, **values)


def _as_list(names: Names | None, argument: str) -> list[str] | None:
    """One name or several as a list of strings; None stays None. ConfigError for no names."""
    return None if names is None else [str(name) for name in at_least_one(names, argument)]
