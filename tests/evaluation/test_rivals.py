"""Simple methods on hidden cells: what they say, their bounds, and what is told of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tsimpute.evaluation import rivals
from tsimpute.evaluation.baselines import kalman_smoother, linear_interpolation
from tsimpute.evaluation.rivals import RIVALS, Task, ask


@pytest.fixture
def task(rng):
    """Two series of three features; the last is the sum of the others, with a season of 8."""
    series, targets = [], []
    for n in (64, 40):
        wave = np.sin(np.arange(n) * np.pi / 4)
        two = np.stack([wave, rng.normal(size=n)], axis=1)
        series.append(np.column_stack([two, two.sum(axis=1)]))
        targets.append(rng.random((n, 3)) < 0.1)
    given = [np.where(t, np.nan, s) for s, t in zip(series, targets, strict=True)]
    truth = np.concatenate([s[t] for s, t in zip(series, targets, strict=True)])
    return Task(given, targets, period=8), truth


@pytest.mark.parametrize("name", RIVALS)
def test_every_method_answers_every_hidden_cell(task, name):
    pytest.importorskip("statsmodels")
    answer = RIVALS[name](task[0])
    assert answer.mean is not None and answer.mean.shape == task[1].shape
    assert np.isfinite(answer.mean).all()
    assert (answer.sd is None) == (name != "Kalman")


def test_answers_stand_in_the_order_of_the_hidden_cells(task):
    each = [linear_interpolation(values) for values in task[0].given]
    wanted = np.concatenate([v[t] for v, t in zip(each, task[0].target_masks, strict=True)])
    np.testing.assert_array_equal(RIVALS["linear"](task[0]).mean, wanted)


def test_each_method_is_good_at_what_it_knows(task):
    """The season is exact for the wave; the regression knows the sum of the other two."""
    feature = np.concatenate([np.nonzero(t)[1] for t in task[0].target_masks])
    season = np.abs(RIVALS["seasonal"](task[0]).mean - task[1])[feature == 0]
    assert np.median(season) < 1e-9
    regressed = np.abs(RIVALS["IterativeImputer"](task[0]).mean - task[1])
    assert np.median(regressed[feature > 0]) < 0.05


def test_what_cannot_be_used_says_why(task):
    given = [values[:, :1] for values in task[0].given]
    one = Task(given, [t[:, :1] for t in task[0].target_masks])
    assert RIVALS["seasonal"](one).mean is None
    assert "pass period" in RIVALS["seasonal"](one).note
    long = Task(given, one.target_masks, period=33)
    assert "as two seasons of 33" in RIVALS["seasonal"](long).note
    assert "one feature only" in RIVALS["IterativeImputer"](one).note


def test_kalman_is_smoothed_piece_by_piece_and_only_where_cells_are_hidden(task, monkeypatch):
    pytest.importorskip("statsmodels")
    monkeypatch.setattr(rivals, "KALMAN_ROWS", 32)
    target = np.zeros((64, 3), dtype=bool)
    target[40:43, 1] = True
    values = np.where(target, np.nan, np.nan_to_num(task[0].given[0]))
    answer = RIVALS["Kalman"](Task([values], [target]))
    piece = kalman_smoother(values[32:64, 1:2], maxiter=rivals.KALMAN_ITERATIONS)
    np.testing.assert_allclose(answer.mean, piece.mean[8:11, 0])
    np.testing.assert_allclose(answer.sd, piece.sd[8:11, 0])
    assert answer.note == "in pieces of 32 rows"


def test_kalman_stops_in_time_and_says_so(task, monkeypatch):
    monkeypatch.setattr(rivals, "KALMAN_SECONDS", -1.0)
    answer = RIVALS["Kalman"](task[0])
    np.testing.assert_array_equal(answer.mean, RIVALS["linear"](task[0]).mean)
    assert "0 of 6 models fitted; linear interpolation for the rest" in answer.note


def test_without_statsmodels_kalman_is_left_out(task, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "statsmodels.tsa.statespace.structural", None)
    answer = RIVALS["Kalman"](task[0])
    assert answer.mean is None and "tsimpute[baselines]" in answer.note


def test_regression_learns_from_a_bounded_number_of_rows(task, monkeypatch):
    monkeypatch.setattr(rivals, "TABLE_ROWS", 50)
    answer = RIVALS["IterativeImputer"](task[0])
    assert answer.note == "learned from 50 rows" and np.isfinite(answer.mean).all()


@pytest.mark.parametrize("name", RIVALS)
def test_from_the_past_alone_no_later_value_changes_an_answer(task, name):
    asked = replace(task[0], past_only=True)
    earlier = np.concatenate([np.nonzero(t)[0] < 25 for t in asked.target_masks])
    before = ask(name, asked)
    if before.mean is None:
        assert before.note == "it looks ahead, and mode is 'online'"
        assert name in ("linear", "Kalman", "IterativeImputer")
        return
    for later in (5.0, np.nan):
        rows = [np.arange(len(values))[:, None] >= 25 for values in asked.given]
        given = [
            np.where(row & ~np.isnan(values), later, values)
            for row, values in zip(rows, asked.given, strict=True)
        ]
        after = ask(name, replace(asked, given=given))
        np.testing.assert_array_equal(after.mean[earlier], before.mean[earlier])
        assert (after.mean[~earlier] != before.mean[~earlier]).any()


def test_from_the_past_alone_the_last_value_and_the_season_are_those_before():
    values = np.array([[np.nan], [1.0], [2.0], [np.nan], [4.0], [np.nan], [7.0]])
    target = np.isnan(values)
    asked = Task([values], [target], period=3, past_only=True)
    assert ask("last value", asked).mean.tolist() == [0, 2, 4]
    assert ask("seasonal", asked).mean.tolist() == [0, 2, 2]  # row 3 has no season before it
