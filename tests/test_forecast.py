"""Forecasts: holes after the last reading."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsimpute import EDDPMImputer
from tsimpute.batching import Question, quantiles_together
from tsimpute.errors import InputError
from tsimpute.fitting import training_strategy
from tsimpute.placing import hole_windows

SETTINGS = {
    "window_steps": 12,
    "kept_steps": 3,
    "n_samples": 4,
    "diffusion_steps": 10,
    "channels": 8,
    "layers": 1,
    "heads": 2,
    "mode": "forecast",
    "variance": "fixed",
    "device": "cpu",
    "random_state": 0,
    "verbose": 0,
}


def _wave(n_times, n_empty=0):
    t = np.arange(n_times)
    values = np.stack([np.sin(t / 3), 10 + np.cos(t / 3)], axis=1)
    values[n_times - n_empty :] = np.nan
    return pd.DataFrame(values, pd.date_range("2026-01-01", periods=n_times, freq="h"), ["a", "b"])


@pytest.fixture(scope="module")
def fitted():
    return EDDPMImputer(**SETTINGS, epochs=1).fit(_wave(300))


@pytest.fixture
def imputer(fitted):
    return fitted.set_params(**SETTINGS)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
@pytest.mark.parametrize("n_empty", [1, 5, 6, 11])
@pytest.mark.parametrize("n_times", [7, 12, 13, 20, 24, 41])
def test_every_window_of_a_forecast_sees_a_reading(imputer, n_times, n_empty, overlap):
    values = _wave(n_times, min(n_empty, n_times - 1)).to_numpy()
    places = hole_windows(imputer.model_, [values], overlap, mode="forecast")
    covered = np.zeros(n_times, dtype=bool)
    for _, start in places:
        assert not np.isnan(values[start : start + 12]).all()
        covered[start : start + 12] = True
    assert covered[np.isnan(values).any(axis=1)].all()
    assert places[-1] == (0, max(0, n_times - 12))


def test_offline_windows_may_see_nothing_of_a_long_trailing_gap(imputer):
    values = _wave(41, 11).to_numpy()
    places = hole_windows(imputer.model_, [values], 0.5, mode="offline")
    assert np.isnan(values[places[-1][1] :]).all()


def test_a_longer_gap_is_refused_by_name(imputer):
    assert not imputer.transform(_wave(41, 11)).isna().any(axis=None)
    table = pd.concat({"p": _wave(41, 3), "q": _wave(30, 12)}, names=["series", "time"])
    refusal = "series 'q': the last reading is in row '2026-01-01 17:00:00', and 12 rows follow"
    for ask in (
        lambda: imputer.transform(table),
        lambda: imputer.sample(table),
        lambda: imputer.predict_quantiles(table),
        lambda: quantiles_together(imputer, [Question(table, [0.5])]),
    ):
        with pytest.raises(InputError, match=refusal):
            ask()
    with pytest.raises(InputError, match="at most window_steps - 1 = 11 rows"):
        imputer.transform(_wave(20, 20))
    assert not imputer.set_params(mode="offline").transform(table).isna().any(axis=None)


def test_forecasts_do_not_depend_on_the_batches(imputer):
    tables = [_wave(41, 11), _wave(30, 4)]
    many = pd.concat(dict(enumerate(tables)), names=["series", "time"])
    alone = imputer.transform(tables[0])
    np.testing.assert_allclose(imputer.transform(many).loc[0], alone, rtol=0, atol=1e-4)


def test_the_mode_chooses_what_training_hides_unless_it_is_named():
    for mode, strategy in {"offline": "random", "online": "last", "forecast": "forecast"}.items():
        assert training_strategy(EDDPMImputer(mode=mode)) == strategy
        assert training_strategy(EDDPMImputer(mode=mode, target_strategy="block")) == "block"
