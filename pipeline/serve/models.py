"""Parameters and answers of the JSON API, as its OpenAPI description shows them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Space = Literal["features", "embeddings"]

MAX_ROWS = 200
"""Rows of one answer."""

MAX_EXAMPLES = 16
"""Images or texts that a search avoids."""

MAX_TEXT = 1_000
"""Characters of a text to search for: no text tower reads more than a few hundred."""


class SearchOptions(BaseModel):
    """Space, count and filters of a search, for every kind of query."""

    space: Space | None = Field(
        default=None, description="By default `embeddings` for texts, else `features`."
    )
    n: int = Field(default=24, ge=1, le=MAX_ROWS, description="Number of rows.")
    not_text: list[Annotated[str, Field(max_length=MAX_TEXT)]] = Field(
        default=[], max_length=MAX_EXAMPLES, description="Avoid images that match these texts."
    )
    not_row: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        default=[], max_length=MAX_EXAMPLES, description="Avoid images like these rows."
    )
    cluster: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        default=[], max_length=MAX_ROWS, description="Only rows of these clusters."
    )
    min_confidence: float | None = Field(
        default=None, ge=0, le=1, description="Only rows at least this confident."
    )
    grouping: str | None = Field(
        default=None,
        max_length=40,
        description="`decided` for decided clusters and without excluded images; else the first.",
    )
    target_recall: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the true neighbours to find; by default as the run's settings say.",
    )


class SearchQuery(SearchOptions):
    """A search whose query is in the address: one of text, row, rows and vector."""

    text: str | None = Field(default=None, max_length=MAX_TEXT, description="Search by words.")
    row: int | None = Field(default=None, ge=0, lt=2**31, description="Search by a row.")
    rows: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        default=[], max_length=MAX_ROWS, description="Search by several rows together."
    )
    vector: str | None = Field(
        default=None, max_length=32_768, description="Search by the `vector` of another answer."
    )


class ApiModel(BaseModel):
    """Part of an answer; numbers that are not finite become null."""

    model_config = ConfigDict(ser_json_inf_nan="null")


class Trouble(ApiModel):
    """The reason why a request failed."""

    detail: str


class Name(ApiModel):
    """A caption of a cluster."""

    caption: str
    score: float = Field(description="The caption's share of the cluster's votes.")
    is_given: bool = Field(default=False, description="Whether a person chose it.")


class Member(ApiModel):
    """A row of a cluster."""

    row: int
    confidence: float = Field(description="0 to 1.")


class Card(ApiModel):
    """A cluster in brief."""

    id: int
    size: int
    confidence: float | None = Field(description="Mean over its rows; null if it is empty.")
    far: int = Field(
        description="Rows far from all rows that the clusters were fitted on: novelty above 1."
    )
    names: list[Name] = Field(
        description="Captions, best first; before them the name that a person gave."
    )
    typical: list[Member] = Field(description="The most confident rows.")
    doubtful: list[Member] = Field(
        description="The least confident rows, without those in `typical`."
    )
    excluded: int = Field(
        default=0, description="Its excluded images, which `size` does not count; see `decided`."
    )
    note: str | None = Field(default=None, description="The note on it; see `decided`.")


class Cards(ApiModel):
    """All clusters of a grouping."""

    grouping: str
    cards: list[Card]


class NodeCard(Card):
    """A cluster of the hierarchy, at every level from `coarsest` to `finest`."""

    left: int | None
    right: int | None
    parent: int | None
    finest: int
    coarsest: int


class TreeCards(ApiModel):
    """The whole hierarchy. Level L has L clusters: the nodes with coarsest <= L <= finest."""

    nodes: list[NodeCard]


class Grouping(ApiModel):
    """An assignment of all rows to a number of clusters."""

    name: str = Field(
        description="A value of `grouping`: `k-` and the requested number, or `decided`."
    )
    k: int = Field(description="The number of clusters found.")
    asked: int = Field(description="The number of clusters requested.")


class CurvePoint(ApiModel):
    """The coding length of all rows with k clusters."""

    k: int
    nats: float = Field(description="The coding length; 1 nat is 1.44 bits.")
    low: float | None = Field(default=None, description="The lowest over resampled curves.")
    high: float | None = Field(default=None, description="The highest over resampled curves.")
    votes: float | None = Field(
        default=None, description="Share of resampled curves that are lowest at this k."
    )
    as_good: bool = Field(default=False, description="Whether it is as good as the lowest.")
    chosen: bool = Field(default=False, description="Whether select-k chose this k.")


class TreeFacts(ApiModel):
    """The hierarchy as a whole."""

    finest: int = Field(description="The level with the most clusters.")
    shortest: int = Field(description="The level with the shortest coding length.")
    nats: list[float] = Field(description="Coding lengths in nats of levels 1, 2, …, finest.")
    has_rows: bool = Field(description="Whether `cpp-pipe serve` has assigned all rows to it.")


class Absent(ApiModel):
    """Something that the run lacks or that is out of date, and the command that makes it."""

    what: str
    reason: str = Field(description='"Out of date: …" or "Not made yet: …".')
    command: str


class Skipped(ApiModel):
    """The number of samples that were skipped for one reason."""

    reason: str
    rows: int


class Made(ApiModel):
    """An artifact of the run."""

    slot: str
    version: str
    stage: str
    rows: int
    inputs: list[str] = Field(description="Kind and version of each input.")
    date: str
    seconds: float | None
    device: str
    settings: dict[str, Any]


class RunFacts(ApiModel):
    """The run as a whole."""

    name: str
    generation: str = Field(description="Changes whenever the run changes.")
    cpp_pipe: str
    model: str
    rows: int
    seen: int
    embedded: int
    skipped: list[Skipped]
    partial: list[str] = Field(description="Shards that were read only in part.")
    groupings: list[Grouping] = Field(
        description="Captions and hits of a search belong to the first; `decided` is the last, "
        "and there while a decision holds."
    )
    tree: TreeFacts | None
    curve: list[CurvePoint]
    verdict: str | None = Field(
        description="How many clusters there are, by which rule, and how sure: one sentence."
    )
    has_captions: bool
    has_map: bool
    spaces: list[Space] = Field(description="The spaces that can be searched.")
    copies: list[str] = Field(description="Of `copies` and `duplicates` what was looked for.")
    absent: list[Absent]
    flags: str = Field(description="Flags by which commands name this run and its store.")
    made: list[Made]


class Near(ApiModel):
    """A cluster that is similar to another."""

    id: int
    alike: float = Field(
        description="Cosine between the second moments of both clusters' features, 0 to 1."
    )


class Part(ApiModel):
    """The node of the hierarchy that is closest to a cluster of a grouping."""

    id: int
    shared: float = Field(description="Rows in both, divided by rows in either.")


class ClusterFacts(ApiModel):
    """A cluster in full."""

    card: Card
    grouping: str
    near: list[Near]
    closest_node: Part | None = Field(description="Null if this cluster is a node itself.")
    node: NodeCard | None = Field(description="This node, or the closest one.")
    merges_with: NodeCard | None = Field(description="The node that it is merged with.")
    merges_at: int | None = Field(description="The level at which they are one cluster.")
    splits_into: list[NodeCard]
    splits_at: int | None
    histogram: list[int] = Field(description="Rows by confidence, in equal bins from 0 to 1.")
    labels: list[tuple[str, int]] = Field(
        description="The most frequent labels, with their numbers of rows."
    )


class ClusterSpectra(ApiModel):
    """The singular values of a cluster."""

    singular_values: dict[Space, list[float]] = Field(
        description="By space, divided by the largest, descending."
    )
    sampled: int = Field(description="Rows that they are computed from.")


class Item(ApiModel):
    """A row in a list."""

    row: int
    key: str
    shard: str
    cluster: int
    confidence: float
    width: int | None
    height: int | None


class Items(ApiModel):
    """Rows of a cluster."""

    total: int
    offset: int
    items: list[Item]


class Place(ApiModel):
    """The cluster of a row in one grouping."""

    grouping: str
    cluster: int
    confidence: float
    name: str | None


class ImageFacts(ApiModel):
    """A row in full."""

    row: int
    key: str
    shard: str
    source: str = Field(description="The name of the file or folder that holds the image.")
    offset: int | None
    size: int | None
    width: int | None
    height: int | None
    caption: str | None
    label: str | None = Field(description="The label, named as in clusters and sets.")
    url: str | None
    extra: dict[str, Any]
    novelty: float
    places: list[Place]
    node: int | None = Field(description="Its cluster at the finest level of the hierarchy.")
    tags: list[str] = Field(default=[], description="Tags that people gave it, sorted.")
    excluded: bool = Field(default=False, description="Whether it is excluded by a decision.")
    note: str | None = Field(default=None, description="The note of a person on it.")


class Found(ApiModel):
    """A hit of a search."""

    row: int
    similarity: float = Field(description="Cosine, in the space that was searched.")
    key: str
    shard: str
    cluster: int
    confidence: float
    name: str | None = Field(description="The caption of its cluster.")


class Hits(ApiModel):
    """The rows nearest to a query, best first."""

    space: Space
    hits: list[Found]
    seconds: float
    vector: str | None = Field(
        default=None, description="The query as a value for `vector`, to search again."
    )
    notes: list[str] = Field(default=[], description="What one must know of the query.")
    chance: float | None = Field(
        default=None,
        description="The similarity that half of some random words reach, for a query of words.",
    )


class QueryVector(ApiModel):
    """An image or a text as the run's model sees it."""

    vector: str = Field(description="Its numbers, float32 and little-endian, as base64.")
    notes: list[str] = Field(default=[], description="What one must know of the query.")


class ModelState(ApiModel):
    """The state of the model for texts and images; the first query loads it."""

    state: Literal["not loaded", "loading", "ready", "failed"]
    detail: str


class State(ApiModel):
    """The state of the server."""

    generation: str
    trouble: str | None = Field(
        description="Why the latest state of the run cannot be served, if so."
    )
    model: ModelState
    edits: int = Field(description="The number of decisions in the log.")


class SkippedRow(ApiModel):
    """A sample that was skipped."""

    key: str
    shard: str
    reason: str
    detail: str


class SkippedRows(ApiModel):
    """Samples that were skipped."""

    total: int
    offset: int
    items: list[SkippedRow]


class EvaluationState(ApiModel):
    """Scores against labels, computed on the first request."""

    state: Literal["working", "ready", "absent"]
    detail: str
    scores: dict[str, Any] | None = None
