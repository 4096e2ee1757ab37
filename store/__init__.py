"""Versioned artifacts on a disk or in a bucket. Knows no stage and loads no heavy library."""

from .artifact import Artifact
from .draft import Draft, Product, Scratch
from .edit_log import EditLog
from .errors import (
    ConfigError,
    ConflictError,
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
    "ConflictError",
    "CppPipeError",
    "Draft",
    "EditLog",
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
