"""How long a request will take, learned from how long others took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

WARM_SAMPLES = 16
TIMES = 3  # a short measurement is made, and the fastest counts: noise only adds
SHORT_S = 0.2
LEAST_SHARE = 0.25  # of the time of many samples, at the least, goes by their number
WEIGHT = 0.2  # of the newest batch


@dataclass
class Cost:
    """Seconds = overhead_s + unit_s * units.

    A unit is one window of one sample through one diffusion step.

    Attributes
    ----------
    overhead_s, unit_s : float
    """

    overhead_s: float
    unit_s: float

    def seconds(self, units: int) -> float:
        """Predicted time of inference."""
        return self.overhead_s + self.unit_s * units

    def learn(self, units: int, seconds: float) -> None:
        """Take a measured batch into account; neither part can be more than the whole."""
        self.overhead_s = min(self.overhead_s, seconds)
        self.unit_s = min(self.unit_s, seconds / max(units, 1))
        if seconds > 2 * self.overhead_s and units > 0:
            seen = (seconds - self.overhead_s) / units
            self.unit_s += WEIGHT * (seen - self.unit_s)


def units(n_windows: int, n_samples: int, steps: int, method: str) -> int:
    """Evaluations of the network, counted in windows."""
    return n_windows if method == "head" else n_windows * n_samples * steps


def measure(seconds: Callable[[int], float], steps: int) -> Cost:
    """Cost from the times of one window with few and with more samples."""
    seconds(1)  # the first run pays for what later ones have
    few, more = _fastest(seconds, 1), _fastest(seconds, WARM_SAMPLES)
    by_samples = max((more - few) / (WARM_SAMPLES - 1), LEAST_SHARE * more / WARM_SAMPLES)
    return Cost(max(few - by_samples, 0.0), by_samples / steps)


def _fastest(seconds: Callable[[int], float], n_samples: int) -> float:
    once = seconds(n_samples)
    return once if once > SHORT_S else min(once, *(seconds(n_samples) for _ in range(1, TIMES)))
