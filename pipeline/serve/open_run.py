"""An open run: its artifacts, and everything that the answers are made of."""

import contextlib
import copy
import logging
import os
import threading
from collections.abc import Callable
from functools import cached_property

import numpy as np

from ...stages.edits.edit import Edit
from ...stages.rows.artifact_rows import pick_evenly
from ...store import CppPipeError, MissingError, Store, StoreError
from ...store.digest import digest_json
from ...store.residency import Residency
from ..config import settings_of
from ..run import Run
from ..view.applied_edits import KEPT
from ..view.facts import find_readable
from ..view.labels import first_rows, name_classes, read_labels
from .clusters import Clusters
from .damage import reading
from .decided_clusters import DECIDED, Decided
from .decisions import Decisions
from .finder import Finder
from .groups import ImageSets
from .images import DRAWING, MAX_BYTES, Images
from .mapped_folder import MappedFolder
from .responses import CachedAnswers
from .row_fields import RowFields
from .shortened_paths import PathShortener, split_path
from .similarities import Sampled, Similarities
from .tree import LEVELS

log = logging.getLogger(__name__)

_SAMPLE_ROWS = 32
"""Rows of each cluster by which clusters are compared."""

_MOST_SAMPLED = 2**18
"""Rows of all clusters together: of more than 8,192 clusters fewer rows of each are compared."""


class OpenRun:
    """A run as it was when it was opened. What needs all rows is computed on first use.

    Raises MissingError if the run has no current clusters.
    """

    def __init__(self, run: Run, *, max_bytes: int = MAX_BYTES) -> None:
        self.run = run
        self.generation = generation_of(run)
        """Differs between any two states of the run; decisions do not change it."""
        self.embeddings = run.artifact("embeddings")
        if not self.embeddings.rows:
            raise MissingError(f"run {run.record.name!r} has no images: run `cpp-pipe embed`")
        self.assignments = run.require_current("assignments")
        self.captions = find_readable(run, "captions", is_current=True)
        self.hierarchy = find_readable(run, "hierarchy", is_current=True)
        self.levels = find_readable(run, LEVELS, is_current=True)
        self.projection = find_readable(run, "projection", is_current=True)
        self.curve = find_readable(run, "k_curve", is_current=True)
        self._folder = MappedFolder.temporary()
        with contextlib.ExitStack() as stack:
            stack.callback(self._folder.close)
            self.rows = RowFields(self.embeddings, self._folder)
            self.clusters = Clusters(
                self.assignments,
                self.captions,
                self.hierarchy,
                self.levels,
                self._folder,
            )
            self.residency = Residency()
            self.finder = Finder(run, self.residency)
            self.images = Images(run, self.rows, max_bytes)
            self.cached = CachedAnswers()
            """Answers that are the same for every client, whatever is decided."""
            first = self.clusters.groupings[0].name
            self.decisions = Decisions(
                run, self.assignments, self.rows, lambda: self.clusters.partition(first)
            )
            self.sets = ImageSets()
            self.kept_rows: dict[str, tuple[np.ndarray, np.ndarray]] = {}
            """Spare rows and those kept in their place, by the version of groups: see `copies`."""
            self.places = _find_places(run)
            """Where the files of the server lie, which no answer tells."""
            self._similarities = Similarities(lambda rows: self.finder.read(rows, "features"))
            stack.pop_all()  # nothing failed, so the folder stays until `close`

    @property
    def decided(self) -> Decided:
        """What people have decided."""
        return self.clusters.decided

    def with_decisions(self) -> "OpenRun":
        """This run with the decisions that the log holds now; all else is shared.

        The run itself where there are no new ones. StoreError or ConfigError where one cannot be
        read.
        """
        decided = self.decisions.follow()
        if decided.length == self.decided.length:
            return self
        other = copy.copy(self)
        other.clusters = self.clusters.with_decided(decided)
        return other

    def publish(self, message: str) -> str:
        """A message for clients, with shortened paths, whose commands are for this run."""
        return self.run.public_text(self.places.shorten(message))

    def answers(self, grouping: str) -> CachedAnswers:
        """Where answers about a grouping are kept: those about `decided` follow the log."""
        return self.decided.answers if grouping == DECIDED else self.cached

    def close(self) -> None:
        """Removes the files written for this run; mapped ones stay readable while in use."""
        self._folder.close()

    def sampled(self, name: str) -> Sampled:
        """What clusters of a grouping, or the leaves of the hierarchy (`tree`), are compared by."""
        state = self.decided.length if name == DECIDED else 0
        return self._similarities.get(name, state, lambda: self._sample_clusters(name))

    def _sample_clusters(self, name: str) -> list[np.ndarray]:
        """Some rows of each cluster."""
        clusters = self.clusters
        if name == "tree":
            partition = clusters.level(clusters.need_tree().finest)
        else:
            partition = clusters.partition(name)
        most = min(_SAMPLE_ROWS, max(2, _MOST_SAMPLED // partition.k))
        return [pick_evenly(partition.rows([cluster]), most) for cluster in range(partition.k)]

    @cached_property
    def labels(self) -> tuple[np.ndarray, list[str]]:
        """(n,) int32 codes of labels, -1 for a row without one, and the labels by code.

        They come from .cls members or from a JSON field, as the run's settings say. Numbers of
        classes that have names are shown by these.
        """
        import pyarrow as pa

        label = settings_of(self.run.store, self.run.record).data.label
        with reading(self.embeddings):
            if label == "cls":
                chunks = [
                    chunk
                    for part in self.embeddings.parts
                    for chunk in self.embeddings.table(part.name, columns=["label"])
                    .column(0)
                    .chunks
                ]
                column = pa.chunked_array(chunks, type=pa.string()).combine_chunks()
            else:
                column = pa.array(read_labels(self.embeddings, label, None), type=pa.string())
        encoded = column.dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.unify_dictionaries().combine_chunks()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        names = encoded.dictionary.to_pylist()
        if label == "cls":
            with reading(self.embeddings):
                names = name_classes(self.embeddings, names, first_rows(codes, len(names)))
        return codes, names


def _find_places(run: Run) -> PathShortener:
    root = str(run.store.root)
    paths = (root, os.path.realpath(root), *run.record.sources.values())
    folders = {os.getcwd(), os.path.realpath(os.getcwd()), os.path.expanduser("~")}
    return PathShortener(folders | {split_path(path)[0] for path in paths})


def generation_of(run: Run) -> str:
    """A short digest of the versions that a run refers to, but for those kept for decisions."""
    versions = {
        slot: version for slot, version in run.record.versions.items() if not slot.startswith(KEPT)
    }
    state = {"run": run.record.name, "versions": versions, "drawing": DRAWING}
    return digest_json(state)[:12]


class CurrentRun:
    """The run that is served: opened again when it changes, kept as it was if that fails."""

    def __init__(self, open_run: Callable[[], Run], *, max_bytes: int = MAX_BYTES) -> None:
        self._open_run = open_run
        self._max_bytes = max_bytes
        self.trouble: str | None = None
        """Why the latest state of the run cannot be served."""
        self._lock = threading.RLock()
        self._is_closed = False
        self.opened = OpenRun(open_run(), max_bytes=max_bytes)
        self._attempt(self.follow)

    def refresh(self) -> None:
        """Opens the run again if it has changed, and takes up what was decided since.

        A failure only sets `trouble`.
        """
        self._attempt(self._open_again)

    def follow(self, *, patience_seconds: float = -1) -> OpenRun:
        """The run with all decisions that are in its log now.

        With patience it is the run as last opened where another thread decides, or opens the run
        again, for longer than that.
        """
        if not self._lock.acquire(timeout=patience_seconds):
            return self.opened
        try:
            self.opened = self.opened.with_decisions()
            return self.opened
        finally:
            self._lock.release()

    def decide(self, decide: Callable[[OpenRun], Edit]) -> Edit:
        """Adds a decision to the log; it is on the disk, and applied, when the call returns.

        ConflictError where somebody else has made one; `opened` has that one then.
        """
        with self._lock:
            try:
                return decide(self.follow())
            finally:
                self._attempt(self.follow)

    def _open_again(self) -> None:
        run = self._open_run()
        if generation_of(run) == self.opened.generation:
            self.follow()
            return
        before, opened = self.opened, OpenRun(run, max_bytes=self._max_bytes)
        try:
            opened = opened.with_decisions()
        finally:
            self.opened = opened
            before.close()
            if self._is_closed:  # while this run was being opened
                opened.close()

    def _attempt(self, work: Callable[[], object]) -> None:
        """Does something that may fail; a failure only sets `trouble`."""
        try:
            with self._lock:
                work()
            self.trouble = None
        except Exception as error:
            trouble = str(error) or type(error).__name__
            # Errors of settings are one of these too.
            is_bug = not isinstance(error, OSError | ValueError | CppPipeError)
            if is_bug:
                trouble = f"its changes cannot be read ({error!r}): see the log of the server"
            if trouble != self.trouble:
                log.warning("the run is served as it was: %s", trouble, exc_info=is_bug)
            self.trouble = trouble

    def close(self) -> None:
        """Removes the files written for the run, and for one that is being opened."""
        self._is_closed = True  # first: whoever opens a run looks at it last
        with contextlib.suppress(OSError):
            self.opened.close()


def make_opener(store: Store, name: str, device: str) -> Callable[[], Run]:
    """A function that opens a run in its latest state; it raises StoreError if the run is gone."""

    def open_run() -> Run:
        if name not in store.runs.names():
            raise StoreError(f"the store {store.root} no longer holds a run {name!r}")
        run = Run(store, store.runs.read(name), device)
        run.store_name = run.public_store_name
        run.report = _say_nothing  # the page shows what is out of date by itself
        return run

    return open_run


def _say_nothing(line: str) -> None:
    """Where nobody reads a log."""
