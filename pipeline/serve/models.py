"""What the JSON API takes and gives, as its OpenAPI page tells it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Space = Literal["features", "embeddings"]

MOST_ROWS = 200
"""Rows of one answer."""

MOST_EXAMPLES = 16
"""Images or texts that a search avoids."""

MOST_TEXT = 1_000
"""Characters of a text to look for: no text tower reads more than some hundred."""


class Asked(BaseModel):
    """How a search is narrowed: the same for every kind of query."""

    space: Space | None = Field(
        default=None, description="`embeddings` for texts, else `features` if absent."
    )
    n: int = Field(default=24, ge=1, le=MOST_ROWS, description="How many rows.")
    not_text: list[Annotated[str, Field(max_length=MOST_TEXT)]] = Field(
        default=[], max_length=MOST_EXAMPLES, description="Avoid images that these words fit."
    )
    not_row: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        default=[], max_length=MOST_EXAMPLES, description="Avoid images like these rows."
    )
    cluster: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        default=[], max_length=MOST_ROWS, description="Only rows of these clusters."
    )
    min_confidence: float | None = Field(
        default=None, ge=0, le=1, description="Only rows at least this confident."
    )
    target_recall: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of true neighbours to find; the run's if absent.",
    )


class AskedByAddress(Asked):
    """A query that an address holds."""

    text: str | None = Field(default=None, max_length=MOST_TEXT, description="Words.")
    row: int | None = Field(default=None, ge=0, lt=2**31, description="A row.")
    vector: str | None = Field(
        default=None, max_length=32_768, description="What another search gave as its `vector`."
    )


class Answer(BaseModel):
    """An answer of the API; numbers that are not finite become null."""

    model_config = ConfigDict(ser_json_inf_nan="null")


class Trouble(Answer):
    """Why a request was not answered."""

    detail: str


class Name(Answer):
    """A caption of a cluster."""

    caption: str
    score: float = Field(description="Share of the cluster's votes.")


class Member(Answer):
    """A row of a cluster."""

    row: int
    confidence: float = Field(description="From 0 to 1.")


class Card(Answer):
    """A cluster at a glance."""

    id: int
    size: int
    confidence: float | None = Field(description="The mean; null where the cluster is empty.")
    far: int = Field(description="Rows that are far from everything that was fitted.")
    names: list[Name] = Field(description="Captions, best first.")
    typical: list[Member] = Field(description="The surest rows.")
    doubtful: list[Member] = Field(description="The most doubtful rows, but for those above.")


class Cards(Answer):
    """All clusters of a grouping."""

    grouping: str
    cards: list[Card]


class NodeCard(Card):
    """A cluster of the hierarchy: it is one from level `finest` down to level `coarsest`."""

    left: int | None
    right: int | None
    parent: int | None
    finest: int
    coarsest: int


class TreeCards(Answer):
    """The whole hierarchy: the clusters of level L are the nodes with coarsest <= L <= finest."""

    nodes: list[NodeCard]


class Grouping(Answer):
    """A number of clusters that rows were put into."""

    name: str = Field(description="What `grouping` takes: `k-` and the number that was asked for.")
    k: int = Field(description="Clusters that there are.")
    asked: int


class CurvePoint(Answer):
    """The coding length of all rows in k clusters."""

    k: int
    nats: float
    low: float | None = None
    high: float | None = None
    votes: float | None = None
    as_good: bool = False
    chosen: bool = False


class TreeFacts(Answer):
    """What is known of the hierarchy as a whole."""

    finest: int
    shortest: int
    nats: list[float] = Field(description="Coding lengths of the levels 1, 2, …, finest.")
    has_rows: bool = Field(description="Whether rows are put into it: `cpp-pipe serve` does.")


class Absent(Answer):
    """What the run could show and does not hold, and the command that makes it."""

    what: str
    command: str


class Skipped(Answer):
    """Samples that were not embedded, by reason."""

    reason: str
    rows: int


class Made(Answer):
    """An artifact of the run."""

    slot: str
    version: str
    stage: str
    rows: int
    inputs: list[str] = Field(description="Kind and version of what it was made from.")
    date: str
    seconds: float | None
    device: str
    settings: dict[str, Any]


class RunFacts(Answer):
    """What the server serves."""

    name: str
    generation: str = Field(description="Changes when the run does.")
    cpp_pipe: str
    model: str
    rows: int
    seen: int
    embedded: int
    skipped: list[Skipped]
    partial: list[str] = Field(description="Shards that were cut short.")
    groupings: list[Grouping] = Field(description="The first is that of captions and search.")
    tree: TreeFacts | None
    curve: list[CurvePoint]
    has_captions: bool
    has_map: bool
    spaces: list[Space] = Field(description="Where can be searched.")
    absent: list[Absent]
    made: list[Made]


class Near(Answer):
    """A cluster that is like another."""

    id: int
    alike: float = Field(description="Cosine of the second moments of features, 0 to 1.")


class Part(Answer):
    """A node of the hierarchy beside a cluster that is not one."""

    id: int
    shared: float = Field(description="Rows in both over rows in either.")


class ClusterFacts(Answer):
    """A cluster in full."""

    card: Card
    grouping: str
    near: list[Near]
    closest_node: Part | None = Field(description="Of the hierarchy, where this is none of it.")
    node: NodeCard | None
    merges_with: NodeCard | None = Field(description="What the node becomes one cluster with.")
    merges_at: int | None = Field(description="The level where it is one with that.")
    splits_into: list[NodeCard]
    splits_at: int | None
    histogram: list[int] = Field(description="Rows by confidence, in equal steps from 0 to 1.")
    singular_values: dict[Space, list[float]] = Field(description="Over the largest, descending.")
    sampled: int = Field(description="Rows that singular values are taken over.")
    labels: list[tuple[str, int]] = Field(description="The most frequent labels, with rows.")


class Item(Answer):
    """A row in a list."""

    row: int
    key: str
    shard: str
    cluster: int
    confidence: float
    width: int | None
    height: int | None


class Items(Answer):
    """Rows of a cluster."""

    total: int
    offset: int
    items: list[Item]


class Place(Answer):
    """Where a row is in a grouping."""

    grouping: str
    cluster: int
    confidence: float
    name: str | None


class ImageFacts(Answer):
    """A row in full."""

    row: int
    key: str
    shard: str
    source: str = Field(description="Where its bytes lie.")
    offset: int | None
    size: int | None
    width: int | None
    height: int | None
    caption: str | None
    label: str | None
    url: str | None
    extra: dict[str, Any]
    novelty: float
    places: list[Place]
    node: int | None = Field(description="Its leaf of the hierarchy.")


class Found(Answer):
    """A row that was found."""

    row: int
    similarity: float = Field(description="Cosine, in the space that was searched.")
    key: str
    shard: str
    cluster: int
    confidence: float
    name: str | None = Field(description="The caption of its cluster.")


class Hits(Answer):
    """Rows that are nearest to a query, best first."""

    space: Space
    hits: list[Found]
    seconds: float
    vector: str | None = Field(
        default=None, description="The query, to be looked for again: `vector` takes it."
    )


class ModelState(Answer):
    """Whether the model that reads texts and pictures is in memory; the first query loads it."""

    state: Literal["not loaded", "loading", "ready", "failed"]
    detail: str


class State(Answer):
    """How the server is."""

    generation: str
    trouble: str | None = Field(description="Why the run as it is now cannot be opened, if so.")
    model: ModelState


class MapFacts(Answer):
    """The two-dimensional projection."""

    rows: int
    shown: int = Field(description="Points, fewer than rows where there are too many to draw.")
    method: str
    space: Space
    fitted: int


class SkippedRow(Answer):
    """A sample that was not embedded."""

    key: str
    shard: str
    reason: str
    detail: str


class SkippedRows(Answer):
    """Samples that were not embedded."""

    total: int
    offset: int
    items: list[SkippedRow]


class EvaluationState(Answer):
    """Scores against labels: worked out once, when first asked for."""

    state: Literal["working", "ready", "absent"]
    detail: str
    scores: dict[str, Any] | None = None


Row = Annotated[int, Field(ge=0, lt=2**31)]
