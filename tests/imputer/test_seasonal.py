"""Seasons in the lines of the anchor, as a user meets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsimpute import EDDPMImputer, load
from tsimpute.errors import InputError

DAY = 6
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
    "period": DAY,
}


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


def period_of(imputer: EDDPMImputer) -> int | None:
    season = imputer.model_.anchor.season
    return None if season is None else season.period


@pytest.mark.parametrize("anchor", ["linear", "local"])
def test_long_gaps_follow_the_day_without_much_training(anchor) -> None:
    truth = waves()
    gaps = holed(truth)
    options = TINY | {"target_strategy": "block", "anchor": anchor}
    error = {}
    for period in (None, DAY):
        filled = EDDPMImputer(**options | {"period": period}).fit(gaps).transform(gaps)
        error[period] = float((filled - truth)[gaps.isna()].abs().stack().mean())
    assert error[DAY] < 0.3 * error[None]


@pytest.mark.parametrize(
    "options",
    [{}, {"mode": "online"}, {"mode": "forecast"}, {"time": "clock"}, {"scaling": "rank"}],
    ids=lambda options: "-".join(map(str, options.values())) or "plain",
)
def test_it_goes_with_the_other_options_and_into_a_file(options, tmp_path) -> None:
    gaps = holed(waves())
    imputer = EDDPMImputer(**TINY | options).fit(gaps)
    assert period_of(imputer) == DAY
    table = gaps.iloc[-30:].copy()
    if options.get("mode") == "forecast":
        table = waves().iloc[-30:].copy()
        table.iloc[-5:] = np.nan
    filled = imputer.transform(table)
    assert not filled.isna().any().any()
    again = load(imputer.save(tmp_path / "model"))
    assert again.get_params()["period"] == DAY
    pd.testing.assert_frame_equal(again.transform(table), filled)


def test_it_survives_pruning_and_pretraining(tmp_path) -> None:
    gaps = holed(waves())
    pruned = EDDPMImputer(**TINY).fit(gaps).prune(gaps, kept_steps=2)
    assert period_of(pruned) == DAY
    trained = EDDPMImputer(**TINY).pretrain(gaps, epochs=1)
    again = EDDPMImputer.from_pretrained(trained.save_pretrained(tmp_path / "trunk"))
    assert again.period == DAY
    assert period_of(trained.fit(gaps)) == DAY


@pytest.mark.parametrize(
    ("index", "options", "period"),
    [
        (pd.date_range("2026-01-01", periods=240, freq="4h"), {}, DAY),
        (pd.date_range("2026-01-01", periods=240, freq="D"), {}, 7),
        (pd.period_range("2000-01", periods=240, freq="M"), {}, 12),
        (pd.date_range("2026-01-01", periods=240, freq="h"), {}, None),  # longer than a window
        (pd.RangeIndex(240), {}, None),
        (pd.date_range("2026-01-01", periods=240, freq="4h"), {"anchor": "none"}, None),
    ],
)
def test_auto_takes_what_the_timestamps_suggest(index, options, period) -> None:
    imputer = EDDPMImputer(**TINY | {"period": "auto"} | options).fit(
        holed(waves()).set_axis(index)
    )
    assert period_of(imputer) == period


def test_auto_is_the_default_but_not_that_of_older_models() -> None:
    assert EDDPMImputer().period == "auto"
    older = load(Path(__file__).parents[1] / "golden" / "format-3", device="cpu")
    assert older.period is None


def test_fit_says_which_season_it_follows(capsys) -> None:
    gaps = holed(waves())
    for period, said in ((DAY, "a season of 6 rows"), ("auto", "a season of 6 rows")):
        EDDPMImputer(**TINY | {"period": period, "verbose": 1}).fit(gaps)
        assert said in capsys.readouterr().err
    EDDPMImputer(**TINY | {"period": None, "verbose": 1}).fit(gaps)
    assert "season" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"period": 18}, "period=18 leaves no second season in window_steps=18; .* at most 17"),
        ({"period": 0}, "period=0; expected None, 'auto' or the whole number of rows"),
        ({"period": "day"}, "period='day'; expected None, 'auto'"),
        ({"period": 2.5}, "period=2.5; expected None, 'auto'"),
        ({"anchor": "none"}, "period=6 bends the lines of an anchor, and anchor='none' has none"),
    ],
)
def test_what_cannot_be_a_season_is_refused(options, message) -> None:
    with pytest.raises(InputError, match=message):
        EDDPMImputer(**TINY | options).fit(waves())


def test_the_simple_methods_of_evaluate_get_the_same_season() -> None:
    gaps = holed(waves()).reset_index(drop=True)
    check = EDDPMImputer(**TINY).fit(gaps).evaluate(gaps, "block", methods=["seasonal"])
    assert check.notes["seasonal"] == "with a season of 6 rows"
    plain = EDDPMImputer(**TINY | {"period": None}).fit(gaps)
    assert (
        "no season is known"
        in plain.evaluate(gaps, "block", methods=["seasonal"]).notes["seasonal"]
    )
