"""Walk over the target cells block by block, checking them on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsimpute.errors import InputError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
CellIndex = tuple[Any, ...]  # one array of positions for each axis

_BLOCK_NUMBERS = 2_000_000  # float64 values in one block: 16 MB


def cell_blocks(flat: NDArray[np.intp], n_rows: int, shape: tuple[int, ...]) -> Iterator[CellIndex]:
    """Cut flat cell numbers into blocks of at most 16 MB of (n_rows, cells) float64 numbers."""
    step = max(1, _BLOCK_NUMBERS // max(1, n_rows))
    if not shape:  # a single number: indexing by newaxis makes its cell axis
        yield from [(np.newaxis,)] * flat.size
        return
    for start in range(0, flat.size, step):
        yield np.unravel_index(flat[start : start + step], shape)


def target_blocks(
    stacked: NDArray[Any], truth: ArrayLike, target_mask: ArrayLike, name: str
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield ((rows, cells), (cells,)) float64 blocks of a (rows, ...) array and of the truth."""
    values, mask = checked_target(truth, target_mask)
    if stacked.ndim == 0 or stacked.shape[1:] != values.shape or stacked.shape[0] == 0:
        raise InputError(
            f"{name}: got shape {stacked.shape}, expected (at least 1, *{values.shape}), the last "
            "axes those of the truth; put the samples or levels on the first axis"
        )
    for cells in cell_blocks(np.flatnonzero(mask), stacked.shape[0], values.shape):
        rows = stacked[:, *cells].astype(np.float64, copy=False)
        if not np.isfinite(rows).all():
            row, cell = np.argwhere(~np.isfinite(rows))[0]
            raise InputError(
                f"{name}: got {rows[row, cell]} at row {row}, target cell "
                f"{_position(cells, cell)}, expected a number; impute every target cell"
            )
        yield rows, finite_truth(values, cells)


def sorted_sample_blocks(
    samples: ArrayLike, truth: ArrayLike, target_mask: ArrayLike
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield the blocks of `target_blocks` with the samples of every cell in ascending order."""
    for rows, values in target_blocks(np.asarray(samples), truth, target_mask, "samples"):
        yield np.sort(rows, axis=0), values


def checked_target(truth: ArrayLike, target_mask: ArrayLike) -> tuple[NDArray[Any], BoolArray]:
    """Return truth and target as arrays after checking shape, dtype and that a cell is scored."""
    values, mask = np.asarray(truth), np.asarray(target_mask)
    if mask.dtype != np.bool_:
        raise InputError(
            f"target_mask: got dtype {mask.dtype}, expected bool; pass target_mask.astype(bool)"
        )
    if mask.shape != values.shape:
        raise InputError(
            f"target_mask: got shape {mask.shape}, expected the truth's {values.shape}; "
            "build the mask from the truth"
        )
    if not mask.any():
        raise InputError(
            "target_mask: got no True cell, expected at least one; hide some observed cells first"
        )
    return values, mask


def finite_truth(values: NDArray[Any], cells: CellIndex) -> FloatArray:
    """Read the truth at some target cells; NaN or infinity there is an error."""
    block = values[cells].astype(np.float64, copy=False)
    if not np.isfinite(block).all():
        cell = int(np.flatnonzero(~np.isfinite(block))[0])
        raise InputError(
            f"truth: got {block[cell]} at target cell {_position(cells, cell)}, expected a number; "
            "take only observed cells as target"
        )
    return block


def sorted_median(ordered: NDArray[Any]) -> NDArray[Any]:
    """Lower median of samples (S, cells) in ascending order."""
    return np.asarray(ordered[(ordered.shape[0] - 1) // 2])


def sorted_quantiles(ordered: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Quantiles (levels, cells) of ascending samples (S, cells), linear between neighbours."""
    place = np.asarray(levels, dtype=np.float64) * (ordered.shape[0] - 1)
    below = np.floor(place).astype(np.intp)
    above = np.minimum(below + 1, ordered.shape[0] - 1)
    share = (place - below)[:, None]
    return np.asarray(ordered[below] + share * (ordered[above] - ordered[below]))


def checked_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Return probability levels as floats after checking that each is inside (0, 1)."""
    checked = tuple(float(level) for level in levels)
    if not checked or not all(0 < level < 1 for level in checked):
        raise InputError(
            f"levels: got {checked}, expected one or more numbers inside (0, 1); write 90 % as 0.9"
        )
    return checked


def _position(cells: CellIndex, number: int) -> tuple[int, ...]:
    return tuple(int(axis[number]) for axis in cells if axis is not None)
