"""Checks of the imputer's parameters, each with a message that names the parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tsimpute.arguments import is_count, is_number
from tsimpute.errors import InputError
from tsimpute.panel.calendar import CALENDAR

_COUNTS = (
    "window_steps",
    "kept_steps",
    "n_samples",
    "diffusion_steps",
    "channels",
    "layers",
    "heads",
    "batch_size",
)
DEFAULT_VARIANCE = "crps"
LEARNED_VARIANCES = ("crps", "npr", "sn", "analytic")
_SWITCHES = ("antithetic", "calibrate", "mixed_precision", "slimmable")
_OPTIONAL_COUNTS = ("epochs", "patience", "train_stride")
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "dropout": (lambda v: 0 <= v < 1, "a number in [0, 1)"),
    "attention_dropout": (lambda v: 0 <= v < 1, "a number in [0, 1)"),
    "overlap": (lambda v: 0 <= v < 1, "a share in [0, 1)"),
    "validation_fraction": (lambda v: 0 <= v <= 0.5, "a share in [0, 0.5]"),
    "ema_decay": (lambda v: 0 <= v < 1, "a number in [0, 1)"),
    "warmup": (lambda v: 0 <= v < 1, "a share in [0, 1)"),
}


def check_parameters(imputer: Any) -> None:
    """Check sizes and ranges of an imputer's parameters.

    Raises
    ------
    InputError
        Naming every parameter that cannot be used, what it was and what was expected.
    """
    mistakes = [
        f"{name}={getattr(imputer, name)!r}; expected a whole number of at least 1"
        for name in _COUNTS
        if not is_count(getattr(imputer, name))
    ]
    mistakes += [
        f"{name}={getattr(imputer, name)!r}; expected None or a whole number of at least 1"
        for name in _OPTIONAL_COUNTS
        if getattr(imputer, name) is not None and not is_count(getattr(imputer, name))
    ]
    for name, (holds, expected) in _RANGES.items():
        value = getattr(imputer, name)
        if not is_number(value) or not holds(float(value)):
            mistakes.append(f"{name}={value!r}; expected {expected}")
    mistakes += _mistakes_of_kind(imputer)
    if not mistakes:
        mistakes += _mistakes_between(imputer)
    if mistakes:
        raise InputError("; ".join(mistakes))


def _mistakes_of_kind(imputer: Any) -> list[str]:
    mistakes = [
        f"{name}={getattr(imputer, name)!r}; expected True or False"
        for name in _SWITCHES
        if not isinstance(getattr(imputer, name), bool | np.bool_)
    ]
    mistakes += [
        f"{name}={getattr(imputer, name)!r}; expected None or a list of {what}"
        for name, what in (("exogenous", "columns"), ("calendar", f"names out of {[*CALENDAR]}"))
        if not isinstance(getattr(imputer, name), list | tuple | None)
    ]
    for name, what in (("time_budget_s", "number of seconds"), ("learning_rate", "number")):
        value = getattr(imputer, name)
        if value is not None and not (is_number(value) and value > 0):
            mistakes.append(f"{name}={value!r}; expected None or a positive {what}")
    if imputer.time not in ("steps", "clock"):
        mistakes.append(f"time={imputer.time!r}; expected 'steps' or 'clock'")
    if imputer.period not in (None, "auto") and not is_count(imputer.period):
        mistakes.append(
            f"period={imputer.period!r}; expected None, 'auto' or the whole number of rows in a "
            f"season"
        )
    if not isinstance(imputer.anchor, str):
        mistakes.append(f"anchor={imputer.anchor!r}; expected 'linear', 'local' or 'none'")
    return mistakes


def _mistakes_between(imputer: Any) -> list[str]:
    mistakes = []
    if imputer.anchor == "none" and is_count(imputer.period):
        mistakes.append(
            f"period={imputer.period} bends the lines of an anchor, and anchor='none' has none; "
            f"expected anchor='linear' or 'local', or period=None"
        )
    if imputer.kept_steps > imputer.diffusion_steps:
        mistakes.append(
            f"kept_steps={imputer.kept_steps} is more than diffusion_steps="
            f"{imputer.diffusion_steps}; expected 1 to {imputer.diffusion_steps}"
        )
    if imputer.channels % imputer.heads:
        mistakes.append(
            f"channels={imputer.channels} is not a multiple of heads={imputer.heads}; expected "
            f"for example channels={imputer.heads * max(1, imputer.channels // imputer.heads)}"
        )
    if imputer.slimmable and imputer.heads % 2:
        mistakes.append(
            f"heads={imputer.heads} leaves slimmable=True no narrower width without cutting a "
            f"head; expected an even number, best 8"
        )
    return mistakes


def checked_quantiles(quantiles: Sequence[float], name: str = "quantiles") -> list[float]:
    """Levels as floats, in the order given; errors call the parameter by its name.

    Raises
    ------
    InputError
        If there is none, or one is outside (0, 1).
    """
    try:
        levels = [float(level) for level in np.atleast_1d(np.asarray(quantiles, dtype=np.float64))]
    except (TypeError, ValueError):  # no numbers, or a table of them
        levels = []
    if not levels or not all(0 < level < 1 for level in levels):
        raise InputError(
            f"{name}={quantiles!r} cannot be used; expected levels between 0 and 1, both excluded, "
            f"for example (0.05, 0.5, 0.95)"
        )
    return levels
