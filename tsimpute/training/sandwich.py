"""The sandwich rule: several widths of a network trained at once (Yu and Huang 2019)."""

from __future__ import annotations

import numpy as np
from torch import nn

from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.slimmable import WHOLE, AtWidth, allowed_widths


class Sandwich:
    """Which widths an iteration runs, and which ones validation looks at.

    Parameters
    ----------
    network : CSDIDenoiser
        With more than one width.
    n_random : int
        Widths drawn for each iteration besides the narrowest and the whole one.
    """

    def __init__(self, network: CSDIDenoiser, n_random: int) -> None:
        self.network, self.n_random = network, n_random
        *narrow, _ = allowed_widths(network.config)
        self.at = {width: AtWidth(network, width) for width in narrow}

    def draw(self, rng: np.random.Generator) -> list[nn.Module]:
        """The narrowest network, random ones above it, and, last, the whole one."""
        narrowest, *between = self.at
        drawn = rng.permutation(np.array(between, dtype=np.int64))[: self.n_random]
        return [self.at[narrowest], *(self.at[int(width)] for width in drawn), self.network]

    def judged(self) -> list[nn.Module]:
        """The whole, the narrowest and a middle network, whose mean loss is validated."""
        narrowest, middle = min(self.at), min(self.at, key=lambda width: abs(2 * width - WHOLE))
        return [self.network, *(self.at[width] for width in dict.fromkeys((narrowest, middle)))]
