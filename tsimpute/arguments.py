"""Checks of single arguments: whole numbers, numbers, switches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tsimpute.errors import InputError


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, Python's or NumPy's; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_count(value: Any, least: int = 1) -> bool:
    """Whether a value is a whole number, and not too small a one."""
    return is_whole(value) and bool(value >= least)


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number, Python's or NumPy's; True and False are none."""
    real = is_whole(value) or isinstance(value, float | np.floating)
    return real and bool(-math.inf < value < math.inf)


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Refuse an argument that is no whole number, or too small a one.

    Raises
    ------
    InputError
        Naming the argument, what it was and what was expected.
    """
    if not is_count(value, least):
        raise InputError(
            f"{name}={value!r} cannot be used; expected a whole number of at least {least}"
        )


def check_number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
) -> None:
    """Refuse an argument that is no finite number, or one outside its range.

    Raises
    ------
    InputError
        Naming the argument, what it was and what was expected.
    """
    if is_number(value) and value > above and least <= value <= most:
        return
    ends = {"of more than": above, "of at least": least, "of at most": most}
    bounds = " and ".join(f"{word} {end:g}" for word, end in ends.items() if math.isfinite(end))
    raise InputError(f"{name}={value!r} cannot be used; expected a number {bounds}".rstrip())


def check_switch(name: str, value: Any) -> None:
    """Refuse an argument that is neither True nor False.

    Raises
    ------
    InputError
        Naming the argument and what it was.
    """
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name}={value!r} cannot be used; expected True or False")
