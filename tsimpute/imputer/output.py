"""What `transform` gives where scikit-learn was told to have tables."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn import get_config
from sklearn.base import TransformerMixin

from tsimpute.errors import InputError, MissingExtraError
from tsimpute.imputer.base import FittedImputer

OUTPUTS = ("default", "pandas", "polars")


class SetsOutput(TransformerMixin, FittedImputer):  # type: ignore[misc]
    """Part of `EDDPMImputer`: scikit-learn's `set_output`.

    scikit-learn's own would put the names of the fit over the columns of X, whatever their order,
    and cannot wrap what is no table.
    """

    _sklearn_output_config: dict[str, str]  # by this name `clone` takes it along

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(auto_wrap_output_keys=None, **options)

    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose what `transform` and `fit_transform` make of a table.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            "pandas": a DataFrame comes back as the user's, with its own order, labels and index,
            and a 2-D array as a DataFrame with the columns of `get_feature_names_out`. "polars":
            either as a polars DataFrame of float64, which has no index. 3-D arrays and xarray
            data come back as they came. None changes nothing; without a choice
            ``sklearn.set_config(transform_output=...)`` counts.

        Returns
        -------
        EDDPMImputer
            Itself.

        Raises
        ------
        InputError
            If the choice is unknown.
        """
        if transform is not None:
            check_output(transform)
            self._sklearn_output_config = {"transform": transform}
        return self

    def _in_chosen_output(self, filled: Any) -> Any:
        """The user's own container, or a table of the chosen kind."""
        own = getattr(self, "_sklearn_output_config", {})
        chosen = check_output(own.get("transform", get_config()["transform_output"]))
        is_frame = isinstance(filled, pd.DataFrame)
        is_table = is_frame or (isinstance(filled, np.ndarray) and filled.ndim == 2)
        if chosen == "default" or not is_table or (is_frame and chosen == "pandas"):
            return filled
        names = filled.columns if is_frame else self.get_feature_names_out()
        return pd.DataFrame(filled, columns=names) if chosen == "pandas" else _polars(filled, names)


def check_output(chosen: str) -> str:
    """The choice itself; raises InputError if it is unknown."""
    if chosen not in OUTPUTS:
        raise InputError(
            f"transform={chosen!r} is unknown; expected one of {', '.join(map(repr, OUTPUTS))}"
        )
    return chosen


def _polars(table: Any, names: Any) -> Any:
    try:
        import polars
    except ImportError as error:
        raise MissingExtraError(
            "transform_output='polars' needs polars, which is not installed; install it, or call "
            "set_output(transform='pandas')"
        ) from error
    columns = pd.DataFrame(table).to_numpy(dtype=np.float64, na_value=np.nan).T
    return polars.DataFrame(dict(zip(map(str, names), columns, strict=True)))
