"""Versioned artifacts on a disk or in a bucket. Knows no stage and loads no heavy library."""

from .artifact import Artifact
from .draft import Draft, Product, Scratch
from .errors import (
    ConfigError,
    CppPipeError,
    MissingError,
    NumericError,
    QueryError,
    RowError,
    ShardError,
    StoreError,
)
from .manifest import Manifest, PartRecord, Recipe
from .runs import RunRecord
from .store import Store

__all__ = [
    "Artifact",
    "ConfigError",
    "CppPipeError",
    "Draft",
    "Manifest",
    "MissingError",
    "NumericError",
    "PartRecord",
    "Product",
    "QueryError",
    "Recipe",
    "RowError",
    "RunRecord",
    "Scratch",
    "ShardError",
    "Store",
    "StoreError",
]
