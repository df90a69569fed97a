"""Parameters as plain data, the same before they are saved and after."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON holds them; a random state that is an object is stored as null.

    Parameters
    ----------
    parameters : mapping of str to object
        As `get_params` gives them.

    Returns
    -------
    dict
        Numbers, text, lists and dicts: arrays and tuples become lists, anything unknown, and
        numbers that are not finite, become text.
    """
    plain = {name: plain_value(value) for name, value in parameters.items()}
    if not isinstance(plain["random_state"], int | None):
        plain["random_state"] = None
    return plain


def plain_value(value: Any) -> Any:
    """One of them: a number, text, list or dict."""
    if isinstance(value, np.generic | np.ndarray):
        return plain_value(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    is_plain = value is None or isinstance(value, bool | int | float | str)
    return value if is_plain else str(value)
