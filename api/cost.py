"""How long a request will take, learned from how long others took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

WARM_SAMPLES = 16
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
        """Take a measured batch into account."""
        if seconds > 2 * self.overhead_s and units > 0:
            seen = (seconds - self.overhead_s) / units
            self.unit_s += WEIGHT * (seen - self.unit_s)


def units(n_windows: int, n_samples: int, steps: int, method: str) -> int:
    """Evaluations of the network, counted in windows."""
    return n_windows if method == "head" else n_windows * n_samples * steps


def measure(seconds: Callable[[int], float], steps: int) -> Cost:
    """Cost from the times of one window with few and with more samples."""
    seconds(1)  # the first run pays for what later ones have
    few, more = seconds(1), seconds(WARM_SAMPLES)
    unit_s = max(more - few, 1e-9) / ((WARM_SAMPLES - 1) * steps)
    return Cost(max(few - unit_s * steps, 0.0), unit_s)
