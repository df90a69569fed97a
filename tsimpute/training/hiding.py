"""Hiding cells of training windows, some of them by the holes of other windows."""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch
from torch import Tensor

from tsimpute.errors import InputError
from tsimpute.training.batches import Windows, WindowSource
from tsimpute.training.targets import draw_targets

BY_PATTERNS = ("historical", "mix")  # strategies that lay the holes of other windows over these
CHECKED_BATCHES = 20


def hide(
    strategy: str,
    windows: Windows,
    patterns: WindowSource,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> Tensor:
    """Target cells of windows by strategy; see `draw_targets`.

    Parameters
    ----------
    strategy : str
    windows : Windows
    patterns : WindowSource
        Windows whose holes "historical" and "mix" lay over these.
    rng : numpy.random.Generator
        Chooses among them.
    generator : torch.Generator
        Draws everything else.

    Returns
    -------
    Tensor of bool, shape (B, L, K)
    """
    if strategy in BY_PATTERNS:
        others = patterns.random_patterns(len(windows), rng)
    else:  # not read; drawn all the same, so that a seed gives what it always gave
        others = windows.observed_mask[rng.permutation(len(windows))]
    return draw_targets(strategy, windows.observed_mask, others, generator)


def check_hides(
    strategy: str, windows: WindowSource, patterns: WindowSource, batch_size: int, seed: int
) -> None:
    """Refuse to learn from hidden cells where patterns decide which, and hide none.

    Raises
    ------
    InputError
        If the first batches have no target cell.
    """
    if strategy not in BY_PATTERNS:
        return
    rng, generator = np.random.default_rng([seed, 5]), torch.Generator().manual_seed(seed)
    for batch in islice(windows.endless(batch_size, rng), CHECKED_BATCHES):
        if hide(strategy, batch, patterns, rng, generator).any():
            return
    raise InputError(
        f"target_strategy={strategy!r} hid no cell of X in {CHECKED_BATCHES} batches: no window "
        f"has an observed cell where another one has a hole; pass patterns=, data with such "
        f"holes, or choose another target_strategy"
    )
