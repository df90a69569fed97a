"""A width of the network for each kept step: the strategy that DDSM searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.slimmable import NARROWEST, WHOLE, narrowed
from tsimpute.errors import InputError

Level = tuple[int, float, float]  # original step, share of signal, what the network is told


@dataclass(frozen=True)
class StepWidths:
    """How wide the network is at each kept step (Yang et al. 2024).

    Attributes
    ----------
    eighths : tuple of int, length K
        Eighths of the channels, 2 to 8, the cleanest step first.
    skipped : tuple of (int, float, float)
        Levels of the steps that the strategy leaves out, so that another one can take them up
        again: original step, share of signal, and the step that the network is told.
    """

    eighths: tuple[int, ...]
    skipped: tuple[Level, ...] = ()

    def __post_init__(self) -> None:
        if not all(NARROWEST <= width <= WHOLE for width in self.eighths):
            raise InputError(
                f"widths {list(self.eighths)} cannot be used; expected {NARROWEST} to {WHOLE}, in "
                f"eighths of the channels"
            )

    @classmethod
    def whole(cls, n_steps: int) -> StepWidths:
        """The whole network at every step."""
        return cls((WHOLE,) * n_steps)

    def __len__(self) -> int:
        return len(self.eighths)

    def take(self, positions: Sequence[int] | NDArray[np.int64]) -> StepWidths:
        """Widths of the steps at positions of the grid, which are then all that there are."""
        return StepWidths(tuple(self.eighths[int(position)] for position in positions))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a file."""
        skipped = {"skipped": [list(level) for level in self.skipped]} if self.skipped else {}
        return {"eighths": list(self.eighths), **skipped}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> StepWidths:
        """The widths that `to_dict` described."""
        skipped = tuple(
            (int(step), float(alpha_bar), float(network_step))
            for step, alpha_bar, network_step in stored.get("skipped", ())
        )
        return cls(tuple(int(width) for width in stored["eighths"]), skipped)


def step_networks(
    network: CSDIDenoiser, n_steps: int, widths: StepWidths | None
) -> list[CSDIDenoiser]:
    """The network of each step, equal widths sharing one; without widths the whole one."""
    if widths is None:
        return [network] * n_steps
    by_width = {width: narrowed(network, width) for width in set(widths.eighths)}
    return [by_width[width] for width in widths.eighths]
