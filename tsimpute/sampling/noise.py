"""Noise that belongs to a place in a series, not to a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class BlockNoise:
    """Standard normal numbers for windows, the same at a row whatever window it is seen in.

    A series is cut into blocks of rows, each with a generator of its own, seeded by (seed,
    series, block). Two windows that overlap see the same numbers on their common rows, so that
    blending them neither narrows the samples nor leaves a seam, and an answer does not depend
    on which windows share a batch.

    Parameters
    ----------
    seed : int
    places : sequence of (series, first row)
        First rows are multiples of `block`.
    shape : tuple of int
        (S, L, K) of one window.
    block : int
        Rows of a block.
    device : torch.device
        Where the numbers are wanted; they are drawn on the CPU, so that every device gets the
        same.
    antithetic : bool
        Draw half of the samples; the other half has the opposite numbers.
    """

    def __init__(
        self,
        seed: int,
        places: Sequence[tuple[int, int]],
        shape: tuple[int, int, int],
        block: int,
        device: torch.device,
        antithetic: bool = False,
    ) -> None:
        self.antithetic = antithetic
        self.shape, self.block, self.device = shape, block, device
        n_blocks = -(-shape[1] // block)
        self.blocks = [[(i, start // block + b) for b in range(n_blocks)] for i, start in places]
        unique = {key for keys in self.blocks for key in keys}
        self.generators = {key: _generator(seed, *key) for key in sorted(unique)}

    def draw(self) -> Tensor:
        """Next numbers for all windows; float32, shape (N, S, L, K)."""
        n_samples, length, k = self.shape
        n_drawn = -(-n_samples // 2) if self.antithetic else n_samples
        drawn = {
            key: torch.randn((n_drawn, self.block, k), generator=generator)
            for key, generator in self.generators.items()
        }
        windows = [torch.cat([drawn[key] for key in keys], 1)[:, :length] for keys in self.blocks]
        numbers = torch.stack(windows)
        if self.antithetic:
            numbers = torch.cat([numbers, -numbers], 1)[:, :n_samples]
        return numbers.to(self.device)


def _generator(seed: int, series: int, block: int) -> torch.Generator:
    entropy = [seed, series, block % 2**32]  # a block of padding before the series is negative
    state = np.random.SeedSequence(entropy).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 32 | int(state[1]))
