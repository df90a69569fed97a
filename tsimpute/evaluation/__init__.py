"""Hide, impute, score: metrics, benchmark protocols and classical baselines."""

from __future__ import annotations

from tsimpute.evaluation.joint import (
    contrast_crps,
    energy_score,
    gap_contrasts,
    variogram_score,
)
from tsimpute.evaluation.metrics import (
    CRPS_LEVELS,
    coverage,
    ensemble_crps,
    gaussian_quantiles,
    interval_width,
    lower_median,
    mae,
    quantile_crps,
    quantile_crps_from_quantiles,
    rmse,
    score_samples,
)
from tsimpute.evaluation.protocol import hide_impute_score

__all__ = [
    "CRPS_LEVELS",
    "contrast_crps",
    "coverage",
    "energy_score",
    "ensemble_crps",
    "gap_contrasts",
    "gaussian_quantiles",
    "hide_impute_score",
    "interval_width",
    "lower_median",
    "mae",
    "quantile_crps",
    "quantile_crps_from_quantiles",
    "rmse",
    "score_samples",
    "variogram_score",
]
