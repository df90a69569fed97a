"""Where each cell of an answer comes from: read, imputed or refused, and how sure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tsimpute.panel.core import Panel
from tsimpute.panel.gaps import NOWHERE, distance_to_observed, gap_lengths
from tsimpute.panel.scaling import FeatureScaler
from tsimpute.sampling.answers import bands
from tsimpute.sampling.choices import Choice, Fitted, mode_for, seed_for
from tsimpute.sampling.finishing import finish_for

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]

INTERVAL = (0.05, 0.95)
STATUS = ("observed", "imputed", "refused")
MEDIAN_OUTSIDE = "median outside the training range"
INTERVAL_OUTSIDE = "interval reaches outside the training range"
_SLACK = 1e-9  # of the training range's ends, in scaled units, for rounding


def explained(
    imputer: Fitted, panel: Panel, choice: Choice, model_id: str, missing_only: bool
) -> pd.DataFrame:
    """One row a cell, or a missing cell; see `EDDPMImputer.explain_cells`."""
    import pandas as pd

    past_only = mode_for(imputer, choice) == "online"
    reasons = finish_for(imputer, panel).reasons
    found = bands(imputer, panel, choice, INTERVAL)
    parts = []
    for i, values in enumerate(panel.values):
        refused = np.full(values.shape, "", dtype=object) if reasons is None else reasons[i]
        cells = _cells(values, found[i], refused, imputer.model_.scaler, past_only)
        labels = _labels(panel, i)
        kept = np.isnan(_flat(panel, values)) | (not missing_only)
        flat = {name: _flat(panel, column) for name, column in cells.items()}
        parts.append({name: column[kept] for name, column in (labels | flat).items()})
    frame = pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
    frame["status"] = pd.Categorical(frame["status"], categories=list(STATUS))
    frame["distance"] = frame["distance"].astype("Int64").mask(frame["distance"] == NOWHERE)
    frame["model_id"] = pd.Categorical([model_id] * len(frame))
    return frame.assign(seed=seed_for(imputer, choice))


def _cells(
    values: FloatArray,
    found: FloatArray,
    refused: NDArray[np.object_],
    scaler: FeatureScaler,
    past_only: bool,
) -> Columns:
    """Columns (L, K) of one series, from its values, (median, low, high) and refusals."""
    observed = ~np.isnan(values)
    imputed = ~observed & (refused == "")
    status = np.where(observed, "observed", np.where(imputed, "imputed", "refused"))
    reason = np.where(imputed, _outside(found, scaler), refused)
    return {
        "value": found[0],
        "status": status,
        "reason": reason,
        "distance": distance_to_observed(observed, past_only),
        "gap": gap_lengths(observed, past_only),
        "width_90": found[2] - found[1],
    }


def _outside(found: FloatArray, scaler: FeatureScaler) -> NDArray[np.object_]:
    """Whether the median or the interval leaves what was seen in training, as text (L, K)."""
    low, high = scaler.inverse(scaler.low - _SLACK), scaler.inverse(scaler.high + _SLACK)
    outside = (found < low) | (found > high)
    text = np.where(outside.any(axis=0), INTERVAL_OUTSIDE, "").astype(object)
    return np.where(outside[0], MEDIAN_OUTSIDE, text).astype(object)


def _labels(panel: Panel, i: int) -> dict[str, Any]:
    """Series, time and feature of each cell of a series, row by row."""
    times, k = panel.times[i], panel.n_features
    features = [label for label, _ in panel.features_in_user_order()]
    labels: dict[str, Any] = {"time": times.repeat(k), "feature": features * len(times)}
    if panel.series_ids is not None:
        labels = {"series": [panel.series_ids[i]] * (k * len(times))} | labels
    return {name: _objects(column) for name, column in labels.items()}


def _objects(column: Any) -> Any:
    """A list as an array that can be indexed, of labels as they are; an index as it is."""
    return np.fromiter(column, dtype=object) if isinstance(column, list) else column


def _flat(panel: Panel, array: NDArray[Any]) -> NDArray[Any]:
    """Cells row by row, in the user's order of columns."""
    order = [place for _, place in panel.features_in_user_order()]
    return array[:, order].ravel()
