"""A run that is opened for reading: its artifacts, and the models that made them."""

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ...stages.encoding.encoder import load_encoder_of
from ...store import Artifact, EditLog, MissingError, RunRecord, Store
from ...store.manifest import MANIFEST
from ...store.paths import StorePath
from ...store.slots import kind_of
from ..command_line import command_line, name_run
from ..config import settings_of
from ..device import find_device
from ..making.sources import model_files
from ..missing_runs import explain_no_run
from ..run_slots import RunSlots
from ..slot_commands import command_to_make, command_to_renew, name_slot, require_slot
from .images import open_row
from .refiner import Refiner

if TYPE_CHECKING:
    from PIL import Image

    from ...stages.encoding.encoder import Encoder
    from ..making.plan import Plan

log = logging.getLogger(__name__)


class OpenedRun:
    """A named run of a store, opened for reading: its artifacts, its model and its heads."""

    def __init__(self, store: Store, record: RunRecord, device: str = "auto") -> None:
        self.store = store
        self.record = record
        self.device = device
        self.slots = RunSlots(store, record)
        self.store_name = str(store.root)
        """The store as commands name it."""
        self.report: Callable[[str], None] = log.warning
        """Gets each sentence that a reader should know beside an answer."""
        self._reported: set[str] = set()
        self._encoder: Encoder | None = None

    @classmethod
    def open(
        cls, store: "Store | str | StorePath", name: str = "default", device: str = "auto"
    ) -> Self:
        """Opens a run by its name; MissingError if there is no such store, or it has no such run.

        `store` may be a path, or an address such as s3://bucket/path.
        """
        store = store if isinstance(store, Store) else Store(store)
        names = store.runs.names()
        if not isinstance(name, str) or name not in names:
            raise MissingError(explain_no_run(store, name, names))
        return cls(store, store.runs.read(name), device)

    @classmethod
    def of(cls, plan: "Plan") -> Self:
        """Opens the run of a plan, and reports as the plan does."""
        run = cls.open(plan.store, plan.run)
        run.report = plan.say
        return run

    def find(self, slot: str) -> Artifact | None:
        """The artifact that the run refers to in a slot such as `index/features`, or None."""
        return self.slots.find(slot)

    def artifact(self, slot: str) -> Artifact:
        """The artifact that the run refers to in a slot; MissingError if there is none yet.

        ConfigError if no run has such a slot.
        """
        artifact = self._find_kept(slot)
        if artifact is None:
            require_slot(slot)
            raise MissingError(
                f"run {self.record.name!r} of the store {self.store.root} has no {slot} yet: "
                f"run `{self.command(*command_to_make(slot))}`"
            )
        return artifact

    def current(self, slot: str) -> Artifact | None:
        """The artifact in a slot if it was made from what the other slots hold now; else None.

        MissingError if the run refers to something that the store has lost.
        """
        return None if self._find_kept(slot) is None else self.slots.current(slot)

    def _find_kept(self, slot: str) -> Artifact | None:
        """The same as `find`; MissingError if the store has lost what the run refers to."""
        artifact, version = self.find(slot), self.record.versions.get(slot)
        if artifact is None and version:
            folder = self.store.folder(kind_of(slot), version)
            raise MissingError(
                f"run {self.record.name!r} refers to {folder}, whose {MANIFEST} is missing: "
                f"restore it, or make {slot} again with the command that made it"
            )
        return artifact

    def require_current(self, slot: str) -> Artifact:
        """The artifact in a slot; MissingError if there is none, or if it is out of date."""
        artifact = self.artifact(slot)
        if self.slots.state(slot) != "current":
            raise MissingError(self.explain_stale(slot))
        return artifact

    def show(self, slot: str) -> Artifact | None:
        """The artifact in a slot if it is current; reports once if it is out of date.

        For artifacts that an answer can do without, such as captions.
        """
        artifact = self._find_kept(slot)
        if artifact is None or self.slots.state(slot) == "current":
            return artifact
        for used in artifact.manifest.inputs:
            self._find_kept(used)  # raises if it is not out of date, but lost from the store
        self.report_once(self.explain_stale(slot))
        return None

    def report_once(self, line: str) -> None:
        """Reports a sentence, unless this run has reported it already."""
        if line not in self._reported:
            self._reported.add(line)
            self.report(line)

    def explain_stale(self, slot: str) -> str:
        """A sentence that says that a slot is out of date, and the command that makes it again."""
        words = command_to_renew(slot, self.artifact(slot))
        return f"{name_slot(slot)} out of date: run `{self.command(*words)}`"

    def command(self, *words: str) -> str:
        """A command for this run, as a user types it."""
        return command_line(*words, run=self.record.name, store=self.store_name)

    def public_command(self, *words: str) -> str:
        """`command` for a page that others may see: they need not know where the store lies."""
        return command_line(*words, run=self.record.name, store=self.public_store_name)

    def public_text(self, text: str) -> str:
        """A message for such a page, whose commands, in backticks, are for this run."""
        return name_run(text, run=self.record.name, store=self.public_store_name)

    @property
    def public_store_name(self) -> str:
        """The store as commands name it, or STORE if that is an absolute path."""
        return "STORE" if Path(self.store_name).is_absolute() else self.store_name

    @cached_property
    def edit_log(self) -> EditLog:
        """The log of decisions about the run; it reads each entry once."""
        return self.store.runs.edits(self.record.name)

    @property
    def encoder(self) -> "Encoder":
        """The model that made the run's embeddings, loaded on first use."""
        if self._encoder is None:
            settings = settings_of(self.store, self.record)
            files = model_files(settings.embed)
            device = find_device(self.device)
            self._encoder = load_encoder_of(self.artifact("embeddings"), files, device)
        return self._encoder

    @cached_property
    def refiner(self) -> "Refiner":
        """The heads of the run, loaded on first use."""
        return Refiner(self.store, self.artifact("heads"), find_device(self.device))

    def image(self, row: int) -> "Image.Image":
        """The image of a row, RGB and upright, read from its shard, folder or table.

        RowError for a row that does not exist, MissingError if its image cannot be read.
        """
        return open_row(self.artifact("embeddings"), self.record.sources, row)
