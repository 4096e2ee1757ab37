"""A run as it stood when the server looked: everything that answers are made of."""

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...store import Artifact, MissingError, Store, StoreError
from ..run import Run
from ..view.facts import find_curve, find_readable
from ..view.labels import read_labels
from .answers import Packed
from .clusters import Clusters
from .columns import Column
from .damage import reading
from .finder import Finder
from .pictures import MOST_BYTES, Pictures
from .resident import Resident
from .rows import Rows
from .similarity import moment_products
from .tree import LEVELS

if TYPE_CHECKING:
    import numpy as np

_SAMPLED = 32
"""Rows of each cluster by which clusters are compared."""


class Opened:
    """A run, opened once. What follows from all rows is worked out when it is first asked for.

    Raises MissingError where the run has no clusters of its embeddings of now.
    """

    def __init__(self, run: Run, *, most_bytes: int = MOST_BYTES) -> None:
        self.run = run
        self.embeddings = run.artifact("embeddings")
        if not self.embeddings.rows:
            raise MissingError(f"run {run.record.name!r} holds no pictures: there is none to show")
        run.artifact("assignments")
        self.assignments = self._current("assignments")
        self.captions = find_readable(run, "captions", is_current=True)
        self.hierarchy = find_readable(run, "hierarchy", is_current=True)
        self.levels = find_readable(run, LEVELS, is_current=True)
        self.projection = find_readable(run, "projection", is_current=True)
        self.curve = find_curve(run)
        self._folder = Path(tempfile.mkdtemp(prefix="cpp-pipe-serve-"))
        self.rows = Rows(self.embeddings, self._folder)
        self.clusters = Clusters(
            self.assignments,
            self.captions,
            self.hierarchy,
            self.levels,
            self._folder,
        )
        self.resident = Resident()
        self.resident.add(self._folder)
        self.finder = Finder(run, self.resident)
        self.pictures = Pictures(run, most_bytes)
        self.packed: dict[str, Packed] = {}
        """Answers that are the same for everyone, by what was asked."""
        self._products: dict[str, np.ndarray] = {}
        self._lock = threading.RLock()

    def _current(self, slot: str) -> Artifact:
        found = self.run.current(slot)
        if found is None:
            raise MissingError(
                f"the {slot} of run {self.run.record.name!r} are of other features than it has now:"
                f" `cpp-pipe assign --run {self.run.record.name}` makes them anew"
            )
        return found

    @property
    def generation(self) -> str:
        """Differs between any two states of the run."""
        return generation_of(self.run)

    def close(self) -> None:
        """Removes what was written for this run; what is mapped stays readable while it is used."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def products(self, name: str) -> "np.ndarray":
        """(k, k) `moment_products` of a grouping, or of the leaves of the hierarchy (`tree`)."""
        with self._lock:
            if name not in self._products:
                self._products[name] = moment_products(list(self._samples(name)))
            return self._products[name]

    def _samples(self, name: str) -> "Iterator[np.ndarray]":
        import numpy as np

        column = self._column(name)
        chosen = [
            spread(column.order[column.starts[one] : column.starts[one + 1]], _SAMPLED)
            for one in range(column.k)
        ]
        vectors = self.finder.read(np.concatenate(chosen), "features")
        ends = np.cumsum([len(one) for one in chosen])[:-1]
        yield from np.split(vectors, ends)

    def _column(self, name: str) -> Column:
        clusters = self.clusters
        return (
            clusters.level(clusters.need_tree().finest) if name == "tree" else clusters.column(name)
        )

    @cached_property
    def labels(self) -> "tuple[np.ndarray, list[str]]":
        """(n,) int32 numbers of labels, -1 where a row has none, and the labels.

        They stand where the run's settings say: in .cls members, or in a JSON field.
        """
        import numpy as np
        import pyarrow as pa

        label = dict(self.run.record.settings.get("data", {})).get("label", "cls")
        with reading(self.embeddings):
            if label == "cls":
                chunks = [
                    chunk
                    for part in self.embeddings.parts
                    for chunk in self.embeddings.table(part.name, columns=["label"])
                    .column(0)
                    .chunks
                ]
                whole = pa.chunked_array(chunks, type=pa.string()).combine_chunks()
            else:
                whole = pa.array(read_labels(self.embeddings, label, None), type=pa.string())
        coded = whole.dictionary_encode()
        if isinstance(coded, pa.ChunkedArray):
            coded = coded.unify_dictionaries().combine_chunks()
        codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return codes.astype(np.int32), coded.dictionary.to_pylist()


def spread(rows: "np.ndarray", most: int) -> "np.ndarray":
    """At most so many of some rows, at even distances."""
    import numpy as np

    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def generation_of(run: Run) -> str:
    """A short name for the versions that a run refers to now."""
    from ...store.digest import digest_json

    return digest_json({"run": run.record.name, "versions": dict(run.record.versions)})[:12]


class Current:
    """The run that is served now: opened anew when it changes, kept as it was when it cannot be."""

    def __init__(self, open_run: Callable[[], Run], *, most_bytes: int = MOST_BYTES) -> None:
        self._open_run = open_run
        self._most_bytes = most_bytes
        self.trouble: str | None = None
        """Why the run as it is now is not the one that is served."""
        self.opened = Opened(open_run(), most_bytes=most_bytes)

    def look(self) -> None:
        """Looks whether the run has changed, and opens it anew; never raises for what it finds."""
        try:
            run = self._open_run()
            if generation_of(run) != self.opened.generation:
                before = self.opened
                self.opened = Opened(run, most_bytes=self._most_bytes)
                before.close()
            self.trouble = None
        except (OSError, ValueError) as error:
            # The errors of the store and of settings are both.
            self.trouble = str(error) or type(error).__name__

    def close(self) -> None:
        """Removes what was written."""
        with contextlib.suppress(OSError):
            self.opened.close()


def opener(store: Store, name: str, device: str) -> Callable[[], Run]:
    """Opens the same run again and again; StoreError where its store is gone."""

    def open_run() -> Run:
        if name not in store.runs.names():
            raise StoreError(f"the store {store.root} holds no run {name!r} any more")
        return Run(store, store.runs.read(name), device)

    return open_run
