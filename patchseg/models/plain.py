"""Plain values as JSON that every parser reads: what is no number in JSON becomes null."""

import math
from collections.abc import Mapping
from typing import Any


def as_json(value: Any) -> Any:
    """Return plain Python values with null for NaN and infinity, and lists for tuples.

    >>> as_json({"loss": float("nan"), "sizes": (1, 2.5)})
    {'loss': None, 'sizes': [1, 2.5]}
    """
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
