"""Forecasts: holes after the last reading."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest

from tsimpute import EDDPMImputer
from tsimpute.assessment import exam
from tsimpute.errors import InputError
from tsimpute.fitting.fit import training_strategy
from tsimpute.panel.containers import read_panel
from tsimpute.sampling.batching import Question, quantiles_together
from tsimpute.sampling.placing import hole_windows

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


def test_every_exam_of_forecasts_has_nothing_after_what_is_hidden(imputer, monkeypatch):
    exams, build = [], exam._exam_of

    def recorded(*arguments):
        exams.append(build(*arguments))
        return exams[-1]

    monkeypatch.setattr(exam, "_exam_of", recorded)
    table = pd.concat({"p": _wave(400), "q": _wave(50)}, names=["series", "time"])
    table = table.mask(np.random.default_rng(0).random(table.shape) < 0.2)
    asks = (
        imputer.score,
        lambda data: imputer.evaluate(data, methods=["last value"]),
        imputer.calibration_report,
        lambda data: copy.copy(imputer).fit_calibration(data, max_windows=20),
        lambda data: imputer.step_importance(data, max_windows=3),
        EDDPMImputer(**SETTINGS, epochs=1, calibrate=True, validation_fraction=0.3).fit,
    )
    horizons = set()
    for ask in asks:
        exams.clear()
        ask(table)
        assert exams
        for one in exams:
            for given, target in zip(one.given, one.target_masks, strict=True):
                rows = np.flatnonzero(target.any(axis=1))
                if len(rows):
                    assert np.isnan(given[rows[0] :]).all()
                    horizons.add(len(given) - int(rows[0]))
    assert horizons <= set(range(1, 12)) and len(horizons) > 8
    exams.clear()
    imputer.evaluate(table, "point", methods=["last value"])  # named, so wanted
    assert any(np.isfinite(g[t.any(axis=1).argmax() :]).any() for g, t in _with_targets(exams))
    exams.clear()
    imputer.set_params(mode="offline").score(table)
    assert any(np.isfinite(g[t.any(axis=1).argmax() :]).any() for g, t in _with_targets(exams))


def _with_targets(exams):
    pairs = [pair for one in exams for pair in zip(one.given, one.target_masks, strict=True)]
    return [(given, target) for given, target in pairs if target.any()]


def test_few_windows_are_few_forecasts(imputer):
    panel = read_panel(_wave(2000))
    plan = exam.ExamPlan(0, 0.5, max_windows=6, mode="forecast")
    few = exam.make_exam(imputer.model_, panel, plan)
    assert 4 <= few.n_windows <= 8
    assert 1 < sum(bool(target.any()) for target in few.target_masks) <= 6
