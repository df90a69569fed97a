"""What `pretraining.py` trains on and is scored on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tsimpute import load_air_quality, load_ett, load_weather
from tsimpute.evaluation.protocol import AQI_TRAINING_MONTHS, aqi_split, aqi_windows
from tsimpute.panel.hiding import hide_cells

SETS = ("air_quality", "ett", "weather")
MISSING = 0.2  # made holes, half of them single cells, half up to a day long
TRAINING = 0.7  # share of the rows; the rest is for the test
VALIDATION_MONTH = 1  # of Air-quality: not trained on, as in the protocol


@dataclass(frozen=True)
class Task:
    """Training data, other data of the same step, and test windows.

    Attributes
    ----------
    train, other : DataFrame
        Indexed by (series, time), NaN where missing; standardised but for Air-quality.
    truth, given : ndarray (n, L, K)
        Test windows, whole and with the holes to be filled.
    target : ndarray of bool (n, L, K)
        What is scored.
    """

    train: pd.DataFrame
    other: pd.DataFrame
    truth: np.ndarray
    given: np.ndarray
    target: np.ndarray

    def first(self, fraction: float) -> Task:
        """With the first rows of the training data only."""
        return replace(self, train=self.train.head(round(fraction * len(self.train))))

    def columns(self, places: slice) -> Task:
        """With some of the columns only."""
        parts = (part[..., places] for part in (self.truth, self.given, self.target))
        return Task(self.train.iloc[:, places], self.other, *parts)


def load_task(name: str, window_steps: int, n_windows: int, other: bool = False) -> Task:
    """A data set by name.

    With `other` Air-quality is its last stations, and its first ones are the other data; for
    ETT these are the weather's, and the other way around.
    """
    if name == "air_quality":
        task = _air_quality(window_steps, n_windows)
        half = task.train.shape[1] // 2
        if not other:
            return task
        return replace(task.columns(slice(half, None)), other=task.train.iloc[:, :half])
    task = _made(_hourly(name), window_steps, n_windows)
    if not other:
        return task
    neighbour = _hourly("weather" if name == "ett" else "ett")
    return replace(task, other=_standardised(neighbour, len(neighbour)).pipe(_as_series))


def _hourly(name: str) -> pd.DataFrame:
    if name == "ett":
        return load_ett()
    weather = load_weather()
    return weather.drop(columns="OT").resample("h").mean()  # OT is broken by impossible values


def _made(table: pd.DataFrame, window_steps: int, n_windows: int) -> Task:
    """Holes made at random in training and test rows."""
    n_train = round(TRAINING * len(table))
    scaled = _standardised(table, n_train)
    values, rng = scaled.to_numpy(), np.random.default_rng(0)
    hidden = hide_cells([~np.isnan(values)], "mixed", MISSING, 24, rng)[0]
    train = scaled.mask(hidden).iloc[:n_train].pipe(_as_series)
    starts = np.arange(n_train, len(table) - window_steps + 1, window_steps)
    starts = starts[np.linspace(0, len(starts) - 1, min(n_windows, len(starts))).astype(int)]
    truth = aqi_windows(values, starts, window_steps)
    target = aqi_windows(hidden, starts, window_steps)
    return Task(train, train, truth, np.where(target, np.nan, truth), target)


def _standardised(table: pd.DataFrame, n_train: int) -> pd.DataFrame:
    known = table.iloc[:n_train]
    return (table - known.mean()) / known.std()


def _as_series(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat({"whole": table})


def _air_quality(window_steps: int, n_windows: int) -> Task:
    """CSDI's months and evaluation holes, in µg/m³."""
    data = load_air_quality()
    split = aqi_split(data.ground, VALIDATION_MONTH, window_steps)
    months = [month for month in AQI_TRAINING_MONTHS if month != VALIDATION_MONTH]
    index = pd.DatetimeIndex(data.ground.index)
    runs = index.year * 100 + index.month
    train = pd.concat(
        {run: data.ground[runs == run] for run in sorted(set(runs[index.month.isin(months)]))}
    )
    n_tests = len(split.test_starts)
    chosen = np.linspace(0, n_tests - 1, min(n_windows, n_tests)).astype(int)
    truth = aqi_windows(data.ground.to_numpy(), split.test_starts[chosen], window_steps)
    given = aqi_windows(data.missing.to_numpy(), split.test_starts[chosen], window_steps)
    target = np.isnan(given) & ~np.isnan(truth) & split.scored[chosen][..., None]
    return Task(train, train, truth, given, target)
