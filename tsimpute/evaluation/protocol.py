"""Hide, impute, score; and the two benchmark protocols of CSDI, to the last seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from tsimpute.errors import InputError
from tsimpute.evaluation.cells import FloatArray
from tsimpute.evaluation.metrics import score_samples
from tsimpute.evaluation.protocol_air_quality import (
    AQI_PATTERN_MONTHS,
    AQI_TEST_MONTHS,
    AQI_TRAINING_MONTHS,
    AirQualitySplit,
    aqi_split,
    aqi_windows,
)
from tsimpute.evaluation.protocol_healthcare import (
    HealthcareSplit,
    healthcare_scale,
    healthcare_split,
    healthcare_targets,
)

__all__ = [
    "AQI_PATTERN_MONTHS",
    "AQI_TEST_MONTHS",
    "AQI_TRAINING_MONTHS",
    "AirQualitySplit",
    "HealthcareSplit",
    "aqi_split",
    "aqi_windows",
    "healthcare_scale",
    "healthcare_split",
    "healthcare_targets",
    "hide_impute_score",
]


def hide_impute_score(
    impute: Callable[[FloatArray], ArrayLike], values: ArrayLike, target_mask: ArrayLike
) -> dict[str, float]:
    """Hide the target cells, have them imputed, and score the samples on them.

    Parameters
    ----------
    impute : callable
        Takes the values with NaN at every hole, (...), and returns samples, (S, ...).
    values : array_like of float, shape (...)
        The data; NaN where nothing was observed.
    target_mask : array_like of bool, shape (...)
        True at the observed cells to hide and to score.

    Returns
    -------
    dict of str to float
        The scores of `metrics.score_samples`.

    Raises
    ------
    InputError
        If the target is empty, a target cell is unobserved or left NaN by ``impute``, or the
        samples have another shape.
    """
    truth, target = np.asarray(values, dtype=np.float64), np.asarray(target_mask)
    if target.shape != truth.shape:
        raise InputError(f"target_mask: got shape {target.shape}, expected {truth.shape}")
    return score_samples(impute(np.where(target, np.nan, truth)), truth, target)
