"""ETT h1: forecasts of a day as imputation, against the day before and the last value.

    python benchmarks/accuracy/forecasting.py --train-seconds 240 --threads 1

Trained on the first 16 months; forecasts of 24 hours from evenly spaced origins in the 4 months
after them, all seven features at once, from the 48 hours before. The simple methods get intervals
from the quantiles of their own errors on the training months, by feature and hour ahead.
Standardised by the training months. MAE and RMSE are those of the median or of the simple
forecast; `crps` is normalised. Trained models are kept and used again. Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from records import CACHE, OLDER_DEFAULTS, RESULTS, add_row, circumstances, has_row

import tsimpute
from tsimpute import EDDPMImputer
from tsimpute.evaluation import CRPS_LEVELS, mae, quantile_crps_from_quantiles, rmse

FloatArray = NDArray[np.float64]

FILE = RESULTS / "forecasting.csv"
KEY = ["method", "hours", "n_origins", "n_samples", "train_s", "seed"]
MONTH = 30 * 24
TRAINING, TESTING = slice(0, 16 * MONTH), slice(16 * MONTH, 20 * MONTH)
CONTEXT, HORIZON = 48, 24
BANDS = {"1": (0, 1), "2-6": (1, 6), "7-12": (6, 12), "13-24": (12, 24), "1-24": (0, 24)}
LEARNED = {"imputer": None, "imputer, period=24": 24}
NETWORK = {"channels": 32, "layers": 2, "heads": 4, "kept_steps": 10}


def standardised() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test months, with mean 0 and standard deviation 1 in training."""
    table = tsimpute.load_ett()
    training = table.iloc[TRAINING]
    scaled = (table - training.mean()) / training.std(ddof=0)
    return scaled.iloc[TRAINING], scaled.iloc[TESTING]


def windows(table: pd.DataFrame, n: int) -> FloatArray:
    """Windows (n, CONTEXT + HORIZON, K), evenly spaced."""
    last = len(table) - CONTEXT - HORIZON
    starts = np.linspace(0, last, n).astype(int)
    values = table.to_numpy()
    return np.stack([values[start : start + CONTEXT + HORIZON] for start in starts])


def simple(method: str, given: FloatArray) -> FloatArray:
    """Forecasts (n, HORIZON, K) by a simple method from windows."""
    context = given[:, :CONTEXT]
    return context[:, -24:] if method == "seasonal naive" else context[:, -1:].repeat(HORIZON, 1)


def with_intervals(method: str, training: pd.DataFrame, given: FloatArray) -> FloatArray:
    """Quantiles (n_levels, n, HORIZON, K) of a simple method, from its errors in training."""
    past = windows(training, 1_000)
    errors = past[:, CONTEXT:] - simple(method, past)
    spread = np.quantile(errors, CRPS_LEVELS, axis=0)  # (n_levels, HORIZON, K)
    return simple(method, given) + spread[:, None]


def trained(method: str, training: pd.DataFrame, options: argparse.Namespace) -> EDDPMImputer:
    """The imputer, from an earlier run where there was one."""
    name = f"{method}-{options.train_seconds:g}s-seed{options.seed}"
    folder = CACHE / "forecasting" / name
    if folder.is_dir():
        return tsimpute.load(folder, device=options.device)
    imputer = EDDPMImputer(
        window_steps=CONTEXT + HORIZON,
        mode="forecast",
        period=LEARNED[method],
        time_budget_s=options.train_seconds,
        device=options.device,
        random_state=options.seed,
        verbose=1,
        **NETWORK,
        **OLDER_DEFAULTS,
    ).fit(training)
    imputer.save(folder)
    return imputer


def forecast(
    method: str, training: pd.DataFrame, truth: FloatArray, options: argparse.Namespace
) -> tuple[FloatArray, FloatArray]:
    """Point forecasts (n, HORIZON, K) and quantiles (n_levels, n, HORIZON, K)."""
    given = truth.copy()
    given[:, CONTEXT:] = np.nan
    if method not in LEARNED:
        return simple(method, given), with_intervals(method, training, given)
    imputer = trained(method, training, options)
    marks = imputer.predict_quantiles(given, CRPS_LEVELS, n_samples=options.samples).values
    marks = marks[:, :, CONTEXT:]
    return marks[CRPS_LEVELS.index(0.5)], marks


def n_epochs(method: str, training: pd.DataFrame, options: argparse.Namespace) -> int:
    """Passes over the training months that the time was enough for."""
    return len(trained(method, training, options).history_) if method in LEARNED else 0


def scores(point: FloatArray, marks: FloatArray, truth: FloatArray) -> dict[str, float]:
    """Scores of all cells."""
    everywhere = np.ones(truth.shape, dtype=bool)
    low, high = (marks[CRPS_LEVELS.index(level)] for level in (0.05, 0.95))
    return {
        "mae": mae(point, truth, everywhere),
        "rmse": rmse(point, truth, everywhere),
        "crps": quantile_crps_from_quantiles(marks, CRPS_LEVELS, truth, everywhere),
        "coverage_90": float(((low <= truth) & (truth <= high)).mean()),
        "width_90": float((high - low).mean()),
    }


def main() -> None:
    """Run all rows that the result file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train-seconds", type=float, default=240)
    parser.add_argument("--origins", type=int, default=60)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    told = circumstances()
    training, testing = standardised()
    truth = windows(testing, options.origins)
    for method in ("last value", "seasonal naive", *LEARNED):
        asked: dict[str, Any] = {"method": method, "n_origins": options.origins}
        learned = method in LEARNED
        asked |= {"n_samples": options.samples if learned else 0}
        asked |= {"train_s": options.train_seconds if learned else 0, "seed": options.seed}
        if all(has_row(FILE, asked | {"hours": hours}) for hours in BANDS):
            continue
        point, marks = forecast(method, training, truth, options)
        told["epochs"] = n_epochs(method, training, options)
        for hours, (first, stop) in BANDS.items():
            parts = point[:, first:stop], marks[:, :, first:stop]
            found = scores(*parts, truth[:, CONTEXT:][:, first:stop])
            add_row(FILE, asked | {"hours": hours} | found | told, KEY)
            print(method, hours, {k: round(v, 3) for k, v in found.items()}, flush=True)


if __name__ == "__main__":
    main()
