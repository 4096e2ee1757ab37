"""Records a person's decisions about a run: `run.edits.name(12, "steam engines")`."""

import getpass
import operator
import reprlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ...stages.edits.edit import Edit, active
from ...stages.edits.replay import Edited
from ...store import ConflictError, QueryError
from ..view.applied_edits import KEPT, OPEN, current_assignments, open_edited, read_edits
from ..view.keys import names_of_rows, row_of_key, rows_of_keys
from ..view.opened_run import OpenedRun
from ..wording import agreeing, counted

if TYPE_CHECKING:
    from ...stages.edits.edit import Op

Images: TypeAlias = "Sequence[int | str] | np.ndarray"
"""Row numbers or keys."""

_UNKNOWN_USER = "unknown"

_IMAGE_OPS: tuple["Op", ...] = ("tag", "untag", "exclude", "include")
"""Operations on a cluster that are recorded for the images that it has now. The cluster may get
other images later, about which nothing was decided."""


class Editor:
    """Adds decisions to the log of a run. Each is on the disk when the call returns.

    Images are row numbers or keys (KEY or SHARD:KEY). Clusters are those of `edited().cluster`: the
    current ones and those made by splits, without those that were merged into others. QueryError
    for an image or a cluster that does not exist, and for an empty list of images, which never
    means all; ConflictError if somebody else added a decision at the same time or, if `seen` is
    given, since the log had so many decisions.
    """

    def __init__(self, run: OpenedRun, by: str | None = None, *, seen: int | None = None) -> None:
        self._run = run
        self._seen = seen
        self.by = by or user_name()
        """The name of the person who decides."""

    def decisions(self) -> list[Edit]:
        """All decisions, in order."""
        return read_edits(self._run)

    def edited(self, name: str = OPEN) -> Edited:
        """Clusters and images after the decisions of the log, or after those sealed as `name`."""
        return open_edited(self._run, name)

    def names_of(self, rows: Sequence[int]) -> list[str]:
        """SHARD:KEY of each row, in the order given."""
        return names_of_rows(self._run.artifact("embeddings"), rows)

    def name(self, cluster: int, name: str) -> Edit:
        """Names a cluster; an empty name restores its caption."""
        return self._add("name", clusters=[cluster], value=name)

    def note(
        self,
        text: str,
        *,
        cluster: int | None = None,
        images: "Images | None" = None,
    ) -> Edit:
        """Notes something on a cluster or on images; an empty text removes the note."""
        return self._add("note", clusters=_optional(cluster), images=images, value=text)

    def merge(self, *clusters: int) -> Edit:
        """Merges clusters into the first."""
        return self._add("merge", clusters=clusters)

    def split(self, cluster: int, images: "Images") -> Edit:
        """Makes a new cluster of the images that are in `cluster`; images elsewhere stay there."""
        cluster, rows = _whole(cluster, "cluster"), self._rows(images)
        held = (self.edited().cluster == cluster).nonzero()[0]
        inside = np.intersect1d(rows, held)
        if len(rows) and len(held) and not len(inside):
            raise QueryError(f"none of these images is in cluster {cluster}")
        edit = self._add("split", clusters=[cluster], images=inside if len(held) else rows)
        if outside := len(rows) - len(edit.images):
            they_stay = agreeing(outside, "is not in it and stays", "are not in it and stay")
            images_in_all = counted(len(rows), "image")
            self._run.report(
                f"cluster {cluster}: {outside:,} of {images_in_all} {they_stay} in place"
            )
        return edit

    def move(self, images: "Images", cluster: int) -> Edit:
        """Moves images to a cluster."""
        return self._add("move", clusters=[cluster], images=images)

    def tag(
        self,
        tag: str,
        *,
        images: "Images | None" = None,
        cluster: int | None = None,
    ) -> Edit:
        """Tags images, or all images that a cluster has now."""
        return self._add("tag", clusters=_optional(cluster), images=images, value=tag)

    def untag(
        self,
        tag: str,
        *,
        images: "Images | None" = None,
        cluster: int | None = None,
    ) -> Edit:
        """Removes a tag from images, or from all images that a cluster has now."""
        return self._add("untag", clusters=_optional(cluster), images=images, value=tag)

    def exclude(
        self,
        *,
        images: "Images | None" = None,
        cluster: int | None = None,
    ) -> Edit:
        """Excludes images from exports, searches and curation that apply these decisions."""
        return self._add("exclude", clusters=_optional(cluster), images=images)

    def include(
        self,
        *,
        images: "Images | None" = None,
        cluster: int | None = None,
    ) -> Edit:
        """Includes excluded images again."""
        return self._add("include", clusters=_optional(cluster), images=images)

    def undo(self, number: int | None = None) -> Edit:
        """Reverts the decision of a number; without a number the last one that is active.

        Reverting a revert restores the decision. QueryError if there is nothing to revert.
        """
        edits = self.decisions()
        holds = active(edits)
        matching = [
            edit
            for edit, is_active in zip(edits, holds, strict=True)
            if is_active and (edit.op != "revert" if number is None else edit.number == number)
        ]
        if not matching:
            why = "no decision holds"
            if number is not None:
                why = f"decision {number} does not exist or is reverted"
            raise QueryError(f"there is nothing to undo: {why}; `cpp-pipe edit log` lists them")
        return self._add("revert", value=matching[-1].id)

    def _add(
        self,
        op: "Op",
        *,
        clusters: Sequence[int] = (),
        images: "Images | None" = None,
        value: str = "",
    ) -> Edit:
        run = self._run
        if images is not None:
            images = _listed(images)
            if not images:
                raise QueryError(f"the list of images is empty: {op} needs at least one")
        assignments, edits = current_assignments(run), self.decisions()
        self._check_seen()
        k = int(assignments.facts["k"])
        clusters = [_whole(number, "cluster") for number in clusters]
        self._require(clusters, k + sum(edit.op == "split" for edit in edits))
        self._require_images(clusters)
        if clusters and images is None and op in _IMAGE_OPS:
            images, clusters = np.isin(self.edited().cluster, clusters).nonzero()[0], ()
        edit = Edit(
            id=uuid.uuid4().hex,
            number=len(edits) + 1,
            by=self.by,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            op=op,
            assignments=assignments.version,
            k=k,
            clusters=tuple(clusters),
            images=() if images is None else self._images(images),
            value=value,
        )
        with run.store.writing():
            # Keeps the assignments as long as the decision may be carried to other clusters.
            run.record = run.store.refer(
                run.record.name, {f"{KEPT}{assignments.version}": assignments.version}
            )
            run.edit_log.append(edit.to_json(), seen=len(edits))
        return edit

    def _check_seen(self) -> None:
        """ConflictError if the log grew since the person who decides looked at it."""
        length = len(self.decisions())
        if self._seen not in (None, length):
            raise ConflictError(
                f"the run has {counted(length, 'decision')} now, and had {self._seen} when you "
                "looked: look at the log, and decide again"
            )

    @staticmethod
    def _require(clusters: Sequence[int], end: int) -> None:
        wrong = [number for number in clusters if not 0 <= number < end]
        if wrong:
            raise QueryError(f"cluster must be from 0 to {end - 1}, got {wrong[0]}")

    def _require_images(self, clusters: Sequence[int]) -> None:
        """QueryError for a cluster that has no images, e.g. since it was merged into another."""
        if not clusters:
            return
        cluster = self.edited().cluster
        empty = [number for number in clusters if not (cluster == number).any()]
        if empty:
            raise QueryError(f"cluster {empty[0]} has no images: it was merged into another")

    def _images(self, images: "Images") -> tuple[str, ...]:
        """SHARD:KEY of each image, in row order, without repetitions."""
        return tuple(self.names_of(self._rows(images)))

    def _rows(self, images: "Images") -> list[int]:
        """The row of each image, ascending, without repetitions."""
        embeddings, images = self._run.artifact("embeddings"), _listed(images)
        keys = [image for image in images if isinstance(image, str)]
        rows = {_whole(image, "row") for image in images if not isinstance(image, str)}
        outside = sorted(row for row in rows if not 0 <= row < embeddings.rows)
        if outside:
            raise QueryError(f"row must be from 0 to {embeddings.rows - 1}, got {outside[0]}")
        if len(keys) == 1:
            rows.add(row_of_key(embeddings, keys[0]))
        elif keys:
            rows.update(rows_of_keys(embeddings, keys).tolist())
        return sorted(rows)


def _whole(value: Any, name: str) -> int:
    """A whole number, also one of NumPy; QueryError for anything else, truth values included."""
    if isinstance(value, bool | np.bool_):
        raise QueryError(
            f"{name} must be a whole number, got {bool(value)}: of a mask, give mask.nonzero()[0]"
        )
    try:
        return operator.index(value)
    except TypeError as error:
        raise QueryError(f"{name} must be a whole number, got {reprlib.repr(value)}") from error


def _listed(images: Any) -> list[Any]:
    """Images, of which one may stand by itself: a text would be a key for each letter."""
    if isinstance(images, str | int | np.integer):
        return [images]
    try:
        if not isinstance(images, bytes):  # whose items are numbers
            return list(images)
    except TypeError:
        pass
    raise QueryError(f"images must be rows or keys, got {reprlib.repr(images)}")


def _optional(cluster: int | None) -> tuple[int, ...]:
    return () if cluster is None else (cluster,)


def user_name() -> str:
    """The name of this process' user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # in a container the user may have no name
        return _UNKNOWN_USER
