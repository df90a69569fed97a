"""Estimates from several completed data sets as one, by Rubin's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from tsimpute.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PooledEstimate:
    """What `pool` finds; every array has the shape of one estimate.

    Attributes
    ----------
    estimate : ndarray of float64
        Mean over the completed data sets.
    within : ndarray of float64
        Mean of the variances: what would be left if nothing were missing.
    between : ndarray of float64
        Variance of the estimates over the data sets, with m - 1.
    total : ndarray of float64
        Variance of the pooled estimate, within + (1 + 1/m) between.
    dof : ndarray of float64
        Degrees of freedom of its t distribution; infinite where nothing differs.
    fmi : ndarray of float64
        Fraction of missing information.
    lower, upper : ndarray of float64
        Ends of the confidence interval.
    m : int
        Number of completed data sets.
    """

    estimate: FloatArray
    within: FloatArray
    between: FloatArray
    total: FloatArray
    dof: FloatArray
    fmi: FloatArray
    lower: FloatArray
    upper: FloatArray
    m: int

    @property
    def standard_error(self) -> FloatArray:
        """Square root of `total`."""
        return np.sqrt(self.total)

    def to_frame(self, index: Any = None) -> pd.DataFrame:
        """One row an estimate, in the order of the flattened arrays.

        Parameters
        ----------
        index : sequence, optional
            Row labels; default: 0, 1, ….

        Returns
        -------
        DataFrame
        """
        import pandas as pd

        names = (
            "estimate",
            "standard_error",
            "lower",
            "upper",
            "within",
            "between",
            "total",
            "dof",
            "fmi",
        )
        columns = {name: np.ravel(getattr(self, name)) for name in names}
        return pd.DataFrame(columns, index=index)


def pool(
    estimates: Sequence[Any] | ArrayLike,
    variances: Sequence[Any] | ArrayLike | None = None,
    *,
    dof_complete: ArrayLike | None = None,
    confidence: float = 0.95,
) -> PooledEstimate:
    """Pool the same estimate from m completed data sets by Rubin's rules.

    Parameters
    ----------
    estimates : array_like of float, shape (m, ...)
        One estimate a data set, for example from each of `EDDPMImputer.multiple_impute`: numbers,
        arrays or Series of coefficients, all of one shape; at least two.
    variances : array_like of float, same shape, optional
        Their squared standard errors. None: no sampling error, so that only what the imputation
        leaves open counts.
    dof_complete : array_like of float, optional
        Degrees of freedom that the complete data would have, for example n - 1 of a mean. With
        it, those of the small-sample correction (Barnard and Rubin 1999); None: large samples.
    confidence : float, default=0.95
        Level of the interval, in (0, 1).

    Returns
    -------
    PooledEstimate
        Mean, variances, degrees of freedom, fraction of missing information and interval.

    Raises
    ------
    InputError
        If there are fewer than two estimates, the shapes differ, a number is not finite, a
        variance is negative, or a level is out of range.

    Notes
    -----
    Rubin (1987), equations 3.1.2 to 3.1.10. With W within, B between and T total, and
    r = (1 + 1/m) B / W: nu = (m - 1) (1 + 1/r)², and the fraction of missing information is
    (r + 2 / (nu + 3)) / (r + 1), from this nu also where `dof_complete` is given.

    Examples
    --------
    >>> from tsimpute import pool
    >>> found = pool([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    >>> float(found.estimate), round(float(found.total), 3), round(float(found.dof), 3)
    (2.0, 2.333, 6.125)
    """
    values, spreads = _checked(estimates, variances)
    if dof_complete is not None and variances is None:
        raise InputError("dof_complete is given without variances; give their squared errors too")
    if not 0 < confidence < 1:
        raise InputError(f"confidence={confidence!r} cannot be used; expected a level in (0, 1)")
    m = len(values)
    within, between = spreads.mean(axis=0), values.var(axis=0, ddof=1)
    extra = (1 + 1 / m) * between
    total = within + extra
    share = np.divide(extra, total, out=np.zeros_like(total), where=total > 0)  # r / (1 + r)
    with np.errstate(divide="ignore"):
        large = (m - 1) / share**2
    dof = large if dof_complete is None else _small_sample(large, share, dof_complete)
    estimate = values.mean(axis=0)
    reach = stdtrit(dof, (1 + confidence) / 2) * np.sqrt(total)
    return PooledEstimate(
        estimate,
        within,
        between,
        total,
        dof,
        fmi=share + (1 - share) * 2 / (large + 3),
        lower=estimate - reach,
        upper=estimate + reach,
        m=m,
    )


def _small_sample(large: FloatArray, share: FloatArray, dof_complete: ArrayLike) -> FloatArray:
    """Barnard and Rubin's degrees of freedom, never more than those of the complete data."""
    complete = np.asarray(dof_complete, dtype=np.float64)
    if not (complete > 0).all():
        raise InputError(f"dof_complete={dof_complete!r} cannot be used; expected more than 0")
    seen = np.where(np.isinf(complete), np.inf, (complete + 1) / (complete + 3) * complete)
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = np.where(np.isinf(seen), np.inf, seen * (1 - share))
        return np.asarray(1 / (1 / large + 1 / seen))


def _checked(estimates: Any, variances: Any) -> tuple[FloatArray, FloatArray]:
    values = _stacked(estimates, "estimates")
    if len(values) < 2:
        raise InputError(
            f"estimates: got {len(values)}, expected at least 2: one from each completed data set"
        )
    if variances is None:
        return values, np.zeros_like(values)
    spreads = _stacked(variances, "variances")
    if spreads.shape != values.shape:
        raise InputError(
            f"variances: got shape {spreads.shape}, expected that of the estimates, {values.shape}"
        )
    if (spreads < 0).any():
        raise InputError("variances: got a negative number; expected squared standard errors")
    return values, spreads


def _stacked(numbers: Any, name: str) -> FloatArray:
    try:
        stacked = np.asarray([np.asarray(one, dtype=np.float64) for one in numbers])
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected numbers of one shape a data set; {error}") from error
    if not np.isfinite(stacked).all():
        raise InputError(f"{name}: got a number that is not finite; drop or repair it")
    return stacked
