"""What covariates bring: Air-quality with the calendar, Healthcare with facts of admission.

"air_quality_neighbours" imputes twelve stations, alone or with the other 24 as complete columns
that are not imputed themselves, their own gaps bridged by lines.

And what times bring: "air_quality_uneven" leaves out half of the hours, at random. "clock" is told
how long it is from one row to the next, "rows" takes all rows as equally far apart.

    python benchmarks/accuracy/covariates.py --budget 30 --samples 20

Equal training: each row trains a network of the same size from scratch for `--budget` seconds, or
for `--epochs` passes, which does not depend on how busy the machine is. Protocols of CSDI; CRPS
and MAE in standardised units (Healthcare) and µg/m³ (Air-quality). Each row is written when it is
done, and rows that are there already are left out. Needs TSIMPUTE_DATA, with set-a.tar.gz.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from records import OLDER_DEFAULTS, RESULTS, add_row, circumstances, has_row

from tsimpute import EDDPMImputer, load_air_quality, load_healthcare
from tsimpute.datasets import load_healthcare_descriptors
from tsimpute.evaluation import score_samples
from tsimpute.evaluation.protocol import (
    AQI_TEST_MONTHS,
    AQI_TRAINING_MONTHS,
    aqi_split,
    aqi_windows,
    healthcare_scale,
    healthcare_split,
    healthcare_targets,
)

FILE = RESULTS / "covariates.csv"
KEY = [
    "data",
    "covariates",
    "seed",
    "epochs",
    "budget_s",
    "channels",
    "layers",
    "train_windows",
    "test_windows",
    "n_samples",
    "window_steps",
]
VARIANTS = {
    "air_quality_uneven": ("rows", "clock"),
    "air_quality": ("none", "hour", "hour dayofweek", "hour dayofweek dayofyear"),
    "air_quality_neighbours": ("none", "stations"),
    "healthcare": ("none", "ICU type", "all static"),
}
WINDOW_STEPS = {"healthcare": 48}  # else 36
N_STATIONS = 12  # that are imputed where others are their neighbours
MISSING = 0.1


def imputer_of(row: dict[str, Any], options: argparse.Namespace, **more: Any) -> EDDPMImputer:
    """Unfitted imputer of a row."""
    return EDDPMImputer(
        window_steps=row["window_steps"],
        kept_steps=options.kept,
        epochs=options.epochs,
        time_budget_s=options.budget,
        channels=options.channels,
        layers=options.layers,
        overlap=0.0,
        random_state=row["seed"],
        variance="fixed",  # samples are scored as they are
        device=options.device,
        verbose=0,
        **OLDER_DEFAULTS,
        **more,
    )


def timed(values: np.ndarray, starts: np.ndarray, table: pd.DataFrame, steps: int) -> pd.DataFrame:
    """Windows of a long table as series with their own times."""
    n = len(starts)
    times = table.index.to_numpy()[np.asarray(starts)[:, None] + np.arange(steps)]
    index = pd.MultiIndex.from_arrays([np.repeat(np.arange(n), steps), times.ravel()])
    flat = aqi_windows(values, starts, steps).reshape(n * steps, -1)
    return pd.DataFrame(flat, index=index, columns=table.columns)


def air_quality(row: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    """All stations, with the calendar."""
    calendar = None if row["covariates"] == "none" else row["covariates"].split()
    return at_stations(36, load_air_quality().missing.iloc[:, :0], row, options, calendar=calendar)


def air_quality_neighbours(row: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    """Some stations, with the others."""
    others = load_air_quality().missing.iloc[:, N_STATIONS:]
    filled = others.interpolate(limit_direction="both")
    if row["covariates"] == "none":
        filled = filled.iloc[:, :0]
    return at_stations(N_STATIONS, filled, row, options, exogenous=list(filled) or None)


def at_stations(
    n: int, beside: pd.DataFrame, row: dict[str, Any], options: argparse.Namespace, **more: Any
) -> dict[str, float]:
    """Train on the training months and score the first stations' evaluation holes in the others."""
    data = load_air_quality()
    split, steps = aqi_split(data.ground), row["window_steps"]
    mean, sd = np.asarray(split.mean)[:n], np.asarray(split.sd)[:n]
    known = (beside - beside.mean()) / beside.std()
    ground, missing = (
        pd.concat([(table.iloc[:, :n] - mean) / sd, known], axis=1)
        for table in (data.ground, data.missing)
    )
    imputer = imputer_of(row, options, target_strategy="mix", validation_fraction=0.0, **more)
    starts = np.random.default_rng(0).permutation(split.train_starts)[: options.train_windows]
    patterns = aqi_windows(ground.to_numpy(), split.pattern_starts)
    imputer.fit(timed(ground.to_numpy(), np.sort(starts), ground, steps), patterns=patterns)
    chosen = slice(None, options.test_windows)
    tests = split.test_starts[chosen]
    truth, given = (
        aqi_windows(table.to_numpy()[:, :n], tests) for table in (data.ground, data.missing)
    )
    target = np.isnan(given) & ~np.isnan(truth) & split.scored[chosen][..., None]
    drawn = np.empty((options.samples, *truth.shape))
    for i, start in enumerate(tests):  # each window by itself: their times differ
        window = missing.iloc[start : start + steps]
        answer = imputer.sample(window, options.samples, random_state=i)
        drawn[:, i] = answer.values[..., :n]
    return _scores(imputer, drawn * sd + mean, truth, target)


def uneven(table: pd.DataFrame, months: Sequence[int], by_clock: bool) -> pd.DataFrame:
    """Months of an hourly table, each a series, without half of their rows."""
    kept = np.random.default_rng(1).random(len(table)) < 0.5
    some = table[kept & table.index.month.isin(months)]
    parts = dict(iter(some.groupby(some.index.to_period("M"))))
    named = {str(m): part if by_clock else part.reset_index(drop=True) for m, part in parts.items()}
    return pd.concat(named)


def air_quality_uneven(row: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    """Train on uneven rows of the training months and score the evaluation holes of others."""
    data, by_clock = load_air_quality(), row["covariates"] == "clock"
    split = aqi_split(data.ground)
    mean, sd = np.asarray(split.mean), np.asarray(split.sd)
    how = {"target_strategy": "mix", "validation_fraction": 0.0}
    imputer = imputer_of(row, options, **how, time="clock" if by_clock else "steps")
    imputer.fit((uneven(data.ground, AQI_TRAINING_MONTHS, by_clock) - mean) / sd)
    given, truth = (
        uneven(table, AQI_TEST_MONTHS, by_clock) for table in (data.missing, data.ground)
    )
    drawn = imputer.sample((given - mean) / sd, options.samples, random_state=row["seed"])
    months = given.index.get_level_values(0).unique()
    parts = [drawn.sel(series=m, time=given.loc[m].index).values for m in months]
    target = (given.isna() & truth.notna()).to_numpy()
    return _scores(imputer, np.concatenate(parts, axis=1) * sd + mean, truth.to_numpy(), target)


def static_columns(kind: str, record_ids: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Facts of admission (n_stays, S): complete, unknown ones by the median and an indicator."""
    table = load_healthcare_descriptors().loc[record_ids]
    units = pd.get_dummies(table["ICUType"], dtype=float)
    if kind == "ICU type":
        return units.to_numpy()
    measured = table[["Age", "Gender", "Height", "Weight"]]
    low, high = measured.iloc[train].quantile([0.005, 0.995]).to_numpy()  # 1.8 cm, 431 cm
    known = measured.notna()[["Height", "Weight"]].astype(float)
    filled = measured.fillna(measured.iloc[train].median()).clip(low, high, axis=1)
    return np.hstack([units, filled, known])


def healthcare(row: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    """Train on the training stays of fold 0 and score hidden readings of test stays."""
    stays = load_healthcare().non_empty
    mean, sd = healthcare_scale(stays.values)
    split = healthcare_split(len(stays.values), 0)
    values, k = (stays.values - mean) / sd, stays.values.shape[2]
    target = healthcare_targets(stays.values, MISSING)
    exogenous = None
    if row["covariates"] != "none":
        static = static_columns(row["covariates"], stays.record_ids, split.train)
        static = np.repeat(static[:, None], values.shape[1], axis=1)
        values = np.concatenate([values, static], axis=2)
        exogenous = list(range(k, values.shape[2]))
    train = split.train[: options.train_windows]
    test = split.test[: options.test_windows]
    imputer = imputer_of(row, options, exogenous=exogenous).fit(values[train])
    given = values[test].copy()
    given[..., :k][target[test]] = np.nan
    drawn = imputer.sample(given, options.samples, random_state=row["seed"]).values[..., :k]
    return _scores(imputer, drawn, values[test][..., :k], target[test])


def _scores(
    imputer: EDDPMImputer, drawn: np.ndarray, truth: np.ndarray, target: np.ndarray
) -> dict[str, float]:
    scores = score_samples(drawn, truth, target)
    seconds = float(imputer.history_["seconds"].iloc[-1])
    return scores | {"epochs_done": len(imputer.history_), "train_seconds": round(seconds, 1)}


BENCHES: dict[str, Callable[..., dict[str, float]]] = {
    "air_quality": air_quality,
    "air_quality_uneven": air_quality_uneven,
    "air_quality_neighbours": air_quality_neighbours,
    "healthcare": healthcare,
}


def describe(data: str, covariates: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """What identifies a row."""
    values = (
        data,
        covariates,
        seed,
        options.epochs or 0,
        options.budget or 0.0,
        options.channels,
        options.layers,
        options.train_windows,
        options.test_windows,
        options.samples,
        WINDOW_STEPS.get(data, 36),
    )
    return dict(zip(KEY, values, strict=True))


def main() -> None:
    """Train and score every row that the result file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=list(BENCHES), choices=list(BENCHES))
    parser.add_argument("--covariates", nargs="+", help="only these, for example none 'all static'")
    parser.add_argument("--budget", type=float, help="seconds of training a row")
    parser.add_argument("--epochs", type=int, help="passes of training a row")
    parser.add_argument("--kept", type=int, default=10)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--train-windows", type=int, default=1_000_000, help="at most")
    parser.add_argument("--test-windows", type=int, default=1_000_000, help="at most")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.budget is None and options.epochs is None:
        parser.error("say how long to train: --budget SECONDS or --epochs N")
    if options.threads:
        torch.set_num_threads(options.threads)
    circumstances()
    rows = [(d, c, seed) for seed in options.seeds for d in options.data for c in VARIANTS[d]]
    for data, covariates, seed in rows:
        if options.covariates and covariates not in options.covariates:
            continue
        row = describe(data, covariates, seed, options)
        if has_row(FILE, row):
            continue
        begun = time.perf_counter()
        scores = BENCHES[data](row, options)
        took = round(time.perf_counter() - begun, 1)
        add_row(FILE, row | scores | {"seconds": took} | circumstances(), KEY)
        print(
            f"{data}, {covariates}, seed {seed}: CRPS {scores['crps']:.4f} "
            f"MAE {scores['mae']:.4f} ({scores['epochs_done']} epochs, {took} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
