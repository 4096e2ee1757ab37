"""JSON values that can be sent."""

import math
from typing import Any


def plain(value: Any) -> Any:
    """A JSON value that can be sent: no half characters, and no numbers that JSON has not."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {plain(key): plain(one) for key, one in value.items()}
    return value
