"""Several completed data sets, for an analysis that is to know what was imputed."""

from __future__ import annotations

from typing import Any

from tsimpute.arguments import check_count
from tsimpute.imputer.base import FittedImputer


class ImputesRepeatedly(FittedImputer):
    """Part of `EDDPMImputer`: multiple imputation."""

    def multiple_impute(
        self,
        X: Any,
        m: int = 20,
        random_state: Any = None,
        *,
        method: str | None = None,
        sampler: str | None = None,
        variance: str | None = None,
        marginals: str = "samples",
    ) -> list[Any]:
        """Complete the data m times, each with another draw; see `tsimpute.pool`.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
        m : int, default=20
            Completed data sets.
        random_state : int, RandomState or None, default=None
            None: the seed of the fit, the same draws each time.
        method, sampler, variance, marginals : str, optional
            As in `sample`.

        Returns
        -------
        list of m containers of the type of X
            Each filled with one independent joint sample; observed cells bit for bit.

        Raises
        ------
        NotFittedError, InputError
            As in `sample`; also if `m` is no count.
        """
        from tsimpute.sampling.answers import samples
        from tsimpute.sampling.choices import Choice

        check_count("m", m)
        panel = self._read(X)
        choice = Choice(m, random_state, method, sampler, variance)
        drawn = samples(self, panel, choice, marginals)
        return [panel.fill([series[i] for series in drawn]) for i in range(m)]
