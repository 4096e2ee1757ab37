"""JSON values that any client can read."""

import math
from typing import Any


def to_json_value(value: Any) -> Any:
    """A value that JSON can hold: lone surrogates become ?, NaN and infinities their names."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [to_json_value(item) for item in value]
    if isinstance(value, dict):
        return {to_json_value(key): to_json_value(item) for key, item in value.items()}
    return value
