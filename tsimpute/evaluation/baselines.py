"""Classical imputations to compare with: simple fills and a Kalman smoother.

Each takes one series ``values`` (L, K), L equally spaced times and K features, NaN where a reading
is missing, and gives back a new float64 array in the same units without NaN.  Readings are never
changed.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tsimpute.errors import InputError, MissingExtraError
from tsimpute.evaluation.cells import FloatArray

_MIN_READINGS = 10
# Of the first state, for readings of variance 1. The usual 1e6 leaves the smoothed variances of
# the first rows to rounding, where a fitted variance is near 0.
_FIRST_VARIANCE = 100.0
_LONGEST_DUMMY_PERIOD = 24  # longer seasons would need a state of `period - 1` numbers


@dataclass(frozen=True)
class KalmanResult:
    """What `kalman_smoother` gives.

    Attributes
    ----------
    mean, sd : ndarray of float64, shape (L, K)
        Mean and standard deviation of the reading given all others, in the data's unit; at the
        observed cells the reading itself and 0.
    fallback : tuple of int
        Positions of the features that no model was fitted to: linear interpolation instead, with
        the standard deviation of the feature's readings.
    not_converged : tuple of int
        Positions of the features whose likelihood had not converged; their results are kept.
    """

    mean: FloatArray
    sd: FloatArray
    fallback: tuple[int, ...]
    not_converged: tuple[int, ...]


def last_value(values: ArrayLike, empty: ArrayLike | None = None) -> FloatArray:
    """Carry the last reading forward; holes before the first one take the next reading.

    Parameters
    ----------
    values : array_like of float, shape (L, K)
        One series; NaN where a reading is missing.
    empty : array_like of float, shape () or (K,), optional
        What to put into features without any reading, for example training medians.

    Returns
    -------
    ndarray of float64, shape (L, K)

    Raises
    ------
    InputError
        If the array is not two-dimensional, holds infinity, or a feature has no reading and
        ``empty`` is not given.
    """
    return _fill_both_ways(_series(values, empty))


def carry_forward(series: FloatArray) -> FloatArray:
    """Repeat the last reading: series (L, K), NaN where there is none yet."""
    rows = np.arange(len(series))[:, None]
    source = np.maximum.accumulate(np.where(np.isnan(series), 0, rows), axis=0)
    return np.asarray(np.take_along_axis(series, source, axis=0))


def linear_interpolation(values: ArrayLike, empty: ArrayLike | None = None) -> FloatArray:
    """Draw straight lines between readings; the first and last reading are held to the ends.

    Parameters, result and errors are those of `last_value`.
    """
    return _fill_linear(_series(values, empty))


def feature_median(values: ArrayLike, train_median: ArrayLike | None = None) -> FloatArray:
    """Put one number for each feature into its holes.

    Parameters
    ----------
    values : array_like of float, shape (L, K)
        One series; NaN where a reading is missing.
    train_median : array_like of float, shape () or (K,), optional
        The numbers, as a rule the medians of the training readings; without them, the medians of
        this series' own readings.

    Returns
    -------
    ndarray of float64, shape (L, K)

    Raises
    ------
    InputError
        As `last_value`, if a feature has no reading and ``train_median`` is not given.
    """
    series = _series(values, train_median)
    middle = np.nanmedian(series, axis=0) if train_median is None else _each(train_median, series)
    return np.where(np.isnan(series), middle, series)


def seasonal(values: ArrayLike, period: int, empty: ArrayLike | None = None) -> FloatArray:
    """Repeat the reading of the same phase, from the last period that has one.

    Where no earlier period has one, the next later one is taken; where none has, the hole is
    interpolated linearly (after the others were filled).

    Parameters
    ----------
    values : array_like of float, shape (L, K)
        One series; NaN where a reading is missing.
    period : int
        Steps in a season, at least 1.
    empty : array_like of float, shape () or (K,), optional
        What to put into features without any reading.

    Returns
    -------
    ndarray of float64, shape (L, K)

    Raises
    ------
    InputError
        As `last_value`, and if the period is not a positive integer.
    """
    _check_period(period, smallest=1)
    series = _series(values, empty)
    for phase in range(min(period, len(series))):
        series[phase::period] = _fill_both_ways(series[phase::period])
    return _fill_linear(series)


def kalman_smoother(
    values: ArrayLike,
    seasonal_period: int | None = None,
    *,
    harmonics: int = 2,
    maxiter: int = 200,
    empty: tuple[ArrayLike, ArrayLike] | None = None,
) -> KalmanResult:
    """Smooth each feature by a local linear trend, with a season if asked, fitted to it.

    A structural model with maximum-likelihood variances (Harvey 1989; Durbin and Koopman 2012),
    by ``statsmodels.tsa.statespace.structural.UnobservedComponents``.  A feature with fewer than
    10 readings, with constant readings, or whose fit fails, falls back to linear interpolation and
    is listed in ``fallback``.  L-BFGS searches, and where it does not converge Nelder and Mead's
    simplex goes on.

    Parameters
    ----------
    values : array_like of float, shape (L, K)
        One series; NaN where a reading is missing.
    seasonal_period : int, optional
        Steps in a season, at least 2.  Up to 24 each phase has its own effect; a longer season is
        a sum of sines.
    harmonics : int, default 2
        Sines in a long season.
    maxiter : int, default 200
        Largest number of iterations of each of the two optimisers for a feature.
    empty : tuple of two array_like, each shape () or (K,), optional
        Mean and standard deviation to put into features without any reading.

    Returns
    -------
    KalmanResult

    Raises
    ------
    InputError
        As `last_value`, and if the period or the harmonics cannot be used.
    MissingExtraError
        If statsmodels is not installed.
    """
    components = _components(seasonal_period, harmonics)
    series = _series(values, None if empty is None else empty[0])
    holes = np.isnan(np.asarray(values, dtype=np.float64))
    mean, sd = _fill_linear(series), np.where(holes, series.std(axis=0, where=~np.isnan(series)), 0)
    if empty is not None:
        sd = np.where(holes.all(axis=0), _each(empty[1], series), sd)
    fallback, not_converged = [], []
    for feature in np.flatnonzero(holes.any(axis=0)).tolist():
        fitted = None if holes[:, feature].all() else _fit(series[:, feature], components, maxiter)
        if fitted is None:
            fallback.append(feature)
            continue
        gap = holes[:, feature]
        mean[gap, feature], sd[gap, feature] = fitted[0][gap], fitted[1][gap]
        not_converged += [] if fitted[2] else [feature]
    return KalmanResult(mean, sd, tuple(fallback), tuple(not_converged))


def _components(seasonal_period: int | None, harmonics: int) -> dict[str, Any]:
    """Keyword arguments of the structural model."""
    if seasonal_period is None:
        return {}
    _check_period(seasonal_period, smallest=2)
    if seasonal_period <= _LONGEST_DUMMY_PERIOD:
        return {"seasonal": seasonal_period}
    if not 1 <= harmonics <= seasonal_period // 2:
        raise InputError(
            f"harmonics: got {harmonics}, expected 1 to {seasonal_period // 2}, half the period"
        )
    return {"freq_seasonal": [{"period": seasonal_period, "harmonics": harmonics}]}


def _fit(
    readings: FloatArray, components: dict[str, Any], maxiter: int
) -> tuple[FloatArray, FloatArray, bool] | None:
    """Mean, sd (L,) and convergence of one feature; None if no model can be had."""
    centre, spread = np.nanmean(readings), np.nanstd(readings)
    if np.isfinite(readings).sum() < _MIN_READINGS or spread == 0:
        return None
    model = _model((readings - centre) / spread, components)
    with warnings.catch_warnings():  # convergence is reported in the result instead
        warnings.simplefilter("ignore")  # after statsmodels is there, which sets filters of its own
        try:
            result = model.fit(disp=False, maxiter=maxiter)
            if not result.mle_retvals["converged"]:  # a line search can fail at the very optimum
                go_on = {"start_params": result.params, "method": "nm"}
                result = model.fit(disp=False, maxiter=maxiter, **go_on)
            mean, sd = _smoothed_readings(model, result.params)
        except np.linalg.LinAlgError:
            return None
    if not (np.isfinite(mean).all() and np.isfinite(sd).all()):
        return None
    return centre + spread * mean, spread * sd, bool(result.mle_retvals["converged"])


def _model(readings: FloatArray, components: dict[str, Any]) -> Any:
    try:
        from statsmodels.tsa.statespace.structural import UnobservedComponents
    except ImportError as error:
        raise MissingExtraError(
            "kalman_smoother needs statsmodels, which is not installed; "
            "run: pip install 'tsimpute[baselines]'"
        ) from error
    model = UnobservedComponents(readings, "local linear trend", **components)
    model.ssm.initialize_approximate_diffuse(_FIRST_VARIANCE)
    return model


def _smoothed_readings(model: Any, parameters: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Mean and sd (L,) of a new reading at each time, given all readings and the parameters."""
    result = model.smooth(parameters)
    design = model.ssm["design"].reshape(model.k_states)
    mean = design @ result.smoothed_state
    variance = np.einsum("i,ijt,j->t", design, result.smoothed_state_cov, design)
    return mean, np.sqrt(np.maximum(variance, 0) + model.ssm["obs_cov"].item())


def _series(values: ArrayLike, empty: ArrayLike | None) -> FloatArray:
    """Copy a series as float64, with the features that have no reading filled by ``empty``."""
    series = np.array(values, dtype=np.float64)
    if series.ndim != 2 or 0 in series.shape:
        raise InputError(f"values: got shape {series.shape}, expected (L, K); pass one series")
    if np.isinf(series).any():
        row, column = np.argwhere(np.isinf(series))[0]
        raise InputError(
            f"values: got infinity at row {row}, feature {column}, expected numbers or NaN"
        )
    without = np.isnan(series).all(axis=0)
    if without.any() and empty is None:
        raise InputError(
            f"values: got no reading of the features at {np.flatnonzero(without).tolist()}, "
            "expected at least one; leave them out or say what to put there (`empty`; "
            "`train_median` in feature_median)"
        )
    if empty is not None:
        series[:, without] = _each(empty, series)[without]
    return series


def _each(numbers: ArrayLike, series: FloatArray) -> FloatArray:
    """One number for each feature."""
    array = np.asarray(numbers, dtype=np.float64)
    if array.ndim and array.shape != series.shape[1:]:
        raise InputError(
            f"empty, train_median: got shape {array.shape}, expected one number or "
            f"{series.shape[1:]}, one for each feature"
        )
    return np.broadcast_to(array, series.shape[1:])


def _check_period(period: int, smallest: int) -> None:
    if int(period) != period or period < smallest:
        raise InputError(f"period: got {period}, expected a whole number from {smallest} upwards")


def _fill_both_ways(series: FloatArray) -> FloatArray:
    return carry_forward(carry_forward(series)[::-1])[::-1].copy()


def _fill_linear(series: FloatArray) -> FloatArray:
    filled, times = series.copy(), np.arange(len(series))
    for column in filled.T:
        known = ~np.isnan(column)
        column[~known] = np.interp(times[~known], times[known], column[known])
    return filled
