"""Filling from the past alone, by tables and row by row."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest

from tsimpute import EDDPMImputer, load
from tsimpute.assessment.calibration import Hiding
from tsimpute.errors import InputError, InputTypeError
from tsimpute.panel.containers import read_panel
from tsimpute.panel.gaps import NOWHERE, distance_to_observed, gap_lengths
from tsimpute.panel.refusal import Refusal
from tsimpute.panel.windows import cut
from tsimpute.sampling.batching import Question, quantiles_together
from tsimpute.sampling.noise import BlockNoise

LEVELS = (0.1, 0.5, 0.9)
N_TIMES = 30
CUT = 17  # the first row that an earlier answer must not know of
SETTINGS = {
    "window_steps": 8,
    "kept_steps": 3,
    "n_samples": 4,
    "epochs": 1,
    "diffusion_steps": 10,
    "channels": 8,
    "layers": 1,
    "heads": 2,
    "mode": "online",
    "device": "cpu",
    "random_state": 0,
    "verbose": 0,
}


def _table(n_times=N_TIMES, seed=0, holes=0.3):
    rng = np.random.default_rng(seed)
    t = np.arange(n_times)[:, None] / [3, 4, 5]
    index = pd.date_range("2026-01-01", periods=n_times, freq="h", name="time")
    values = np.sin(t) + rng.normal(scale=0.1, size=t.shape)
    return pd.DataFrame(values, index, list("abc")).mask(rng.random(t.shape) < holes)


def _many():
    parts = {name: _table(n, seed) for seed, (name, n) in enumerate({"p": 20, "q": 30}.items())}
    return pd.concat(parts, names=["series", "time"])


@pytest.fixture(scope="module")
def fitted():
    imputer = EDDPMImputer(**SETTINGS).fit(_table(200))
    return imputer.fit_marginals(_table(200), iterations=20)


@pytest.fixture
def imputer(fitted):
    """The fitted imputer with the parameters and the stream of a new one."""
    fitted.set_params(**{**EDDPMImputer().get_params(), **SETTINGS})
    return fitted.reset_stream()


ANSWERS = {
    "transform": lambda imputer, table: imputer.transform(table).to_numpy()[None],
    "transform, head": lambda i, table: i.transform(table, method="head").to_numpy()[None],
    "sample": lambda i, table: _rows(i.sample(table, 3), table),
    "sample, coupled": lambda i, table: _rows(i.sample(table, 3, marginals="head"), table),
    "cells, head": lambda i, table: _cells(i.set_params(method="head"), table),
    "quantiles": lambda i, table: _rows(i.predict_quantiles(table, LEVELS), table),
    "quantiles, head": lambda i, table: _rows(
        i.predict_quantiles(table, LEVELS, method="head"), table
    ),
}


def _rows(labelled, table):
    """Values (n, rows of the table, K)."""
    if "series" not in labelled.dims:
        return labelled.values
    stacked = labelled.stack(row=["series", "time"]).transpose(..., "row", "feature")
    return stacked.sel(row=table.index).values


def _cells(imputer, table):
    """What is told of every cell, (2, rows of the table, K)."""
    told = imputer.explain_cells(table, missing_only=False)
    return told[["value", "width_90"]].to_numpy().T.reshape(2, *table.shape)


def _times(table):
    return table.index.get_level_values("time")


def _later(table):
    """Rows from `CUT` on, in every series."""
    return np.asarray(_times(table) >= _table().index[CUT])


def _changed(table, later):
    earlier = np.broadcast_to(~_later(table)[:, None], table.shape)
    return table.where(earlier, later)


def _with_other_values(table):
    """Other readings later, holes where they were."""
    return _changed(table, 5 - 3 * table)


def _hidden(table):
    """Nothing observed later."""
    return _changed(table, np.nan)


def _shown(table):
    """Everything observed later."""
    return _changed(table, 0.5)


def _cut(table):
    """No later rows."""
    return table[~_later(table)]


@pytest.mark.parametrize("start", ["noise", "marginals"])
@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("make", [_table, _many], ids=["one series", "many"])
def test_other_later_readings_change_no_bit_of_an_earlier_answer(imputer, kind, make, start):
    imputer.set_params(start=start)
    table, answer = make(), ANSWERS[kind]
    earlier = ~_later(table)
    first, second = answer(imputer, table), answer(imputer, _with_other_values(table))
    np.testing.assert_array_equal(first[:, earlier], second[:, earlier])
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("change", [_hidden, _shown, _cut])
@pytest.mark.parametrize("start", ["noise", "marginals"])
@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("make", [_table, _many], ids=["one series", "many"])
def test_no_later_hole_reading_or_cut_changes_an_earlier_answer(imputer, kind, make, start, change):
    """Up to the rounding of float32: the batches have other shapes."""
    imputer.set_params(start=start)
    table, answer = make(), ANSWERS[kind]
    other = change(table)
    first = answer(imputer, table)[:, ~_later(table)]
    second = answer(imputer, other)[:, ~_later(other)]
    np.testing.assert_allclose(first, second, rtol=0, atol=2e-5)


def test_offline_answers_do_depend_on_later_readings(imputer):
    table = _table()
    imputer.set_params(mode="offline")
    first, second = imputer.transform(table), imputer.transform(_with_other_values(table))
    assert not np.allclose(first[:CUT], second[:CUT], atol=1e-3)


@pytest.mark.parametrize("kind", ["transform", "transform, head", "quantiles"])
def test_earlier_fills_are_no_context(imputer, kind):
    """A twin by brute force: a hole is what the window that ends at its row says alone."""
    table, answer = _table(), ANSWERS[kind]
    whole = answer(imputer, table)
    for row in (0, 5, 7, 8, 29):
        first = max(0, row - 7)
        only = table.iloc[first : row + 1].copy()
        imputer.set_params(random_state=0)
        alone = _at_origin(imputer, only, first, kind)
        np.testing.assert_allclose(whole[:, row], alone, rtol=0, atol=2e-5)


def _at_origin(imputer, only, first, kind):
    from tsimpute.sampling import answers
    from tsimpute.sampling.choices import Choice

    panel = imputer._read(only)
    choice = Choice(method="head" if "head" in kind else None, origin=(0, first))
    if kind == "quantiles":
        return answers.quantiles(imputer, panel, choice, LEVELS)[0][:, -1]
    return answers.medians(imputer, panel, choice)[0][None, -1]


def test_a_hole_knows_the_readings_of_its_own_row(imputer):
    table = _table(holes=0.0)
    table.iloc[12, 0] = np.nan
    other = table.copy()
    other.iloc[12, 1] += 2
    first, second = imputer.transform(table), imputer.transform(other)
    assert abs(first.iloc[12, 0] - second.iloc[12, 0]) > 1e-4


@pytest.mark.parametrize("change", [_with_other_values, _hidden, _shown, _cut])
@pytest.mark.parametrize("make", [_table, _many], ids=["one series", "many"])
def test_no_later_value_decides_whether_a_hole_is_refused(imputer, make, change):
    imputer.set_params(max_gap=2, min_observed=3)
    table = make()
    other = change(table)
    first = imputer.transform(table)[~_later(table)]
    second = imputer.transform(other)[~_later(other)]
    assert first.isna().any(axis=None)
    np.testing.assert_allclose(first, second, rtol=0, atol=2e-5)


@pytest.mark.parametrize("change", [_with_other_values, _hidden, _shown, _cut])
@pytest.mark.parametrize("make", [_table, _many], ids=["one series", "many"])
def test_no_later_value_changes_an_earlier_row_of_an_explanation(imputer, make, change):
    imputer.set_params(max_gap=2, min_observed=3)
    table = make()
    first, second = (imputer.explain_cells(t) for t in (table, change(table)))
    first, second = (
        t[t["time"] < _table().index[CUT]].reset_index(drop=True) for t in (first, second)
    )
    assert (first["status"] == "refused").any() and (first["gap"] > 1).any()
    pd.testing.assert_frame_equal(first, second, check_exact=False, rtol=0, atol=2e-5)


def test_an_explanation_counts_since_the_last_reading(imputer):
    table = _table(12, holes=0.0)
    table.iloc[4:9, 1] = table.iloc[:2, 2] = np.nan
    told = imputer.explain_cells(table).set_index(["feature", "time"])
    assert told.loc["b", "distance"].tolist() == [0] * 4 + [1, 2, 3, 4, 5] + [0] * 3
    assert told.loc["b", "gap"].tolist() == [0] * 4 + [1, 2, 3, 4, 5] + [0] * 3
    assert told.loc["c", "distance"].isna().tolist() == [True] * 2 + [False] * 10
    assert told.loc["c", "gap"].tolist() == [1, 2] + [0] * 10
    both = imputer.set_params(mode="offline").explain_cells(table).set_index(["feature", "time"])
    assert both.loc["b", "distance"].tolist() == [0] * 4 + [1, 2, 3, 2, 1] + [0] * 3
    assert both.loc["b", "gap"].tolist() == [0] * 4 + [5] * 5 + [0] * 3


@pytest.fixture(scope="module")
def calibrated(fitted):
    fitted.set_params(**{**EDDPMImputer().get_params(), **SETTINGS})
    return copy.copy(fitted).fit_calibration(_table(200, seed=9))


@pytest.mark.parametrize("change", [_with_other_values, _hidden, _shown, _cut])
def test_calibrated_intervals_know_nothing_later(calibrated, change):
    table = _table()
    other = change(table)
    first = calibrated.predict_quantiles(table, LEVELS)
    second = calibrated.predict_quantiles(other, LEVELS)
    kept = first.time.isin(table.index[~_later(table)])
    np.testing.assert_allclose(
        first.sel(time=kept), second.sel(time=first.time[kept]), rtol=0, atol=2e-5
    )
    assert not np.allclose(first, calibrated.predict_quantiles(table, LEVELS, calibrated=False))


def test_a_calibration_belongs_to_its_mode(calibrated):
    other = copy.copy(calibrated).set_params(mode="offline")
    with pytest.raises(InputError, match=r"calibrated for .*mode='online'"):
        other.predict_quantiles(_table(), LEVELS)


def test_the_nearest_reading_before():
    seen = np.array([[False, True, False, False, True, False]]).T
    assert distance_to_observed(seen, past_only=True).ravel().tolist() == [NOWHERE, 0, 1, 2, 0, 1]


@pytest.mark.parametrize("max_gap", [None, 2, "3h"])
@pytest.mark.parametrize("min_observed", [None, 4, 0.5])
def test_a_hole_is_refused_as_if_its_row_were_the_last(max_gap, min_observed):
    refusal = Refusal.read(max_gap, min_observed)
    table = _table(holes=0.5)
    online = refusal.reasons(read_panel(table), 8, 4, "online")[0]
    for row in range(len(table)):
        so_far = read_panel(table.iloc[: row + 1])
        assert list(online[row]) == list(refusal.reasons(so_far, 8, 1)[0][row])


def test_questions_of_several_callers_are_answered_from_the_past(imputer):
    table = _table()
    for method in ("samples", "head"):
        questions = [Question(_table(seed=4), LEVELS), Question(table, LEVELS)]
        answered = quantiles_together(imputer, questions, method=method)[1]
        alone = imputer.predict_quantiles(table, LEVELS, method=method)
        np.testing.assert_allclose(np.stack(answered), alone.values, rtol=0, atol=2e-5)


def test_scores_and_surveys_ask_for_the_past(imputer):
    online = imputer.score(_table())
    assert online != imputer.set_params(mode="offline").score(_table())
    assert np.isfinite(online)


def test_simple_methods_that_look_ahead_are_left_out(imputer):
    pytest.importorskip("statsmodels")
    found = imputer.evaluate(_table(120), "point", period=6)
    assert list(found.overall.index) == ["tsimpute", "last value", "seasonal"]
    for name in ("linear", "Kalman", "IterativeImputer"):
        assert found.notes[name] == "left out: it looks ahead, and mode is 'online'"
    offline = imputer.set_params(mode="offline").evaluate(_table(120), "point", period=6)
    assert "Kalman" in offline.overall.index


def test_gaps_of_hidden_cells_are_counted_so_far(imputer):
    exam = Hiding(0, "block").exam(imputer, read_panel(_table(120)), 6)
    (observed,) = (~np.isnan(values) for values in exam.given_features)
    so_far = gap_lengths(observed, past_only=True)[exam.target_masks[0]]
    np.testing.assert_array_equal(exam.gaps, so_far)
    assert (exam.gaps != gap_lengths(observed)[exam.target_masks[0]]).any()


def test_mode_is_saved_and_an_unknown_one_is_refused(imputer, tmp_path):
    again = load(imputer.save(tmp_path / "model"), device="cpu")
    assert again.mode == "online"
    pd.testing.assert_frame_equal(again.transform(_table()), imputer.transform(_table()))
    with pytest.raises(InputError, match=r"mode='onlin'.*did you mean 'online'"):
        EDDPMImputer(mode="onlin").fit(_table())
    with pytest.raises(InputError, match="mode='past'"):
        imputer.set_params(mode="past").transform(_table())


def test_windows_may_begin_before_a_series():
    values = np.arange(6.0).reshape(3, 2)
    windows, is_real = cut(values, [-2, 1], 4)
    assert is_real.tolist() == [[False, False, True, True], [True, True, False, False]]
    np.testing.assert_array_equal(windows[0, 2:], values[:2])
    assert np.isnan(windows[~is_real]).all()
    with pytest.raises(InputError, match="starts"):
        cut(values, [-4], 4)


def test_noise_before_a_series_is_like_any_other():
    source = BlockNoise(0, [(0, -3), (0, 0)], (2, 6, 1), 1, "cpu")
    early, later = source.draw()
    np.testing.assert_array_equal(early[:, 3:], later[:, :3])
    assert len(np.unique(early)) == early.numel()


# ---- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["online", "offline", "forecast"])
def test_a_stream_is_filled_like_a_table_of_the_past(imputer, mode):
    table = _table()
    wanted = imputer.transform(table)
    imputer.set_params(mode=mode)
    for time, row in table.iterrows():
        filled = imputer.update(row)
        assert filled.name == time
        pd.testing.assert_series_equal(filled[row.notna()], row[row.notna()], check_exact=True)
        np.testing.assert_allclose(filled, wanted.loc[time], rtol=0, atol=2e-5)
    assert len(imputer.stream_[None].values) == 8


def test_a_stream_by_the_head(imputer):
    wanted = imputer.transform(_table(), method="head")
    imputer.set_params(method="head")
    rows = [imputer.update(row) for _, row in _table().iterrows()]
    np.testing.assert_allclose(np.stack(rows), wanted, rtol=0, atol=2e-5)


def test_a_stream_refuses_what_a_table_of_the_past_refuses(imputer):
    table = _table(holes=0.6)
    table.iloc[10:25, 0] = np.nan
    for rules in ({"max_gap": 2, "min_observed": 3}, {"max_gap": 12, "min_observed": None}):
        wanted = imputer.set_params(**rules).reset_stream().transform(table)
        assert wanted.isna().any(axis=None)
        rows = [imputer.update(row) for _, row in table.iterrows()]
        np.testing.assert_allclose(np.stack(rows), wanted, rtol=0, atol=2e-5)
    with pytest.raises(InputError, match=r"max_gap='3h' is a duration.*number of rows"):
        imputer.set_params(max_gap="3h").update(table.iloc[-1])


def test_many_streams_side_by_side(imputer):
    table = _many()
    wanted = imputer.transform(table)
    in_turn = table.sort_index(level="time", kind="stable")
    assert in_turn.index[0][0] != in_turn.index[1][0]
    for i in range(len(in_turn)):
        one = in_turn.iloc[[i]]
        if i % 2:
            filled = imputer.update(one)
            assert filled.index.equals(one.index)
        else:
            filled = imputer.update(one.iloc[0].rename(one.index[0][1]), one.index[0][0])
        np.testing.assert_allclose(np.ravel(filled), wanted.loc[one.index[0]], rtol=0, atol=2e-5)
    again = imputer.reset_stream("q").update(table.loc["q"].iloc[0], "q")
    np.testing.assert_allclose(again, wanted.loc["q"].iloc[0], rtol=0, atol=2e-5)


def _side_table(n_times=40, seed=3, uneven=True):
    """A column that drives the others, at irregular times."""
    rng = np.random.default_rng(seed)
    wind = rng.normal(size=n_times)
    columns = {"a": wind + rng.normal(size=n_times), "wind": wind, "b": rng.normal(size=n_times)}
    minutes = rng.choice([60, 60, 60, 400], size=n_times) if uneven else np.full(n_times, 60)
    times = pd.Timestamp("2026-01-01") + pd.to_timedelta(minutes.cumsum(), unit="min")
    table = pd.DataFrame(columns, times)
    return table.mask((rng.random(table.shape) < 0.3) & (table.columns != "wind"))


@pytest.mark.parametrize("time", ["clock", "steps"])
def test_covariates_calendar_and_clock_know_nothing_later(time):
    table = _side_table(uneven=time == "clock")
    settings = {**SETTINGS, "exogenous": ["wind"], "calendar": ["hour"], "variance": "fixed"}
    imputer = EDDPMImputer(**settings, time=time).fit(table)
    wanted = imputer.transform(table)
    assert not wanted.isna().any(axis=None)
    other = table.copy()
    other.iloc[CUT:] += 3
    same = imputer.transform(other)
    np.testing.assert_array_equal(same[:CUT], wanted[:CUT])
    np.testing.assert_allclose(imputer.transform(table[:CUT]), wanted[:CUT], rtol=0, atol=2e-5)
    rows = [imputer.update(row[["wind", "b", "a"]])[table.columns] for _, row in table.iterrows()]
    np.testing.assert_allclose(np.stack(rows), wanted, rtol=0, atol=2e-5)
    with pytest.raises(InputError, match="wind"):
        imputer.update(table.iloc[-1].rename(table.index[-1] + pd.Timedelta("1h")) * np.nan)


def test_a_row_comes_back_in_its_own_type(imputer):
    row = _table().iloc[3].astype("float32")
    assert row.isna().any()
    expected = imputer.update(row)
    assert expected.dtype == "float32"
    assert not expected.isna().any()
    frame = row.to_frame().T
    as_dict = {name: None if np.isnan(v) else float(v) for name, v in row.items()}
    for given in (frame, as_dict, row.to_numpy(), dict(reversed(as_dict.items()))):
        filled = imputer.reset_stream().update(given)
        assert type(filled) is type(given)
        if isinstance(given, dict):
            assert list(filled) == list(given)
            filled = [filled[name] for name in row.index]
        np.testing.assert_allclose(np.ravel(filled), expected, rtol=1e-5, atol=1e-6)


def test_a_row_in_another_order_of_columns(imputer):
    row = _table().iloc[3]
    expected = imputer.update(row)
    swapped = imputer.reset_stream().update(row[["c", "a", "b"]])
    pd.testing.assert_series_equal(swapped[list("abc")], expected)


def test_a_row_that_does_not_follow_is_refused_and_does_not_count(imputer):
    table = _table()
    for i in range(3):
        imputer.update(table.iloc[i])
    with pytest.raises(InputError, match="02:00:00' does not come after the last one"):
        imputer.update(table.iloc[2])
    with pytest.raises(InputError, match="irregular"):
        imputer.update(table.iloc[5])
    with pytest.raises(InputError, match="no time, but the rows before it have one"):
        imputer.update(table.iloc[3].to_numpy())
    with pytest.raises(InputError, match="unseen at fit time:\n- x"):
        imputer.update(table.iloc[3].rename({"a": "x"}))
    with pytest.raises(InputError, match="2 features"):
        imputer.update(table.iloc[3].to_numpy()[:2])
    with pytest.raises(InputError, match="DataFrame of 2 rows"):
        imputer.update(table.iloc[3:5])
    with pytest.raises(InputTypeError, match="2 dimensions"):
        imputer.update(table.iloc[3:5].to_numpy())
    with pytest.raises(InputError, match="infinity"):
        imputer.update(table.iloc[3].fillna(np.inf))
    with pytest.raises(InputError, match="series='b' has no row"):
        imputer.reset_stream("b")
    wanted = imputer.transform(table.iloc[:4]).iloc[3]
    np.testing.assert_allclose(imputer.update(table.iloc[3]), wanted, rtol=0, atol=2e-5)


def test_a_stream_is_neither_saved_nor_kept_by_a_new_fit(imputer, tmp_path):
    imputer.update(_table().iloc[0])
    assert load(imputer.save(tmp_path / "model"), device="cpu").stream_ == {}
    assert EDDPMImputer(**SETTINGS)._adopt(imputer.model_, imputer.seed_).stream_ == {}
    assert imputer._adopt(imputer.model_, imputer.seed_).stream_ == {}
