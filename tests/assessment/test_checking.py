"""A fitted imputer calibrates its intervals, reports on them, and compares itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tsimpute import EDDPMImputer, load
from tsimpute.assessment import selfcheck
from tsimpute.assessment.calibration import Hiding, held_out_panel
from tsimpute.errors import InputError
from tsimpute.evaluation.calibrations import NO_CALIBRATIONS, Calibrations
from tsimpute.evaluation.conformal import GRID
from tsimpute.evaluation.metrics import CRPS_LEVELS, mae, quantile_crps_from_quantiles, rmse
from tsimpute.fitting.fit import data_plan
from tsimpute.panel.containers import read_panel
from tsimpute.sampling.answers import cell_quantiles
from tsimpute.sampling.batching import Question, quantiles_together
from tsimpute.sampling.choices import Choice
from tsimpute.training.setup import make_sources

SIZE = {"window_steps": 12, "diffusion_steps": 10, "channels": 8, "layers": 1, "heads": 2}
RUN = {"kept_steps": 3, "n_samples": 8, "epochs": 1, "variance": "fixed", "device": "cpu"}
QUIET = {"random_state": 0, "verbose": 0}
LEVELS = (0.001, 0.05, 0.07, 0.25, 0.5, 0.75, 0.95, 0.999)


def _table(n=300, seed=0, holes=0.1):
    t, rng = np.arange(n), np.random.default_rng(seed)
    index = pd.date_range("2026-01-01", periods=n, freq="6h")
    df = pd.DataFrame({"x": np.sin(t / 5), "y": 50 + 9 * np.cos(t / 7)}, index=index)
    df += rng.normal(size=df.shape) * [0.1, 3.0]
    return df.mask(rng.random(df.shape) < holes)


@pytest.fixture(scope="module")
def imputer():
    """Calibrated at the end of its fit."""
    return EDDPMImputer(**SIZE, **RUN, **QUIET, calibrate=True, validation_fraction=0.4).fit(
        _table()
    )


@pytest.fixture
def own(imputer):
    """A copy for a test that changes it."""
    return EDDPMImputer(**imputer.get_params())._adopt(imputer.model_, imputer.seed_)


# ------------------------------------------------------------------------------- calibration


def test_calibrated_intervals_cover_new_cells_as_often_as_they_say(own):
    """The network is hardly trained, so that its own intervals are far too wide or narrow."""
    own.fit_calibration(_table(1500, seed=1, holes=0.02), random_state=1, max_windows=1000)
    report = own.calibration_report(
        _table(1500, seed=2, holes=0.02), levels=(0.5, 0.9), max_windows=300
    )
    overall = report[report["by"] == "all"].set_index(["calibrated", "level"])["coverage"]
    assert abs(overall[False, 0.9] - 0.9) > 0.05
    assert overall[True, 0.9] == pytest.approx(0.9, abs=0.04)
    assert overall[True, 0.5] == pytest.approx(0.5, abs=0.07)
    features = report.query("by == 'feature' and calibrated and level == 0.9")
    assert list(features["group"]) == ["x", "y"]
    assert (features["coverage"] - 0.9).abs().max() < 0.06


def test_the_median_and_observed_cells_stay_and_levels_do_not_cross(imputer):
    df = _table(60, seed=3)
    raw = imputer.predict_quantiles(df, LEVELS, calibrated=False).values
    found = imputer.predict_quantiles(df, LEVELS).values
    assert (np.diff(found, axis=0) >= 0).all()
    np.testing.assert_array_equal(found[4], raw[4])
    seen = df.notna().to_numpy()
    assert (found[:, seen] == df.to_numpy()[seen]).all()
    assert not np.allclose(found[1][~seen], raw[1][~seen])
    np.testing.assert_allclose(imputer.predict_quantiles(df, [0.05]).values[0], found[1])


def test_each_cell_gets_the_factor_of_its_feature_and_distance(own):
    """With a factor of a half in one feature at distance 1 only, these cells alone change."""
    (calibration,) = own.model_.calibrations
    factors = np.ones_like(calibration.factors)
    factors[1, 0, : GRID.index(0.5)] = 0.5
    changed = Calibrations((replace(calibration, factors=factors),))
    own.model_ = replace(own.model_, calibrations=changed)
    df = _table(40, seed=4, holes=0)
    df.iloc[5], df.iloc[15:19] = np.nan, np.nan
    low, middle, high = own.predict_quantiles(df).values
    raw_low, _, raw_high = own.predict_quantiles(df, calibrated=False).values
    np.testing.assert_allclose(high, raw_high)
    near = np.zeros(df.shape, dtype=bool)
    near[[5, 15, 18], 1] = True
    np.testing.assert_allclose(low[~near], raw_low[~near])
    np.testing.assert_allclose((middle - low)[near], (middle - raw_low)[near] / 2)


def test_calibration_uses_rows_that_training_has_not_seen(imputer):
    df = _table()
    panel = read_panel(df)
    held = held_out_panel(imputer, panel, 12, imputer.seed_)
    rng = np.random.default_rng([imputer.seed_, 1])
    training, _ = make_sources(panel.values, data_plan(imputer), rng)
    trained = {row for _, start in training.places(None) for row in range(start, start + 12)}
    held_rows = {df.index.get_loc(time) for times in held.times for time in times}
    assert len(held_rows) > 100 and not trained & held_rows
    for values, times in zip(held.values, held.times, strict=True):
        np.testing.assert_array_equal(values, df.loc[times].to_numpy())
    n_rounds = 8
    most = n_rounds * (0.1 * sum(v.size for v in held.values) + 60)
    (calibration,) = imputer.model_.calibrations
    assert 0 < calibration.n_cells.sum() < most


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_fraction": 0.0}, "calibrate=True needs rows that training does not see"),
        ({"method": "head"}, "calibrate=True cannot be used with method='head'"),
        ({"start": "marginals"}, "calibrate=True cannot be used with start='marginals'"),
        ({"sampler": "ggdm"}, "calibrate=True cannot be used with sampler='ggdm'"),
        ({"calibrate": "yes"}, "calibrate='yes'; expected True or False"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_before_training(changes, message, monkeypatch):
    monkeypatch.setattr("tsimpute.fitting.fit.train_from_scratch", None)
    with pytest.raises(InputError, match=message):
        EDDPMImputer(**SIZE, **{**RUN, **QUIET, "calibrate": True, **changes}).fit(_table())


def test_another_way_to_sample_is_refused_unless_it_is_wanted_uncalibrated(own):
    df = _table(40)
    with pytest.raises(InputError, match=r"calibrated for .*2m-sde'.*='ddim'.*fit_calibration"):
        own.predict_quantiles(df, sampler="ddim")
    with pytest.raises(InputError, match="variance='large'"):
        quantiles_together(own.set_params(variance="large"), [Question(df, [0.5])])
    assert own.predict_quantiles(df, sampler="ddim", calibrated=False).shape == (3, 40, 2)
    assert own.transform(df).notna().all(axis=None)  # the median is not calibrated
    own.fit_calibration(_table(100), max_windows=20)
    assert [c.way["variance"] for c in own.model_.calibrations] == ["fixed", "large"]
    assert np.isfinite(own.predict_quantiles(df)).all()


def test_another_way_to_sample_can_be_tested_and_explained_uncalibrated(own):
    df = _table(60)
    calibrated = own.score(df)
    usual = own.sampler
    own.set_params(sampler="ddim")
    asks = {
        "evaluate": {"methods": ["linear"]},
        "calibration_report": {},
        "explain_cells": {},
    }
    for name, options in asks.items():
        with pytest.raises(InputError, match=r"or pass calibrated=False"):
            getattr(own, name)(df, **options)
    plain = EDDPMImputer(**own.get_params())
    plain._adopt(replace(own.model_, calibrations=NO_CALIBRATIONS), own.seed_)
    for name, options in asks.items():
        found = getattr(own, name)(df, **options, calibrated=False)
        wanted = getattr(plain, name)(df, **options)
        found, wanted = (getattr(one, "overall", one) for one in (found, wanted))
        columns = [column for column in wanted if column != "model_id"]
        pd.testing.assert_frame_equal(found[columns], wanted[columns])
    assert own.score(df) == plain.score(df)
    assert plain.set_params(sampler=usual).score(df) != calibrated
    explained = own.explain_cells(df, sampler=usual)  # named in the call, as it was calibrated
    assert explained["width_90"].notna().all()


def test_a_calibration_goes_when_what_it_was_learned_with_changes(own):
    df, first = _table(120), own.model_.calibrations
    assert len(first) == 1 and not own.respace("uniform", 2).model_.calibrations
    own.fit_marginals(df, iterations=1).fit_variance(df, "analytic", n_batches=2)
    own.fit_sampler(df, "tdas")
    assert own.model_.calibrations == first  # it knows nothing of these
    own.set_params(variance="analytic").fit_calibration(df, max_windows=10)
    assert len(own.model_.calibrations) == 2
    own.fit_variance(df, "analytic", n_batches=2)
    assert own.model_.calibrations == first
    own.set_params(method="head").fit_calibration(df, max_windows=10)
    kept, head = own.model_.calibrations
    assert (kept,) == first.members and head.way == {"method": "head"} and head.n_samples == 0
    wide = own.predict_quantiles(df, (0.05, 0.95)).values
    assert not np.allclose(wide, own.predict_quantiles(df, (0.05, 0.95), calibrated=False).values)
    own.fit_marginals(df, iterations=1)
    assert own.model_.calibrations == first


def test_each_way_to_make_quantiles_keeps_its_own_calibration(own, tmp_path):
    df = _table(60, seed=3)
    sampled = own.predict_quantiles(df).values
    own.fit_marginals(_table(120), iterations=1)
    with pytest.raises(InputError, match=r"method='head'.*fit_calibration.*keeps the others"):
        own.predict_quantiles(df, method="head")
    own.set_params(method="head").fit_calibration(_table(120), max_windows=10)
    again = load(own.save(tmp_path / "model"), device="cpu").set_params(verbose=0)
    for one in (own, again):
        head = one.predict_quantiles(df).values
        raw = one.predict_quantiles(df, calibrated=False).values
        assert not np.allclose(head, raw)
        np.testing.assert_array_equal(one.predict_quantiles(df, method="samples").values, sampled)
    own.fit_calibration(_table(120, seed=1), max_windows=10)  # of the head again
    assert len(own.model_.calibrations) == 2
    assert not np.array_equal(own.predict_quantiles(df).values, head)


@pytest.mark.parametrize(("method", "max_windows"), [("samples", 256), ("head", 1024)])
def test_a_head_is_calibrated_on_more_windows(own, method, max_windows):
    df = _table(1200)
    own.fit_marginals(df, iterations=1).set_params(method=method, n_samples=2)
    cells = []
    for asked in ({}, {"max_windows": max_windows}, {"max_windows": 512}):
        members = own.fit_calibration(df, **asked).model_.calibrations.members
        cells += [int(one.n_cells.sum()) for one in members if one.way["method"] == method]
    assert cells[0] == cells[1]
    assert (cells[0] > cells[2]) == (method == "head")


def test_pruning_calibrates_again_where_fitting_did(own):
    own.prune(_table(), kept_steps=2)
    assert len(own.model_.grid) == 2 and len(own.model_.calibrations) == 1
    with pytest.warns(UserWarning, match=r"no longer calibrated.*fit_calibration") as caught:
        own.set_params(calibrate=False).prune(_table(), kept_steps=1)
    assert not own.model_.calibrations
    assert caught[0].filename == __file__


def test_a_saved_model_gives_the_same_calibrated_quantiles(imputer, tmp_path):
    df = _table(60, seed=3)
    again = load(imputer.save(tmp_path / "model"), device="cpu")
    np.testing.assert_array_equal(
        again.predict_quantiles(df, LEVELS), imputer.predict_quantiles(df, LEVELS)
    )


def test_several_callers_get_the_calibrated_quantiles_of_a_single_one(imputer):
    tables = [_table(40, seed=5), pd.concat({"p": _table(20), "q": _table(30, seed=6)})]
    together = quantiles_together(imputer, [Question(df, (0.05, 0.9)) for df in tables])
    for df, levels in zip(tables, together, strict=True):
        for level, found in zip((0.05, 0.9), levels, strict=True):
            panel = read_panel(df)
            alone = imputer.predict_quantiles(df, [level]).values[0]
            wanted = panel.values if alone.ndim == 3 else [alone]
            if alone.ndim == 3:
                wanted = [a[: len(v)] for a, v in zip(alone, panel.values, strict=True)]
            np.testing.assert_allclose(found.to_numpy(), np.concatenate(wanted), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "points"}, "pattern='points' is unknown; expected one of .* mean 'point'"),
        ({"hidden_fraction": 1.0}, "hidden_fraction=1.0 cannot be used; expected a share"),
        ({"max_windows": 0}, "max_windows=0 cannot be used"),
        ({"hidden_fraction": 1e-9}, "of the observed cells is not one cell"),
    ],
)
def test_bad_hidings_are_refused(imputer, options, message):
    for ask in (imputer.fit_calibration, imputer.calibration_report, imputer.evaluate):
        with pytest.raises(InputError, match=message):
            ask(_table(60, holes=0.1), **{"pattern": "point", **options})


# ------------------------------------------------------------------------------------ report


def test_the_report_counts_what_quantiles_of_the_hidden_cells_give(imputer):
    df = _table(100, seed=7)
    report = imputer.calibration_report(df, levels=(0.8,), pattern="point")
    exam = Hiding(imputer.seed_, "point").exam(imputer, read_panel(df), 5)
    (hidden,) = exam.target_masks
    given = df.mask(hidden)
    for kind in (False, True):
        low, high = imputer.predict_quantiles(given, (0.1, 0.9), calibrated=kind).values
        inside = (low <= df.to_numpy()) & (df.to_numpy() <= high)
        rows = report[report["calibrated"] == kind].set_index(["by", "group"])
        assert rows.loc[("all", "all"), "coverage"] == pytest.approx(inside[hidden].mean())
        assert rows.loc[("all", "all"), "n"] == hidden.sum()
        for place, name in enumerate(df.columns):
            own = hidden[:, place]
            assert rows.loc[("feature", name), "coverage"] == inside[own, place].mean()
            width = (high - low)[own, place].mean() / imputer.model_.scaler.scale[place]
            assert rows.loc[("feature", name), "width"] == pytest.approx(width, rel=1e-5)
        for by in ("feature", "distance", "gap length"):
            assert rows.loc[by, "n"].sum() == hidden.sum()
    with pytest.raises(InputError, match=r"levels=\[1.5\] cannot be used"):
        imputer.calibration_report(df, levels=[1.5])


def test_the_report_hides_other_cells_than_the_calibration(imputer):
    panel = read_panel(_table(100, seed=7, holes=0))
    hiding = Hiding(imputer.seed_)
    one = hiding.exam(imputer, panel, 4, 0).target_masks[0]
    for stream in ((4, 1), (5,), (6,)):
        assert not np.array_equal(one, hiding.exam(imputer, panel, *stream).target_masks[0])


def test_an_uncalibrated_model_has_a_report_without_calibrated_rows(own):
    own.model_ = replace(own.model_, calibrations=NO_CALIBRATIONS)
    report = own.calibration_report(_table(60))
    assert not report["calibrated"].any()
    assert sorted(set(report["level"])) == [0.5, 0.8, 0.9, 0.95]


# -------------------------------------------------------------------------------- self-check


def test_a_simple_method_that_wins_is_named_with_the_place(own):
    """Straight lines: interpolation is exact, and no network is."""
    df = _table(400, holes=0)
    df["x"] = np.linspace(-1, 1, len(df))
    found = own.evaluate(
        df, "block", methods=["last value", "linear"], hidden_fraction=0.3, max_windows=200
    )
    assert list(found.overall.index) == ["tsimpute", "last value", "linear"]
    assert found.by_feature.loc[("x", "linear"), "MAE"] < 0.05  # not 0 at the ends
    assert found.overall["n"].nunique() == 1
    assert "By MAE a simple method wins clearly in " in found.text
    assert "x (linear " in str(found)
    assert np.isnan(found.overall.loc["linear", "coverage_90"])
    assert 0 <= found.overall.loc["tsimpute", "coverage_90"] <= 1


def test_all_methods_are_scored_on_the_same_hidden_cells(imputer):
    df = _table(80, seed=8)
    found = imputer.evaluate(df, methods=["linear", "seasonal", "IterativeImputer"])
    exam = Hiding(imputer.seed_, "like-data", max_windows=64).exam(imputer, read_panel(df), 6)
    (hidden,) = exam.target_masks
    linear = pd.DataFrame(np.where(hidden, np.nan, df)).interpolate().bfill().to_numpy()
    scale = imputer.model_.scaler.scale
    error = (np.abs(linear - df.to_numpy()) / scale)[hidden].mean()
    assert found.overall.loc["linear", "MAE"] == pytest.approx(error)
    assert found.overall.loc["linear", "CRPS"] == pytest.approx(error)
    given = df.mask(hidden)
    (middle,) = imputer.predict_quantiles(given, [0.5]).values
    own = (np.abs(middle - df.to_numpy()) / scale)[hidden].mean()
    assert found.overall.loc["tsimpute", "MAE"] == pytest.approx(own, rel=1e-5)
    assert found.notes["seasonal"] == "with a season of 4 rows"  # a day of 6-hourly rows
    assert found.by_gap["n"].groupby("method").sum().tolist() == [hidden.sum()] * 4


def test_what_is_left_out_is_said(imputer):
    found = imputer.evaluate(_table(60).reset_index(drop=True), "point", methods=["seasonal"])
    assert found.notes == {
        "seasonal": "left out: no season is known: pass period, its length in rows"
    }
    assert "There is no simple method to compare with" in found.text
    with pytest.raises(InputError, match=r"methods='liner' is unknown.* mean 'linear'"):
        imputer.evaluate(_table(60), methods=["liner"])
    with pytest.raises(InputError, match="period=0 cannot be used"):
        imputer.evaluate(_table(60), period=0)
    with pytest.raises(InputError, match="these data have none; pass pattern='point'"):
        imputer.evaluate(_table(60, holes=0))


def test_losses_are_those_of_the_metrics(rng):
    quantiles, truth = np.sort(rng.normal(size=(19, 50)), axis=0), rng.normal(size=50)
    everywhere = np.ones(50, dtype=bool)
    means = selfcheck.cell_losses(quantiles, truth).mean()
    assert means["MAE"] == pytest.approx(mae(quantiles[9], truth, everywhere))
    assert means["RMSE"] ** 0.5 == pytest.approx(rmse(quantiles[9], truth, everywhere))
    crps = quantile_crps_from_quantiles(quantiles, CRPS_LEVELS, truth, everywhere)
    assert means["CRPS"] == pytest.approx(crps * np.abs(truth).mean())
    inside = (quantiles[0] <= truth) & (truth <= quantiles[18])
    assert means["coverage_90"] == inside.mean()


def test_words_tell_better_from_worse_and_from_unclear(rng):
    def losses(values):
        return pd.DataFrame({"MAE": values, "CRPS": values})

    noise = rng.random(400)
    groups = [("all", "all", np.ones(400, dtype=bool)), ("feature", "a", np.arange(400) < 200)]
    groups += [("feature", "few", np.arange(400) > 395), ("gap length", "1", np.arange(400) < 300)]

    def told(own):
        return "\n".join(
            selfcheck._sentences({"tsimpute": losses(own), "linear": losses(noise)}, groups)
        )

    assert "tsimpute is better than linear, the best simple method by MAE" in told(noise - 0.1)
    assert "By MAE no simple method wins clearly in any of 1 features" in told(noise - 0.1)
    assert "tsimpute is not clearly different from linear" in told(rng.permutation(noise))
    worse = told(noise + 0.1)
    assert "tsimpute is worse than linear, the best simple method by CRPS" in worse
    assert "wins clearly in 1 of 1 features with 20 cells or more: a (linear 0." in worse


@pytest.mark.parametrize(
    ("freq", "rows"),
    [
        ("h", 24),
        ("15min", 96),
        ("D", 7),
        ("W-SAT", 52),
        ("MS", 12),
        ("QS", 4),
        ("2D", None),
        ("18h", None),
    ],
)
def test_the_season_is_told_by_the_time_labels(freq, rows):
    table = pd.DataFrame(
        {"a": np.ones(30)}, index=pd.date_range("2026-01-01", periods=30, freq=freq)
    )
    assert selfcheck.season_rows(read_panel(table)) == rows
    assert selfcheck.season_rows(read_panel(table.reset_index(drop=True))) is None


def test_only_windows_with_hidden_cells_are_sampled_and_each_as_for_the_user(imputer):
    df = _table(200, seed=9)
    hiding = Hiding(imputer.seed_, "point", max_windows=4)
    exam = hiding.exam(imputer, read_panel(df), 1)
    assert exam.n_windows <= 6
    found = cell_quantiles(imputer, exam.given, exam.target_masks, Choice(), [0.95])
    found = exam.within_range(imputer.model_, found)
    (hidden,) = exam.target_masks
    (whole,) = imputer.predict_quantiles(df.mask(hidden), [0.95]).values
    scaled = imputer.model_.scaler.transform(whole)[hidden]
    np.testing.assert_allclose(found[0], scaled, rtol=1e-5)
