"""What simple methods say of hidden cells, each within bounds on time, and a note where it matters.

All series are in scaled units: 0 and 1 are the mean and the standard deviation of the training
data, which stand in for features without any reading.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from tsimpute.errors import MissingExtraError
from tsimpute.evaluation.baselines import (
    carry_forward,
    kalman_smoother,
    last_value,
    linear_interpolation,
    seasonal,
)
from tsimpute.evaluation.cells import BoolArray, FloatArray

KALMAN_SECONDS = 60.0
KALMAN_ROWS = 500  # that one model is fitted to
KALMAN_ITERATIONS = 50
TABLE_ROWS = 20_000  # that IterativeImputer learns from


@dataclass(frozen=True)
class Task:
    """Series with hidden cells.

    Attributes
    ----------
    given : sequence of ndarray of float64, each of shape (n_times_i, K)
        Scaled, NaN where missing or hidden.
    target_masks : sequence of ndarray of bool, each of shape (n_times_i, K)
        True at the hidden cells.
    period : int, optional
        Rows in a season.
    seed : int
        Of the rows that a method learns from, where they are too many.
    past_only : bool
        Whether a hidden cell may be filled from its own row and earlier ones only.
    """

    given: Sequence[FloatArray]
    target_masks: Sequence[BoolArray]
    period: int | None = None
    seed: int = 0
    past_only: bool = False


@dataclass(frozen=True)
class Answer:
    """What a method says of the hidden cells, in order of series, rows and features.

    Attributes
    ----------
    mean : ndarray of float64, shape (n_hidden,), or None
        None: the method cannot be used; the note says why.
    sd : ndarray of float64, shape (n_hidden,), or None
        Standard deviations, where the method has any.
    note : str
        What should be known of the answer; may be empty.
    """

    mean: FloatArray | None
    sd: FloatArray | None = None
    note: str = ""


def ask(name: str, task: Task) -> Answer:
    """What a method of `RIVALS` says, unless it would have to look ahead and may not."""
    if task.past_only and name in LOOKS_AHEAD:
        return Answer(None, note="it looks ahead, and mode is 'online'")
    return RIVALS[name](task)


def _last(task: Task) -> Answer:
    if task.past_only:
        return Answer(_each_series(task, lambda values: _or_mean(carry_forward(values))))
    return Answer(_each_series(task, lambda values: last_value(values, empty=0.0)))


def _linear(task: Task) -> Answer:
    return Answer(_each_series(task, lambda values: linear_interpolation(values, empty=0.0)))


def _seasonal(task: Task) -> Answer:
    period = task.period
    if period is None:
        return Answer(None, note="no season is known: pass period, its length in rows")
    if all(len(values) < 2 * period for values in task.given):
        return Answer(None, note=f"no series is as long as two seasons of {period} rows")
    if task.past_only:
        found = _each_series(task, lambda values: _earlier_season(values, period))
    else:
        found = _each_series(task, lambda values: seasonal(values, period, empty=0.0))
    return Answer(found, note=f"with a season of {period} rows")


def _earlier_season(values: FloatArray, period: int) -> FloatArray:
    """The last reading of the same phase, where there is none the last value."""
    filled = values.copy()
    for phase in range(min(period, len(values))):
        filled[phase::period] = carry_forward(values[phase::period])
    return _or_mean(np.where(np.isnan(filled), carry_forward(values), filled))


def _or_mean(values: FloatArray) -> FloatArray:
    """The mean of the training data where nothing was read yet."""
    return np.where(np.isnan(values), 0.0, values)


def _kalman(task: Task) -> Answer:
    """A local linear trend for each feature of each piece of a series, until the time is up."""
    mean = [linear_interpolation(values, empty=0.0) for values in task.given]
    sd = [np.ones_like(values) for values in mean]
    pieces = list(_kalman_pieces(task))
    order = np.random.default_rng(task.seed).permutation(len(pieces))
    stop, n_fitted = perf_counter() + KALMAN_SECONDS, 0
    for place in order:
        if perf_counter() > stop:
            break
        i, rows, feature = pieces[place]
        column = task.given[i][rows, feature : feature + 1]
        try:
            found = kalman_smoother(column, maxiter=KALMAN_ITERATIONS, empty=(0.0, 1.0))
        except MissingExtraError as error:
            return Answer(None, note=str(error))
        mean[i][rows, feature], sd[i][rows, feature] = found.mean[:, 0], found.sd[:, 0]
        n_fitted += 1
    note = f"in pieces of {KALMAN_ROWS} rows" * any(len(v) > KALMAN_ROWS for v in task.given)
    if n_fitted < len(pieces):
        note = f"stopped after {KALMAN_SECONDS:g} s with {n_fitted} of {len(pieces)} models fitted"
        note += "; linear interpolation for the rest"
    masks = task.target_masks
    return Answer(_at_targets(mean, masks), _at_targets(sd, masks), note)


def _kalman_pieces(task: Task) -> Iterator[tuple[int, slice, int]]:
    """Series, rows and feature of all pieces with a hidden cell."""
    for i, target in enumerate(task.target_masks):
        for start in range(0, len(target), KALMAN_ROWS):
            rows = slice(start, min(start + KALMAN_ROWS, len(target)))
            yield from ((i, rows, int(k)) for k in np.flatnonzero(target[rows].any(axis=0)))


def _iterative(task: Task) -> Answer:
    """Each feature from the others at the same time, by rounds of Bayesian ridge regression."""
    table = np.concatenate(list(task.given))
    if table.shape[1] < 2:
        return Answer(None, note="it fills a feature from others, and there is one feature only")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401  (sklearn's own switch)
    from sklearn.impute import IterativeImputer

    learned = table[(~np.isnan(table)).any(axis=1)]
    note = ""
    if len(learned) > TABLE_ROWS:
        rng = np.random.default_rng(task.seed)
        learned = learned[rng.permutation(len(learned))[:TABLE_ROWS]]
        note = f"learned from {TABLE_ROWS} rows"
    target = np.concatenate(list(task.target_masks))
    rows = target.any(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = IterativeImputer(keep_empty_features=True, random_state=task.seed).fit(learned)
        filled = model.transform(table[rows])
    return Answer(np.asarray(filled[target[rows]], dtype=np.float64), note=note)


RIVALS: dict[str, Callable[[Task], Answer]] = {
    "last value": _last,
    "linear": _linear,
    "seasonal": _seasonal,
    "Kalman": _kalman,
    "IterativeImputer": _iterative,
}
# A straight line ends in a later reading; the others learn from later rows.
LOOKS_AHEAD = ("linear", "Kalman", "IterativeImputer")


def _each_series(task: Task, fill: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Fill the series that have hidden cells, and take what stands there."""
    return _at_targets(
        [
            fill(values) if target.any() else values
            for values, target in zip(task.given, task.target_masks, strict=True)
        ],
        task.target_masks,
    )


def _at_targets(filled: Sequence[FloatArray], masks: Sequence[BoolArray]) -> FloatArray:
    return np.concatenate([values[target] for values, target in zip(filled, masks, strict=True)])
