"""Filling holes: medians, samples, quantiles, and a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

from tsimpute.imputer.output import SetsOutput
from tsimpute.settings import checked_quantiles

if TYPE_CHECKING:
    import xarray as xr


class FillsHoles(SetsOutput):
    """Part of `EDDPMImputer`: its answers."""

    def transform(
        self,
        X: Any,
        *,
        method: str | None = None,
        sampler: str | None = None,
        variance: str | None = None,
    ) -> Any:
        """Fill the holes with the median.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            Any series with the columns of the fitted model; need not be those of `fit`.
        method, sampler, variance : str, optional
            Default: the imputer's own. With the method "head" neither of the other two can be
            named.

        Returns
        -------
        Same type as X
            Same index, columns and dtypes; observed cells bit for bit as they were. A nullable
            column of integers with a hole that is filled by no whole number becomes one of
            floats; `integers` prevents that. xarray data in chunks of dask, which must hold
            whole series, come back in the same chunks, filled as they are computed.

        Raises
        ------
        NotFittedError
            Before `fit`.
        InputError
            If the data do not fit the model; the message names the column or row.
        """
        from tsimpute.imputer.blocks import fill_by_block, is_chunked
        from tsimpute.sampling.answers import medians
        from tsimpute.sampling.choices import Choice

        if is_chunked(X):
            check_is_fitted(self)
            return fill_by_block(self, X, method=method, sampler=sampler, variance=variance)
        panel = self._read(X)
        choice = Choice(method=method, sampler=sampler, variance=variance)
        return self._in_chosen_output(panel.fill(medians(self, panel, choice)))

    def sample(
        self,
        X: Any,
        n_samples: int | None = None,
        *,
        random_state: Any = None,
        method: str | None = None,
        sampler: str | None = None,
        variance: str | None = None,
        marginals: str = "samples",
    ) -> xr.DataArray:
        """Draw whole series: coherent over time and features.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
        n_samples : int, optional
            Default: the imputer's own.
        random_state : int, RandomState or None, optional
            None: the seed of the fit, the same samples each time. What is drawn for a cell belongs
            to the seed, the place of its series in X and its row, whatever shares the batch: the
            same series at another place has other samples.
        method : {"samples"}, optional
            There is no other: the head describes each cell alone. The imputer's own `method` is
            not read here.
        sampler, variance : str, optional
            Default: the imputer's own.
        marginals : {"samples", "head"}, default="samples"
            "head" gives each cell the marginal head's distribution, its quantiles at the levels
            (i + 1/2) / n_samples, and keeps the ranks of the samples (ensemble copula coupling,
            Schefzik et al. 2013).

        Returns
        -------
        DataArray of float64, dims (sample, [series,] time, feature)
            Observed cells hold their value in every sample. Series of unequal length lie on
            the union of their times, NaN where a series has no such row.

        Raises
        ------
        NotFittedError, InputError
            As in `transform`; also if the method is "head".
        """
        from tsimpute.sampling.answers import samples
        from tsimpute.sampling.choices import Choice

        panel = self._read(X)
        choice = Choice(n_samples, random_state, method, sampler, variance)
        drawn = samples(self, panel, choice, marginals)
        return panel.label(drawn, "sample", list(range(len(drawn[0]))))

    def predict_quantiles(
        self,
        X: Any,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        *,
        n_samples: int | None = None,
        random_state: Any = None,
        method: str | None = None,
        sampler: str | None = None,
        variance: str | None = None,
        calibrated: bool = True,
    ) -> xr.DataArray:
        """Quantiles of every cell.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
        quantiles : sequence of float, default=(0.05, 0.5, 0.95)
            Levels in (0, 1), in any order.
        n_samples : int, optional
            Samples behind them; default: the imputer's own.
        random_state : int, RandomState or None, optional
            As in `sample`.
        method : {"samples", "head"}, optional
            "samples": of the samples, with linear interpolation; with a variance other than
            "fixed", of the mixture of the Gaussians in which they end. "head": from one
            evaluation of the marginal head, without samples; beyond its levels .005 and .995
            with Gaussian tails. Default: the imputer's own.
        sampler, variance : str, optional
            Default: the imputer's own; not with the head.
        calibrated : bool, default=True
            Calibrate the quantiles if the model has calibrations; each belongs to the method,
            sampler, variance and start that it was learned with. The median is never changed.

        Returns
        -------
        DataArray of float64, dims (quantile, [series,] time, feature)
            Observed cells hold their value at every level.

        Raises
        ------
        NotFittedError, InputError
            As in `transform`; also if a level lies outside (0, 1), or the model's calibrations
            are those of other methods, samplers, variances or starts.
        """
        from tsimpute.sampling import answers
        from tsimpute.sampling.choices import Choice

        levels = checked_quantiles(quantiles)
        panel = self._read(X)
        way = (method, sampler, variance, calibrated)
        choice = Choice(n_samples, random_state, *way)
        found = answers.quantiles(self, panel, choice, levels)
        return panel.label(found, "quantile", levels)

    def score(self, X: Any, y: Any = None, *, hidden_fraction: float = 0.1) -> float:
        """Minus the normalised CRPS on observed cells that are hidden for this: more is better.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
        y : None
            Ignored.
        hidden_fraction : float, default=0.1
            Share of the observed cells that is hidden, the same ones at each call: single
            cells, and the last rows of stretches that are cut at random with ``mode="forecast"``.

        Returns
        -------
        float
            In standardised units, so that features count alike. 19 quantile levels, divided by
            the mean absolute value (CSDI, Section 6.1). Calibrated if the model has a
            calibration of the imputer's present method, sampler, variance and start; `bounds`,
            `integers`, `order`, `max_gap` and `min_observed` are not read.

        Raises
        ------
        NotFittedError, InputError
            As in `transform`.
        """
        from tsimpute.assessment.exam import hidden_crps

        return -hidden_crps(self, self._read(X), hidden_fraction)
