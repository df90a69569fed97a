"""The demo: real holes of a real record, filled, scored and drawn.

Mauna Loa's weekly CO2 record has real gaps. Blocks of 4 to 26 weeks of what was observed are
hidden as well, so that there is something to score on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tsimpute.datasets import load_co2
from tsimpute.evaluation import baselines
from tsimpute.evaluation.metrics import coverage, ensemble_crps, interval_width, mae
from tsimpute.imputer import EDDPMImputer
from tsimpute.panel.missingness import hide_blocks
from tsimpute.plotting import (
    plot_imputation,
    plot_keep_prob_history,
    plot_loss_curves,
    plot_step_schedule,
)

YEAR = 52  # weeks
BANDS = (0.05, 0.25, 0.5, 0.75, 0.95)


def main(arguments: list[str] | None = None) -> None:
    """Fit, fill, score, draw; writes tables and pictures to a directory."""
    parser = argparse.ArgumentParser(prog="python -m tsimpute.demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=90.0, help="of fitting")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)

    record = load_co2()
    hidden = hide(record, options.seed)
    given = record.mask(hidden)
    print(describe(record, hidden))
    begun = time.perf_counter()
    imputer = make_imputer(options.seed, options.seconds).fit(given)
    print(f"trained in {time.perf_counter() - begun:.0f} s")
    samples = imputer.sample(given)
    scores = compare(samples, record, given, hidden, options.seed)
    print(scores.to_string(float_format=lambda number: f"{number:.3f}", na_rep="-"))
    print(verdict(scores))
    imputer.transform(record).to_csv(options.output / "filled.csv")
    scores.to_csv(options.output / "scores.csv", index_label="method")
    imputer.step_schedule_.to_csv(options.output / "step_schedule.csv")
    imputer.history_.to_csv(options.output / "history.csv", index=False)
    draw(samples, record, given, hidden, options.output)
    plot_step_schedule(imputer.step_schedule_, path=options.output / "step_schedule.png")
    plot_keep_prob_history(imputer.keep_prob_history_, path=options.output / "keep_prob.png")
    plot_loss_curves(imputer.history_, path=options.output / "loss.png")
    print(f"tables and pictures are in {options.output}/")


def hide(record: pd.DataFrame, seed: int) -> NDArray[np.bool_]:
    """Blocks of 4 to 26 weeks to hold out, about an eighth of the record; bool (n_weeks, 1)."""
    observed = record.notna().to_numpy()
    return hide_blocks(observed, 0.125, 4, 26, np.random.default_rng(seed))


def make_imputer(seed: int, seconds: float) -> EDDPMImputer:
    """Two years in a window, training on outages, ten of fifty diffusion steps."""
    return EDDPMImputer(
        window_steps=2 * YEAR,
        kept_steps=10,
        n_samples=50,
        time_budget_s=seconds,
        channels=32,  # one series of 2,284 weeks needs no large network
        layers=3,
        heads=4,
        batch_size=32,
        learning_rate=2e-3,
        anchor="local",  # the level has risen by 55 ppm, a window moves by 8
        period=YEAR,
        overlap=0.25,
        target_strategy="block",
        train_stride=4,
        random_state=seed,
    )


def describe(record: pd.DataFrame, hidden: NDArray[np.bool_]) -> str:
    """What is filled, in words."""
    return (
        f"Mauna Loa CO2: {len(record)} weeks from {record.index[0]:%Y} to {record.index[-1]:%Y}, "
        f"{int(record.isna().sum().sum())} weeks missing; {int(hidden.sum())} more are held out "
        f"in blocks"
    )


def compare(
    samples: xr.DataArray,
    record: pd.DataFrame,
    given: pd.DataFrame,
    hidden: NDArray[np.bool_],
    seed: int,
) -> pd.DataFrame:
    """Scores on the held-out weeks, in ppm, one row a method."""
    truth, values = record.to_numpy(), given.to_numpy()
    kalman = baselines.kalman_smoother(values, seasonal_period=YEAR)
    rng = np.random.default_rng(seed)
    draws = kalman.mean + kalman.sd * rng.standard_normal((500, *values.shape))
    ensembles = {
        "EDDPM": samples.values,
        "last value": baselines.last_value(values)[None],
        "linear interpolation": baselines.linear_interpolation(values)[None],
        "median": baselines.feature_median(values)[None],
        "seasonal": baselines.seasonal(values, YEAR)[None],
        "Kalman smoother": draws,
    }
    points = {"Kalman smoother": kalman.mean}
    rows = {
        name: _scores(samples, points.get(name, np.median(samples, axis=0)), truth, hidden)
        for name, samples in ensembles.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").sort_values("CRPS")


def _scores(
    samples: NDArray[Any], point: NDArray[Any], truth: NDArray[Any], hidden: NDArray[np.bool_]
) -> dict[str, float]:
    row = {"MAE": mae(point, truth, hidden), "CRPS": ensemble_crps(samples, truth, hidden)}
    if len(samples) > 1:  # a single number has no interval
        row["50 % coverage"] = coverage(samples, truth, hidden, 0.5)
        row["90 % coverage"] = coverage(samples, truth, hidden, 0.9)
        row["90 % width"] = interval_width(samples, truth, hidden, 0.9)
    return row


def verdict(scores: pd.DataFrame) -> str:
    """Who won, said as it is."""
    lines = []
    for metric in ("MAE", "CRPS"):
        winner = scores[metric].idxmin()
        others = scores[metric].drop(winner)
        lines.append(
            f"best {metric}: {winner} ({scores[metric].min():.3f} ppm), before {others.idxmin()} "
            f"({others.min():.3f} ppm)"
        )
    return "\n".join(lines)


def draw(
    samples: xr.DataArray,
    record: pd.DataFrame,
    given: pd.DataFrame,
    hidden: NDArray[np.bool_],
    output: Path,
) -> None:
    """Picture of the three years with the most missing weeks."""
    rows = _around_most_holes(given)
    quantiles = samples.isel(time=rows).quantile(BANDS, dim="sample")
    plot_imputation(
        given.iloc[rows],
        quantiles,
        truth=record.where(hidden).iloc[rows],
        units="ppm",
        path=output / "imputation.png",
    )


def _around_most_holes(given: pd.DataFrame) -> slice:
    """Three years of rows around the place with the most missing weeks."""
    missing = given.isna().any(axis=1).astype(float)
    width = 3 * YEAR
    busiest = int(missing.rolling(width).sum().fillna(0).to_numpy().argmax())
    return slice(max(0, busiest - width + 1), busiest + 1)


if __name__ == "__main__":
    main()
