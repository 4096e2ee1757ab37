"""Answers of the routes of the map."""

from pydantic import Field

from .models import ApiModel, Space


class MapFacts(ApiModel):
    """The two-dimensional projection."""

    rows: int
    shown: int = Field(
        description="The number of points: a sample if there are too many rows to draw."
    )
    method: str
    space: Space
    fitted: int = Field(description="Rows that the projection was fitted on.")
    has_sprites: bool = Field(description="Whether there are sheets of small images.")


class SpriteFacts(ApiModel):
    """Sheets of small images, from which the map is drawn."""

    rows: int = Field(description="Images on all sheets; of many rows, some at even distances.")
    side: int = Field(description="Pixels of an image, which is a square.")
    columns: int = Field(description="Images in a row of a sheet.")
    sheets: list[int] = Field(description="Images on each sheet.")
    unreadable: int = Field(description="Images that could not be read; their squares are grey.")
    version: str = Field(description="Of the sheets: with it as `v`, a browser may keep them.")
