"""The kinds of artifact: which files a part of each has, and the declared schema of each file.

Stages meet here and nowhere else. Raise a kind's `format` when the layout of its bytes changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .specs import Array, Blob, Column, FileSpec, Table, Tensors


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of artifact; `files` declares the files of every part, by role."""

    name: str
    format: int
    files: Mapping[str, FileSpec]
    least_kept: float | None = None
    """For a kind that is fitted to all rows: the least share of them that a run must still hold for
    the fit to be used for added rows, too. None for a kind that is not fitted."""

    @property
    def is_fitted(self) -> bool:
        """Whether it is fitted to rows, and may be used for others."""
        return self.least_kept is not None

    def table(self, role: str = "rows") -> Table:
        """The declared table of a role."""
        spec = self.files[role]
        assert isinstance(spec, Table), f"{role} of {self.name} is not a table"
        return spec


EMBEDDINGS = Kind(
    name="embeddings",
    format=1,
    files={
        "rows": Table(
            suffix=".parquet",
            columns=(
                Column(name="key", type="string"),
                Column(name="shard", type="string"),
                Column(name="offset", type="int64", nullable=True, unit="bytes"),
                Column(name="size", type="int64", nullable=True, unit="bytes"),
                Column(name="width", type="int32", nullable=True, unit="pixels"),
                Column(name="height", type="int32", nullable=True, unit="pixels"),
                Column(name="caption", type="string", nullable=True),
                Column(name="label", type="string", nullable=True),
                Column(name="url", type="string", nullable=True),
                Column(name="extra", type="string", unit="JSON object"),
                Column(name="embedding", type="vector", unit="unit length"),
            ),
        ),
        "skipped": Table(
            suffix=".skipped.parquet",
            is_aligned=False,
            columns=(
                Column(name="key", type="string"),
                Column(name="shard", type="string"),
                Column(name="offset", type="int64", nullable=True, unit="bytes"),
                Column(name="reason", type="string"),
                Column(name="detail", type="string"),
            ),
        ),
    },
)

VIEWS = Kind(
    name="views",
    format=1,
    # The heads' input if it is more than an embedding: several vectors of an image, joined.
    files={"x": Array(suffix=".npy", dtype="float16", ndim=2)},
)

HEADS = Kind(
    name="heads",
    format=2,
    least_kept=1.0,
    files={
        "weights": Tensors(),
        "history": Table(
            suffix=".history.parquet",
            is_aligned=False,
            columns=(
                Column(name="step", type="int32"),
                Column(name="is_warmup", type="bool"),
                Column(name="rate_nats", type="float64", unit="nats"),
                Column(name="conditional_rate_nats", type="float64", nullable=True, unit="nats"),
                Column(name="regulariser", type="float64", nullable=True),
                Column(name="loss", type="float64", unit="nats"),
            ),
        ),
        "checks": Table(
            suffix=".checks.parquet",
            is_aligned=False,
            columns=(
                Column(name="eta", type="float64", unit="temperature"),
                Column(name="step", type="int32"),
                Column(name="stability", type="float64", unit="0 to 1"),
                Column(name="kept", type="bool"),
            ),
        ),
        "picture": Blob(suffix=".history.png"),
    },
)

FEATURES = Kind(
    name="features",
    format=1,
    files={
        "z": Array(suffix=".z.npy", dtype="float16", ndim=2),
        "c": Array(suffix=".c.npy", dtype="float16", ndim=2),
    },
)

SPECTRUM = Kind(
    name="spectrum",
    format=4,
    least_kept=1.0,
    files={
        # Each affinity adds tensors that place other rows: see `algorithms.clustering.affinity`.
        "tensors": Tensors(
            names=(
                "landmark_rows",
                "landmark_points",
                "landmark_z",
                "landmark_x",
                "eigenvalues",
                "eigenvectors",
            )
        ),
    },
)

K_CURVE = Kind(
    name="k_curve",
    format=3,
    least_kept=1.0,
    files={
        "rows": Table(
            suffix=".parquet",
            columns=(
                Column(name="k", type="int32", unit="clusters"),
                Column(name="coding_length_nats", type="float64", unit="nats"),
                Column(name="low_nats", type="float64", nullable=True, unit="nats"),
                Column(name="high_nats", type="float64", nullable=True, unit="nats"),
                Column(name="votes", type="float32", nullable=True, unit="share of resamples"),
                Column(name="as_good", type="bool"),
                Column(name="shortest", type="bool"),
                Column(name="chosen", type="bool"),
            ),
        ),
        "picture": Blob(suffix=".png"),
    },
)

HIERARCHY = Kind(
    name="hierarchy",
    format=1,
    least_kept=1.0,
    files={
        # A row for each level, from the finest clusters to a single one. Clusters of the finest
        # level are nodes 0 to level - 1; each merge makes the next node.
        "rows": Table(
            suffix=".parquet",
            columns=(
                Column(name="level", type="int32", unit="clusters"),
                Column(name="parent", type="int32", nullable=True, unit="node"),
                Column(name="left", type="int32", nullable=True, unit="node"),
                Column(name="right", type="int32", nullable=True, unit="node"),
                Column(name="coding_length_nats", type="float64", unit="nats"),
            ),
        ),
        "leaves": Tensors(suffix=".leaves.safetensors", names=("centroids", "pieces")),
    },
)

ASSIGNMENTS = Kind(
    name="assignments",
    format=2,
    files={
        "rows": Table(
            suffix=".parquet",
            columns=(
                Column(name="key", type="string"),
                Column(name="cluster", type="int32"),
                Column(name="confidence", type="float32", unit="0 to 1"),
                Column(name="novelty", type="float32", unit="above 1 is far from what was fitted"),
            ),
            repeated=(
                Column(name="cluster_{}", type="int32"),
                Column(name="confidence_{}", type="float32", unit="0 to 1"),
            ),
        ),
    },
)

DUPLICATES = Kind(
    name="duplicates",
    format=1,
    files={
        # A row for each image of a group of near-duplicates; the kept image is first in its group.
        "rows": Table(
            suffix=".parquet",
            columns=(
                Column(name="group", type="int32"),
                Column(name="row", type="int64", unit="row of the embeddings, over all parts"),
                Column(name="key", type="string"),
                Column(name="shard", type="string"),
                Column(name="width", type="int32", nullable=True, unit="pixels"),
                Column(name="height", type="int32", nullable=True, unit="pixels"),
                Column(name="kept", type="bool"),
                Column(name="similarity", type="float32", unit="cosine with the kept one"),
            ),
        ),
    },
)

FINGERPRINTS = Kind(
    name="fingerprints",
    format=1,
    files={
        # A row for each image, in the order of the embeddings.
        "rows": Table(
            suffix=".parquet",
            columns=(Column(name="digest", type="string", unit="SHA-256 of the file, hex"),),
        ),
        # Small grey images, row by row.
        "thumbnails": Array(suffix=".thumbnails.npy", dtype="uint8", ndim=2),
    },
)

_SCORE = Column(name="{}", type="float32", nullable=True)

SCORES = Kind(
    name="scores",
    format=1,
    # A row for each image, in the order of the embeddings, and a column for each score.
    files={"rows": Table(suffix=".parquet", columns=(), repeated=(_SCORE,), are_named=True)},
)

OF_TEXT = ("model", "pretrained", "weights_digest", "embedding_size", "precision")
"""The facts of a model that decide the embeddings of words; words use no others."""

WORDS = Kind(
    name="words",
    format=1,
    files={
        # A part for each vocabulary.
        "rows": Table(
            suffix=".parquet",
            columns=(
                Column(name="name", type="string"),
                Column(name="vocabulary", type="string"),
                Column(name="embedding", type="vector", unit="unit length"),
            ),
        ),
    },
)

_CAPTION = (
    Column(name="rank", type="int32", unit="1 is best"),
    Column(name="caption", type="string"),
    Column(name="score", type="float32", unit="share of what the cluster gives to all words"),
    Column(name="votes", type="float32"),
)

CAPTIONS = Kind(
    name="captions",
    format=2,
    files={
        "rows": Table(suffix=".parquet", columns=(Column(name="cluster", type="int32"), *_CAPTION)),
        # Captions of the cut level of a hierarchy and of all coarser ones; empty without one.
        "levels": Table(
            suffix=".levels.parquet",
            is_aligned=False,
            columns=(
                Column(name="level", type="int32", unit="clusters"),
                Column(name="cluster", type="int32"),
                *_CAPTION,
            ),
        ),
    },
)

QUANTIZER = Kind(
    name="quantizer",
    format=1,
    least_kept=0.5,
    files={
        # A trained FAISS inverted file without rows: it assigns rows to lists and encodes them.
        "index": Blob(suffix=".faiss"),
        # Rows held out of the fit, float16 (q, d), their numbers within their parts, and the
        # digests of these parts, uint8 (q, 32).
        "held_out": Tensors(
            suffix=".held-out.safetensors", names=("vectors", "rows", "part_digests")
        ),
    },
)

LISTS = Kind(
    name="lists",
    format=1,
    files={
        # The rows of a part, sorted by their list and then by their number.
        "codes": Array(suffix=".codes.npy", dtype="uint8", ndim=2),
        "rows": Array(suffix=".rows.npy", dtype="int32", ndim=1),
        "lists": Array(suffix=".lists.npy", dtype="int32", ndim=1),
        # The part's rows nearest to each held-out row, best first; -1 if there is none.
        "nearest": Tensors(suffix=".nearest.safetensors", names=("similarities", "rows")),
    },
)

INDEX = Kind(
    name="index",
    format=2,
    files={"index": Blob(suffix=".faiss"), "facts": Blob(suffix=".facts.json")},
)

PROJECTION = Kind(
    name="projection",
    format=1,
    files={
        "rows": Table(
            suffix=".parquet",
            columns=(
                Column(name="x", type="float32", unit="-1 to 1"),
                Column(name="y", type="float32", unit="-1 to 1"),
            ),
        ),
    },
)

SPRITES = Kind(
    name="sprites",
    format=1,
    files={
        # A part for each sheet: a JPEG of squares, row by row from the upper left, and their rows.
        "rows": Table(
            suffix=".parquet",
            columns=(
                Column(name="row", type="int64", unit="row of the embeddings, over all parts"),
            ),
        ),
        "sheet": Blob(suffix=".jpg"),
    },
)

EDITS = Kind(
    name="edits",
    format=1,
    files={
        # A row for each image, in the order of the embeddings.
        "rows": Table(
            suffix=".parquet",
            columns=(
                Column(name="key", type="string"),
                Column(name="shard", type="string"),
                Column(name="cluster", type="int32"),
                Column(name="excluded", type="bool"),
                Column(name="tags", type="string", unit="JSON array"),
                Column(name="note", type="string", nullable=True),
            ),
        ),
        "clusters": Table(
            suffix=".clusters.parquet",
            is_aligned=False,
            columns=(
                Column(name="cluster", type="int32"),
                Column(name="name", type="string", nullable=True),
                Column(name="note", type="string", nullable=True),
            ),
        ),
        # The decisions, and the outcome of each.
        "log": Table(
            suffix=".log.parquet",
            is_aligned=False,
            columns=(
                Column(name="number", type="int32"),
                Column(name="by", type="string"),
                Column(name="at", type="string", unit="ISO 8601"),
                Column(name="op", type="string"),
                Column(name="what", type="string"),
                Column(name="status", type="string"),
                Column(name="why", type="string"),
            ),
        ),
    },
)

_IN_ORDER = (
    EMBEDDINGS, VIEWS, HEADS, FEATURES, SPECTRUM, K_CURVE, HIERARCHY, ASSIGNMENTS, FINGERPRINTS,
    DUPLICATES, SCORES, WORDS, CAPTIONS, QUANTIZER, LISTS, INDEX, PROJECTION, SPRITES, EDITS,
)  # fmt: skip

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _IN_ORDER})
"""Every kind by its name, in the order of data flow."""
