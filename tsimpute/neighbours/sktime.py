"""The imputer as a transformer of sktime (extra ``sktime``)."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from sklearn.base import clone
from sktime.transformations.base import BaseTransformer

from tsimpute.imputer import EDDPMImputer

# The smallest useful model, for sktime's own checks of an estimator.
SMALL: dict[str, Any] = {
    "window_steps": 6,
    "kept_steps": 2,
    "n_samples": 2,
    "epochs": 1,
    "diffusion_steps": 4,
    "channels": 4,
    "layers": 1,
    "heads": 1,
    "variance": "fixed",
    "random_state": 0,
    "verbose": 0,
    "device": "cpu",
}


class SktimeImputer(BaseTransformer):  # type: ignore[misc]
    """Fills holes in sktime's pipelines: one series or a panel of them, of any length.

    Parameters
    ----------
    imputer : EDDPMImputer, default=None
        Settings; it is cloned, not changed. None: an imputer with its defaults.

    Attributes
    ----------
    imputer_ : EDDPMImputer
        Fitted.

    Examples
    --------
    >>> from sktime.forecasting.naive import NaiveForecaster  # doctest: +SKIP
    >>> pipeline = SktimeImputer(EDDPMImputer(random_state=0)) * NaiveForecaster()  # doctest: +SKIP
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": "The tsimpute developers",
        "maintainers": "The tsimpute developers",
        "scitype:transform-input": "Series",
        "scitype:transform-output": "Series",
        "scitype:instancewise": False,
        "X_inner_mtype": ["pd.DataFrame", "pd-multiindex"],
        "y_inner_mtype": "None",
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:missing_values": True,
        "capability:missing_values:removes": True,
        "capability:categorical_in_X": False,
        "fit_is_empty": False,
        "transform-returns-same-time-index": True,
        "skip-inverse-transform": True,
    }

    def __init__(self, imputer: EDDPMImputer | None = None) -> None:
        self.imputer = imputer
        super().__init__()

    def _fit(self, X: pd.DataFrame, y: Any = None) -> SktimeImputer:
        template = EDDPMImputer() if self.imputer is None else self.imputer
        self.imputer_ = clone(template).fit(X)
        return self

    def _transform(self, X: pd.DataFrame, y: Any = None) -> pd.DataFrame:
        filled: pd.DataFrame = self.imputer_.transform(X)
        return filled

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Settings of the estimators that sktime's checks are run on.

        Parameters
        ----------
        parameter_set : str, default="default"
            There are no others.

        Returns
        -------
        list of dict
        """
        return [{"imputer": EDDPMImputer(**SMALL, anchor=name)} for name in ("linear", "none")]
