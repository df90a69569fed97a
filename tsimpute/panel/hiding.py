"""Hide observed cells of whole panels by the name of a pattern."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from tsimpute.errors import InputError
from tsimpute.panel.cells import BoolArray
from tsimpute.panel.gaps import outages
from tsimpute.panel.missingness import hide_blocks, hide_points

PATTERNS = ("mixed", "point", "block", "like-data", "last")
_LEAST_BLOCK = 2
_TRIES = 50  # for each outage that would be needed if it hit observed cells alone


def hide_cells(
    observed_masks: Sequence[BoolArray],
    pattern: str,
    fraction: float,
    max_steps: int,
    rng: np.random.Generator,
) -> list[BoolArray]:
    """Choose observed cells to hide in each series.

    Parameters
    ----------
    observed_masks : sequence of ndarray of bool, each of shape (n_times_i, K)
        True where a value is known.
    pattern : {"mixed", "point", "block", "like-data", "last"}
        Single cells; stretches of single features, 2 to `max_steps` rows long; half of either
        ("mixed"); gaps as the series themselves have them: as long, and of the same features
        at once, laid at random places; or the last rows of a series in every feature, 1 to
        `max_steps` - 1 of them, the rows that are empty anyway included.
    fraction : float
        Share of the observed cells to hide, within (0, 1): about, for blocks; for "last" at
        most, as there is one stretch a series (see `stretches_to_random_ends`).
    max_steps : int
        Rows of the longest block.
    rng : numpy.random.Generator

    Returns
    -------
    list of ndarray of bool, shapes of `observed_masks`
        True where a cell is hidden.

    Raises
    ------
    InputError
        If the fraction is out of range, or gaps like the data's are wanted and there are none.
    """
    if pattern == "like-data":
        return _hide_outages(observed_masks, fraction, rng)
    if pattern == "last":
        return _hide_last(observed_masks, fraction, max_steps - 1, rng)
    if pattern == "mixed":
        points = hide_cells(observed_masks, "point", fraction / 2, max_steps, rng)
        blocks = hide_cells(observed_masks, "block", fraction / 2, max_steps, rng)
        return [p | b for p, b in zip(points, blocks, strict=True)]
    if pattern == "block":
        longest = max(_LEAST_BLOCK, max_steps)
        return [hide_blocks(seen, fraction, _LEAST_BLOCK, longest, rng) for seen in observed_masks]
    return [hide_points(seen, fraction, rng) for seen in observed_masks]


def stretches_to_random_ends(
    lengths: Sequence[int], fraction: float, max_steps: int, rng: np.random.Generator
) -> list[tuple[int, slice]]:
    """Cut series at random rows, so that forecasts from there can be compared with what came.

    Parameters
    ----------
    lengths : sequence of int
        Rows of each series.
    fraction : float
        Share of the rows that "last" is then to hide.
    max_steps : int
        That it hides fewer rows than. Every stretch, but for the first of a series, is at least
        twice as long.
    rng : numpy.random.Generator

    Returns
    -------
    list of (int, slice)
        Series and rows of each stretch; no row is in two.
    """
    n_rows = max(2 * max_steps, round(max_steps / (2 * fraction)))
    places = []
    for i, length in enumerate(lengths):
        first = min(length, max_steps + int(rng.integers(n_rows)))
        ends = [0, *range(first, length + 1, n_rows)]
        places += [(i, slice(start, stop)) for start, stop in pairwise(ends)]
    return places


def _hide_last(
    observed_masks: Sequence[BoolArray], fraction: float, most: int, rng: np.random.Generator
) -> list[BoolArray]:
    """Hide the ends of series in random order, but of those that end in too many empty rows."""
    hidden = [np.zeros_like(seen) for seen in observed_masks]
    wanted = round(fraction * sum(int(seen.sum()) for seen in observed_masks))
    for i in rng.permutation(len(hidden)):
        seen = observed_masks[i]
        longest = min(most, len(seen) - 1)
        if wanted <= 0 or longest < 1:
            continue
        n_last = int(rng.integers(1, longest + 1))
        if seen[max(0, len(seen) - most - 1) : -n_last].any():
            hidden[i][-n_last:] = seen[-n_last:]
            wanted -= int(hidden[i].sum())
    return hidden


def _hide_outages(
    observed_masks: Sequence[BoolArray], fraction: float, rng: np.random.Generator
) -> list[BoolArray]:
    """Lay outages of the series at random places until enough observed cells are hidden."""
    found = [outages(seen) for seen in observed_masks]
    lengths = np.concatenate([n_rows for n_rows, _ in found])
    features = np.concatenate([together for _, together in found])
    if not len(lengths):
        raise InputError(
            "pattern='like-data' lays the gaps that the data have, and these data have none; "
            "pass pattern='point' or pattern='block'"
        )
    hidden = [np.zeros_like(seen) for seen in observed_masks]
    wanted = round(fraction * sum(int(seen.sum()) for seen in observed_masks))
    tries = _TRIES * (1 + wanted // max(1, int((lengths @ features).mean())))
    first_rows = np.cumsum([0, *(len(seen) for seen in observed_masks)])
    draws = rng.integers([len(lengths), first_rows[-1]], size=(tries, 2))
    for outage, row in draws.tolist():
        i = int(np.searchsorted(first_rows, row, side="right")) - 1
        stop = row - int(first_rows[i]) + 1 + int(rng.integers(lengths[outage]))
        rows = slice(max(0, stop - int(lengths[outage])), stop)  # over the drawn row, anywhere
        fresh = observed_masks[i][rows] & features[outage] & ~hidden[i][rows]
        fresh &= fresh.cumsum().reshape(fresh.shape) <= wanted
        hidden[i][rows] |= fresh
        wanted -= int(fresh.sum())
        if wanted <= 0:
            break
    return hidden
