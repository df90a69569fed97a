"""How the seconds of a fit are shared out, and when they are over."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tsimpute.settings import LEARNED_VARIANCES

HEAD_SHARE, HEAD_MOST_S = 0.1, 10.0
CALIBRATION_SHARE = 0.25


class Spending(Protocol):
    """What of an imputer's parameters takes time."""

    time_budget_s: float | None
    variance: str
    calibrate: bool


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Deadline:
    """A moment on the clock of `time.monotonic`; infinity: never.

    Once `called_off` says True it is over before its time.
    """

    at_s: float = math.inf
    called_off: Callable[[], bool] = _never

    @property
    def is_set(self) -> bool:
        """Whether there is one at all."""
        return math.isfinite(self.at_s)

    @property
    def left_s(self) -> float:
        """Seconds until then, negative afterwards."""
        return self.at_s - time.monotonic()

    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.left_s <= 0 or self.called_off()


NEVER = Deadline()
OVER = Deadline(-math.inf)


def training_seconds(imputer: Spending) -> float | None:
    """Of the seconds of a fit those of training; what comes after it keeps its share."""
    budget = imputer.time_budget_s
    if budget is None:
        return None
    head = min(HEAD_SHARE * budget, HEAD_MOST_S) if imputer.variance in LEARNED_VARIANCES else 0.0
    return budget - head - (CALIBRATION_SHARE * budget if imputer.calibrate else 0.0)


def deadline_of(imputer: Spending, spent_s: float) -> Deadline:
    """When a fit that has trained for some seconds should end."""
    budget = imputer.time_budget_s
    return NEVER if budget is None else Deadline(time.monotonic() + budget - spent_s)
