"""The seasonal anchor, as a user meets it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsimpute import EDDPMImputer, load
from tsimpute.errors import InputError

TINY: dict[str, Any] = {
    "window_steps": 18,
    "kept_steps": 3,
    "n_samples": 4,
    "epochs": 1,
    "diffusion_steps": 10,
    "channels": 8,
    "layers": 1,
    "heads": 2,
    "train_stride": 4,
    "random_state": 0,
    "device": "cpu",
    "verbose": 0,
    "anchor": "seasonal",
}
DAY = 6


def waves(n: int = 240) -> pd.DataFrame:
    """A day of six rows, of another height each day; gaps of most of a day."""
    rng, t = np.random.default_rng(0), np.arange(n)
    height = 2 + np.sin(t / 40)
    values = np.stack([height * np.sin(2 * np.pi * t / DAY), height * np.cos(2 * np.pi * t / DAY)])
    index = pd.date_range("2026-01-01", periods=n, freq="4h")
    return pd.DataFrame(values.T + 0.05 * rng.normal(size=(n, 2)), index, columns=["x", "y"])


def holed(df: pd.DataFrame) -> pd.DataFrame:
    gaps = df.copy()
    for start in range(10, len(df) - DAY, 20):
        gaps.iloc[start : start + 5, (start // 20) % 2] = np.nan
    return gaps


def test_long_gaps_follow_the_day_without_much_training() -> None:
    truth = waves()
    gaps = holed(truth)
    options = TINY | {"target_strategy": "block"}
    error = {}
    for anchor in ("linear", "seasonal"):
        filled = EDDPMImputer(**options | {"anchor": anchor}).fit(gaps).transform(gaps)
        error[anchor] = float((filled - truth)[gaps.isna()].abs().stack().mean())
    assert error["seasonal"] < 0.3 * error["linear"]


@pytest.mark.parametrize(
    "options",
    [{}, {"mode": "online"}, {"mode": "forecast"}, {"time": "clock"}, {"scaling": "rank"}],
    ids=lambda options: "-".join(map(str, options.values())) or "plain",
)
def test_it_goes_with_the_other_options_and_into_a_file(options, tmp_path) -> None:
    gaps = holed(waves())
    imputer = EDDPMImputer(**TINY | options).fit(gaps)
    assert imputer.model_.anchor.season.period == DAY
    table = gaps.iloc[-30:].copy()
    if options.get("mode") == "forecast":
        table = waves().iloc[-30:].copy()
        table.iloc[-5:] = np.nan
    filled = imputer.transform(table)
    assert not filled.isna().any().any()
    again = load(imputer.save(tmp_path / "model"))
    assert again.get_params()["anchor"] == "seasonal"
    pd.testing.assert_frame_equal(again.transform(table), filled)


def test_it_survives_pruning_and_pretraining() -> None:
    gaps = holed(waves())
    pruned = EDDPMImputer(**TINY).fit(gaps).prune(gaps, kept_steps=2)
    assert pruned.model_.anchor.season.period == DAY
    trained = EDDPMImputer(**TINY).pretrain(gaps, epochs=1).fit(gaps)
    assert trained.model_.anchor.season.period == DAY


def test_a_period_of_ones_own() -> None:
    gaps = holed(waves()).reset_index(drop=True)
    imputer = EDDPMImputer(**TINY, period=5).fit(gaps)
    assert imputer.model_.anchor.season.period == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "got no period, and the data have no timestamps; set period"),
        ({"period": 18}, "window_steps=18 has no second season of period=18 rows.* 36 or more"),
        ({"period": 0}, "period=0; expected None or a whole number of at least 1"),
        ({"period": "day"}, "period='day'; expected None or a whole number"),
    ],
)
def test_what_cannot_be_a_season_is_refused(options, message) -> None:
    with pytest.raises(InputError, match=message):
        EDDPMImputer(**TINY, **options).fit(waves().reset_index(drop=True))


def test_a_day_that_is_too_long_for_the_window_is_refused() -> None:
    hours = waves().set_axis(pd.date_range("2026-01-01", periods=240, freq="h"))
    with pytest.raises(InputError, match="window_steps=18 has no second season of period=24 rows"):
        EDDPMImputer(**TINY).fit(hours)
