"""Where a fitted imputer's answers come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

from tsimpute.imputer.base import FittedImputer

if TYPE_CHECKING:
    import pandas as pd


class ExplainsCells(FittedImputer):
    """Part of `EDDPMImputer`: provenance."""

    @property
    def model_id_(self) -> str:
        """12 hexadecimal digits that stand for this model's answers.

        From a SHA-256 of the weights, all that was learned besides, and the parameters but
        `device` and `verbose`: saving and loading keep it, anything that could change an answer
        changes it.
        """
        from tsimpute.sampling.identity import model_id

        check_is_fitted(self)
        return model_id(self)

    def explain_cells(
        self,
        X: Any,
        *,
        missing_only: bool = False,
        n_samples: int | None = None,
        random_state: Any = None,
        method: str | None = None,
        sampler: str | None = None,
        variance: str | None = None,
        calibrated: bool = True,
    ) -> pd.DataFrame:
        """Say of each cell whether it was observed, imputed or refused, and why.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
        missing_only : bool, default=False
            Leave the observed cells out.
        n_samples, random_state, method, sampler, variance, calibrated : optional
            As in `predict_quantiles`; with none of them `value` is what `transform` fills in.

        Returns
        -------
        DataFrame, one row a cell, by series, time and feature
            `series` (where there are several), `time` and `feature`, the labels of X or
            numbers; `value`, the median, NaN if refused; `status`: "observed", "imputed" or
            "refused"; `reason`: for refused cells "gap too long" (`max_gap`), "too little
            observed" or "nothing observed near" (`min_observed`), for imputed ones a warning,
            "median outside the training range" or "interval reaches outside the training
            range", else empty; `distance`, rows to the nearest observed cell of the feature, NA
            if there is none; `gap`, rows of the gap, 0 if observed; with ``mode="online"`` both
            count from the past alone: to the last reading, and the rows since it; `width_90`,
            width of the 90 % interval; `model_id`, see `model_id_`; `seed`, behind the samples.

        Raises
        ------
        NotFittedError, InputError
            As in `transform`; if the model's calibration is that of another method, sampler,
            variance or start.
        """
        from tsimpute.sampling.choices import Choice
        from tsimpute.sampling.provenance import explained

        panel = self._read(X)
        choice = Choice(n_samples, random_state, method, sampler, variance, calibrated)
        return explained(self, panel, choice, self.model_id_, missing_only)
