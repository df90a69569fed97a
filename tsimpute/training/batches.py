"""Windows of standardised series, drawn in shuffled batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsimpute.denoiser.context import NO_CONTEXT, Context
from tsimpute.panel.side import NO_SIDE, SideShape
from tsimpute.panel.windows import cut, training_starts


@dataclass(frozen=True)
class Windows:
    """Windows ready for the network.

    Attributes
    ----------
    values : Tensor of float32, shape (N, L, K)
        Standardised values, 0 where missing.
    observed_mask : Tensor of bool, shape (N, L, K)
    is_real : Tensor of bool, shape (N, L)
        False on padding rows.
    context : Context
    """

    values: Tensor
    observed_mask: Tensor
    is_real: Tensor
    context: Context = NO_CONTEXT

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.int64] | Tensor | slice) -> Windows:
        """Some of the windows."""
        return self._each(lambda part: part[rows])

    def to(self, device: torch.device) -> Windows:
        """The same windows on a device."""
        return self._each(lambda part: part.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Windows:
        values, observed = change(self.values), change(self.observed_mask)
        return Windows(values, observed, change(self.is_real), self.context.each(change))

    @property
    def padding(self) -> Tensor | None:
        """`is_real` where there is any padding, else None: attention is faster without a mask."""
        return None if bool(self.is_real.all()) else self.is_real

    @classmethod
    def from_arrays(
        cls,
        wide: NDArray[np.float64],
        is_real: NDArray[np.bool_],
        side: SideShape = NO_SIDE,
    ) -> Windows:
        """From arrays (N, L, K), or wider with side columns, NaN where missing, and (N, L)."""
        features = side.features(wide)
        observed = ~np.isnan(features)
        filled = torch.from_numpy(np.where(observed, features, 0.0).astype(np.float32))
        masks = (torch.from_numpy(observed), torch.from_numpy(is_real))
        return cls(filled, *masks, _context(wide, is_real, side))


@dataclass(frozen=True)
class WindowSource:
    """Where training windows come from.

    Attributes
    ----------
    series : sequence of ndarray (n_times, K)
        Standardised values, NaN where missing or not to be used.
    usable_rows : sequence of ndarray of bool (n_times,)
        False on rows held out for validation; no training window touches them.
    window_steps, stride : int
        Length of a window, and the distance of two in one epoch. Each epoch shifts all of them
        by a random offset below the stride, so that every alignment is seen.
    side : SideShape
        Last columns of the series that are no features.
    """

    series: Sequence[NDArray[np.float64]]
    usable_rows: Sequence[NDArray[np.bool_]]
    window_steps: int
    stride: int
    side: SideShape = NO_SIDE

    def places(self, rng: np.random.Generator | None) -> list[tuple[int, int]]:
        """(series, start) of every window of an epoch, unshuffled; no offset without `rng`."""
        return [
            (i, int(start))
            for i, (values, usable) in enumerate(zip(self.series, self.usable_rows, strict=True))
            for start in self._starts(values, usable, rng)
        ]

    def _starts(
        self,
        values: NDArray[np.float64],
        usable: NDArray[np.bool_],
        rng: np.random.Generator | None,
    ) -> NDArray[np.int64]:
        slack = max(0, len(values) - self.window_steps)
        offset = 0 if rng is None else int(rng.integers(min(self.stride, slack + 1)))
        starts = training_starts(len(values), self.window_steps, self.stride, offset)
        stops = np.minimum(starts + self.window_steps, len(values))
        all_usable = _count(~usable, starts, stops) == 0
        silent = np.isnan(self.side.features(values)).all(axis=1)
        any_observed = _count(np.asarray(~silent), starts, stops) > 0
        return np.asarray(starts[all_usable & any_observed])

    def load(self, places: Sequence[tuple[int, int]]) -> Windows:
        """Cut the windows at the given places."""
        cuts = [cut(self.series[i], np.array([start]), self.window_steps) for i, start in places]
        values, is_real = (np.concatenate(parts) for parts in zip(*cuts, strict=True))
        return Windows.from_arrays(values, is_real, self.side)

    def batches(self, batch_size: int, rng: np.random.Generator) -> list[list[tuple[int, int]]]:
        """Places of every window of an epoch, in random order and batches."""
        places = self.places(rng)
        order = rng.permutation(len(places))
        return [
            [places[i] for i in order[first : first + batch_size]]
            for first in range(0, len(places), batch_size)
        ]

    def epoch(self, batch_size: int, rng: np.random.Generator) -> Iterator[tuple[float, Windows]]:
        """Every window once, in random order and batches, with the share of the epoch before it."""
        batches = self.batches(batch_size, rng)
        n_windows = sum(map(len, batches))
        for i, places in enumerate(batches):
            yield i * batch_size / n_windows, self.load(places)

    def endless(self, batch_size: int, rng: np.random.Generator) -> Iterator[Windows]:
        """Batches of one epoch after another."""
        while True:
            for _, batch in self.epoch(batch_size, rng):
                yield batch

    def random_patterns(self, n: int, rng: np.random.Generator) -> Tensor:
        """Observed cells of n random windows (n, L, K); padding counts as observed."""
        chosen = self._every_place[rng.integers(len(self._every_place), size=n)]
        windows = self.load([(int(i), int(start)) for i, start in chosen])
        return windows.observed_mask | ~windows.is_real[..., None]

    @cached_property
    def _every_place(self) -> NDArray[np.int64]:
        """(series, start) of every window, at whatever distance from the next; (N, 2)."""
        return np.array(replace(self, stride=1).places(None))

    def n_batches(self, batch_size: int) -> int:
        """Batches of an epoch, about: the random offset may add or remove one."""
        return max(1, -(-len(self.places(None)) // batch_size))


def _context(wide: NDArray[np.float64], is_real: NDArray[np.bool_], side: SideShape) -> Context:
    covariates = np.where(is_real[..., None], side.covariates(wide), 0.0)
    return Context(
        torch.from_numpy(covariates.astype(np.float32)) if side.n_covariates else None,
        _positions(side.clock(wide), is_real) if side.has_clock else None,
    )


def _positions(clock: NDArray[np.float64], is_real: NDArray[np.bool_]) -> Tensor | None:
    """Times of rows, in steps; None where they are 0, 1, …, which is cheaper.

    A window's first real row and its padding have the time of their place.
    """
    rows = np.arange(clock.shape[1])
    first = is_real.argmax(axis=1)[:, None]
    since_first = clock - np.take_along_axis(clock, first, axis=1)
    positions = np.where(is_real, first + since_first, rows)
    return None if (positions == rows).all() else torch.from_numpy(positions.astype(np.float32))


def _count(
    flags: NDArray[np.bool_], starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many flags are set in each range of rows."""
    before = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(before[stops] - before[starts])
