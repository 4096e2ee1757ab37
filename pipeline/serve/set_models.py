"""Parameters and answers of the routes of image sets."""

from typing import Annotated, Literal

from pydantic import Field

from .models import MAX_ROWS, ApiModel, Item

Order = Literal["clusters", "doubtful", "novel"]
ClusterOrder = Literal["size", "sure", "doubt", "far", "name"]
Excluded = Literal["", "show", "only"]
CopyKind = Literal["copies", "duplicates"]
Only = Literal["against-labels"] | CopyKind


class SetQuery(ApiModel):
    """The images to show: of which clusters, by which filters, in which order."""

    grouping: str | None = Field(
        default=None,
        max_length=40,
        description="A grouping of /api/run; by default the first.",
    )
    level: int | None = Field(
        default=None, ge=1, lt=2**31, description="A level of the hierarchy, and no grouping."
    )
    cluster: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        default=[], max_length=MAX_ROWS, description="Only these clusters; of a level, its nodes."
    )
    words: str = Field(
        default="", max_length=200, description="Only clusters whose captions contain this."
    )
    label: str | None = Field(default=None, max_length=1000, description="Only this label.")
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    max_confidence: float | None = Field(default=None, ge=0, le=1)
    novelty_above: float | None = Field(
        default=None,
        ge=0,
        description="Only a higher novelty: above 1, an image is far from all that clusters were "
        "fitted on.",
    )
    only: Only | None = Field(
        default=None,
        description=(
            "`against-labels`: images whose label is not the most frequent of their cluster; "
            "`copies`, `duplicates`: all but the one to keep of each group that "
            "`cpp-pipe duplicates` found."
        ),
    )
    tag: str | None = Field(default=None, max_length=1000, description="Only with this tag.")
    where: list[Annotated[str, Field(max_length=200)]] = Field(
        default=[],
        max_length=8,
        description="Conditions on scores and columns, e.g. `sharpness > 0.2`, all to be met.",
    )
    excluded: Excluded = Field(
        default="",
        description="Whether to show excluded images: only the decided clusters hide them.",
    )
    order: Order = Field(
        default="clusters",
        description="By cluster and falling confidence, or the doubtful or novel ones first.",
    )
    sort: ClusterOrder = Field(default="size", description="The order of the clusters.")


class SetPage(SetQuery):
    """A part of a set."""

    offset: int = Field(default=0, ge=0, lt=2**31)
    limit: int = Field(default=60, ge=1, le=MAX_ROWS)


class Section(ApiModel):
    """The images of one cluster in a set."""

    cluster: int
    start: int = Field(description="The place of its first image in the set.")
    size: int


class SetFacts(ApiModel):
    """A set of images in brief."""

    total: int
    sections: list[Section] = Field(
        description="In the order of the set; empty ones are left out, and all of them where the "
        "order is not by clusters."
    )
    clusters: list[tuple[int, int]] = Field(
        description="The clusters of its images, as `sort` orders them, with their numbers of rows."
    )
    labels: list[tuple[str, int]] = Field(
        description="The most frequent labels, with their numbers of rows."
    )
    confidences: list[int] = Field(description="Rows by confidence, in equal bins from 0 to 1.")
    novel: int = Field(description="Rows with a novelty above 1.")


class SetItems(ApiModel):
    """A part of a set, in its order."""

    total: int
    offset: int
    items: list[Item]


class Kept(ApiModel):
    """The image that is kept in the place of another."""

    row: int | None = Field(description="None for an image that is spare to no other.")


class Compared(Item):
    """An image of one of two clusters."""

    margin: float | None = Field(
        default=None,
        description="How much nearer it is to the middle of the other cluster, in cosine.",
    )


class Side(ApiModel):
    """One of two clusters."""

    typical: list[Compared] = Field(description="Its most confident images.")
    near: list[Compared] = Field(description="Those nearest to the other cluster, nearest first.")
    nearer: int = Field(description="Images that are nearer to the middle of the other cluster.")
    sampled: int | None = Field(description="Its images that were compared, if not all.")


class Comparison(ApiModel):
    """Two clusters side by side."""

    alike: float = Field(description="Cosine between the middles of both.")
    sampled: bool = Field(description="Whether only some of their images were compared.")
    sides: list[Side]


class Column(ApiModel):
    """A column that conditions may name: of numbers, or of texts with its most frequent values."""

    name: str
    rows: int = Field(description="Rows with a value, of those that were read.")
    smallest: float | None = None
    largest: float | None = None
    values: list[tuple[str, int]] | None = None


class Columns(ApiModel):
    """The columns that `where` may name."""

    columns: list[Column]
