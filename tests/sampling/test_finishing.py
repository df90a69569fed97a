"""Constraints, learned scaling, refusal, provenance and multiple imputation, on small real fits."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.exceptions import NotFittedError

from tsimpute import EDDPMImputer, load, pool
from tsimpute.assessment.calibration import Hiding
from tsimpute.assessment.hidden_answers import answered_quantiles
from tsimpute.errors import InputError
from tsimpute.evaluation.metrics import CRPS_LEVELS, quantile_crps_from_quantiles
from tsimpute.panel.containers import read_panel
from tsimpute.panel.gaps import gap_lengths
from tsimpute.sampling.answers import cell_quantiles
from tsimpute.sampling.batching import Question, quantiles_together
from tsimpute.sampling.choices import Choice
from tsimpute.sampling.finishing import Finish
from tsimpute.sampling.inference import sample_windows

TINY: dict[str, Any] = {
    "window_steps": 12,
    "kept_steps": 3,
    "n_samples": 6,
    "epochs": 1,
    "diffusion_steps": 10,
    "channels": 8,
    "layers": 1,
    "heads": 2,
    "random_state": 0,
    "verbose": 0,
    "variance": "fixed",
    "device": "cpu",
}
RULES: dict[str, Any] = {
    "bounds": {"gcs": (3, 15), "dia": (40, None)},
    "integers": ("gcs",),
    "order": (("dia", "map", "sys"),),
}
LEVELS = (0.01, 0.05, 0.5, 0.95, 0.99)
METHODS = ("samples", "head")


def ward(n_times: int = 150, seed: int = 0) -> pd.DataFrame:
    """Blood pressures that are in order, and a score of whole numbers, with holes."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_times)
    low = 60 + 5 * np.sin(t / 6) + 2 * rng.normal(size=n_times)
    columns = {
        "sys": low + 3 + rng.exponential(6, n_times),
        "gcs": np.rint(9 + 6 * np.sin(t / 9)),
        "dia": low,
        "map": low + 1,
    }
    df = pd.DataFrame(columns, pd.date_range("2026-01-01", periods=n_times, freq="h"))
    hidden = rng.random(df.shape) < 0.3
    hidden[9:17, 2] = [False, *[True] * 6, False]
    return df.mask(hidden)


@pytest.fixture(scope="module")
def plain() -> EDDPMImputer:
    """Knows of no rule; `with_rules` gives it some."""
    return EDDPMImputer(**TINY).fit(ward()).fit_marginals(ward(), iterations=20)


def with_rules(imputer: EDDPMImputer, **rules: Any) -> EDDPMImputer:
    return copy.copy(imputer).set_params(**rules)


def containers() -> dict[str, Any]:
    df = ward()
    long = pd.concat({"p": ward(40, 1), "q": ward(25, 2)}, names=["stay", "time"])
    array = xr.DataArray(df, dims=("time", "feature"))
    return {
        "frame": df,
        "other order": df[["map", "gcs", "sys", "dia"]],
        "many": long,
        "array": df.to_numpy(),
        "stack": np.stack([ward(30, s).to_numpy() for s in range(2)]),
        "xarray": array,
        "dataset": df.rename_axis("time").to_xarray(),
    }


def cells(found: Any) -> dict[str, np.ndarray]:
    """Values by column, whatever the container; plain arrays are in the model's order."""
    if isinstance(found, pd.DataFrame | xr.Dataset):
        return {name: found[name].to_numpy() for name in ward()}
    if (
        isinstance(found, xr.DataArray)
        and found.dims[-1] == "feature"
        and "feature" in found.coords
    ):
        return {name: found.sel(feature=name).to_numpy() for name in ward()}
    return {name: np.asarray(found)[..., k] for k, name in enumerate(ward())}


def kind_of_many(data: Any) -> bool:
    return isinstance(data, pd.DataFrame) and data.index.nlevels == 2


def breaches(found: Any, given: Any) -> dict[str, int]:
    """Imputed cells that break a rule of RULES."""
    if kind_of_many(given) and not isinstance(found, pd.DataFrame):
        given = given.to_xarray()  # on the union of the times, as samples and quantiles are
    values, holes = cells(found), {name: np.isnan(x) for name, x in cells(given).items()}
    gcs, dia, mean, sys = (values[name] for name in ("gcs", "dia", "map", "sys"))
    hole = holes["gcs"]
    lawful = (gcs >= 3) & (gcs <= 15) & (gcs == np.rint(gcs))
    free_low, free_high = holes["dia"] | holes["map"], holes["map"] | holes["sys"]
    return {
        "gcs": int((~lawful & hole & ~np.isnan(gcs)).sum()),
        "dia": int(((dia < 40) & holes["dia"]).sum()),
        "low": int(((dia > mean) & free_low).sum()),
        "high": int(((mean > sys) & free_high).sum()),
    }


NONE = {"gcs": 0, "dia": 0, "low": 0, "high": 0}

# ---- constraints -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", containers())
@pytest.mark.parametrize("method", METHODS)
def test_every_answer_obeys_in_every_container(plain: EDDPMImputer, kind: str, method: str) -> None:
    data = containers()[kind]
    imputer = with_rules(plain, **RULES)
    filled = imputer.transform(data, method=method)
    assert type(filled) is type(data)
    assert breaches(filled, data) == NONE
    quantiles = imputer.predict_quantiles(data, LEVELS, method=method)
    assert breaches(quantiles, data) == NONE
    assert not (quantiles.diff("quantile") < 0).any()
    samples = imputer.sample(data, 4, marginals=method)
    assert breaches(samples, data) == NONE


def test_without_rules_they_are_broken(plain: EDDPMImputer) -> None:
    found = breaches(plain.sample(ward(), 4), ward())
    assert min(found["gcs"], found["low"], found["high"]) > 0


def test_observed_cells_stay_though_they_break_a_rule(plain: EDDPMImputer) -> None:
    df = ward()
    df.iloc[5] = [70.0, 20.5, 90.0, np.nan]  # sys below dia, and a gcs that cannot be
    filled = with_rules(plain, **RULES).transform(df)
    assert filled.iloc[5, :3].tolist() == [70.0, 20.5, 90.0]
    assert 70 <= filled.iloc[5, 3] <= 90


def test_rules_by_position_for_arrays() -> None:
    rules = {"bounds": {1: (3, 15)}, "integers": [1], "order": [[2, 3, 0]]}
    imputer = EDDPMImputer(**TINY, **rules).fit(ward().to_numpy())
    found = imputer.sample(ward().to_numpy(), 3)
    assert breaches(found, ward().to_numpy()) | {"dia": 0} == NONE


def test_rules_are_saved_with_the_model(tmp_path: Path) -> None:
    rules = {**RULES, "bounds": {"gcs": (3, 15), "sys": (None, np.inf)}, "max_gap": "5h"}
    given = {**TINY, **rules, "scaling": {"sys": "log", "map": "rank"}}
    imputer = EDDPMImputer(**given).fit(ward())
    again = load(imputer.save(tmp_path / "model"), device="cpu")
    pd.testing.assert_frame_equal(again.transform(ward()), imputer.transform(ward()))
    assert again.model_id_ == imputer.model_id_
    for imputer in (again, again.prune(ward(), kept_steps=2)):
        assert imputer.transform(ward())["dia"].isna().sum() == 6


def test_positions_are_saved_too(tmp_path: Path) -> None:
    rules = {"bounds": {1: (3, 15)}, "max_gap": pd.Timedelta("1D"), "scaling": {0: "log"}}
    imputer = EDDPMImputer(**TINY, **(rules | {"max_gap": 5})).fit(ward().to_numpy())
    again = load(imputer.save(tmp_path / "model"), device="cpu")
    np.testing.assert_array_equal(again.transform(ward().to_numpy())[:, 1] < 3, False)
    assert again.model_id_ == imputer.model_id_


def test_callers_that_share_a_batch_get_the_same_numbers(plain: EDDPMImputer) -> None:
    imputer = with_rules(plain, **RULES, max_gap="5h", min_observed=2)
    frames = [ward(40), ward(30, 3)]
    for method in METHODS:
        questions = [Question(frame, LEVELS, random_state=i) for i, frame in enumerate(frames)]
        together = quantiles_together(imputer, questions, method=method)
        for i, (frame, found) in enumerate(zip(frames, together, strict=True)):
            alone = imputer.predict_quantiles(frame, LEVELS, random_state=i, method=method)
            assert found is not None
            for k, answer in enumerate(found):
                np.testing.assert_allclose(answer, alone[k], rtol=1e-4)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"bounds": {"gsc": (3, 15)}}, "bounds names column 'gsc'.*'gcs'"),
    "broken by the data": ({"bounds": {"gcs": (9, 15)}}, "'gcs' has .* outside its bounds 9 to 15"),
    "gap": ({"max_gap": "soon"}, "max_gap='soon'"),
    "observed": ({"min_observed": 12}, "min_observed=12.*12 rows"),
    "scaling": ({"scaling": "sqrt"}, "scaling='sqrt'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_fit_names_what_cannot_be(case: str) -> None:
    asked, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        EDDPMImputer(**TINY, **asked).fit(ward())


def test_rules_set_after_the_fit_are_checked_before_sampling(plain: EDDPMImputer) -> None:
    with pytest.raises(InputError, match="integers names column 'x'"):
        with_rules(plain, integers=["x"]).sample(ward(), 10**9)


# ---- learned scaling ---------------------------------------------------------------------------


def skewed(n_times: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    level = np.zeros(n_times)
    for i in range(1, n_times):
        level[i] = 0.9 * level[i - 1] + 0.44 * rng.normal()
    other = level + 0.3 * rng.normal(size=n_times)
    return pd.DataFrame({"rain": np.exp(1.5 * level), "flow": np.exp(1.5 * other)})


def crps(imputer: EDDPMImputer, df: pd.DataFrame, hidden: np.ndarray) -> float:
    found = imputer.predict_quantiles(df.mask(hidden), CRPS_LEVELS).to_numpy()
    return quantile_crps_from_quantiles(found, CRPS_LEVELS, df.to_numpy(), hidden)


@pytest.mark.slow
def test_skewed_columns_are_imputed_better_by_their_logarithm(rng: np.random.Generator) -> None:
    df = skewed()
    hidden = rng.random(df.shape) < 0.2
    small = TINY | {"epochs": 60, "learning_rate": 3e-3, "channels": 16, "n_samples": 20}
    standard = EDDPMImputer(**small).fit(df.mask(hidden))
    scaled = EDDPMImputer(**small, scaling="log").fit(df.mask(hidden))
    assert crps(scaled, df, hidden) < 0.97 * crps(standard, df, hidden)


@pytest.mark.parametrize("scaling", ["log", "rank"])
def test_a_logarithm_keeps_the_imputed_values_above_its_offset(scaling: str) -> None:
    df = skewed(200).mask(np.random.default_rng(0).random((200, 2)) < 0.3)
    imputer = EDDPMImputer(**TINY, scaling=scaling, anchor="none").fit(df)
    filled = imputer.transform(df)
    seen = df.notna().to_numpy()
    assert (filled.to_numpy()[seen] == df.to_numpy()[seen]).all()
    assert np.isfinite(filled).all().all()
    low = imputer.model_.scaler.inverse(imputer.model_.clamp_range()[0].numpy())
    assert (filled.to_numpy() >= low).all()
    assert np.isfinite(imputer.score(df))


# ---- refusal -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", containers())
@pytest.mark.parametrize("method", METHODS)
def test_long_gaps_stay_open_in_every_answer(plain: EDDPMImputer, kind: str, method: str) -> None:
    data = containers()[kind]
    imputer = with_rules(plain, max_gap=5, **RULES)
    filled, without = cells(imputer.transform(data)), cells(plain.transform(data))
    long = {name: np.isnan(values) for name, values in filled.items()}
    assert long["dia"].sum() > 0 and not np.isnan(without["dia"]).any()
    for answer in (
        imputer.predict_quantiles(data, LEVELS, method=method),
        imputer.sample(data, 3, marginals=method),
    ):
        n_open = int(np.isnan(answer.to_numpy()).sum())
        padding = int(np.isnan(plain.predict_quantiles(data, [0.5]).to_numpy()).sum())
        assert n_open == len(answer) * (sum(x.sum() for x in long.values()) + padding)


def test_a_window_with_too_little_of_a_feature_is_left_open(plain: EDDPMImputer) -> None:
    df = ward()
    df.iloc[60:100, 0] = np.nan
    found = with_rules(plain, min_observed=0.25).transform(df)
    assert found["sys"].iloc[70:90].isna().all()
    assert not found.drop(columns="sys").isna().any().any()


def test_nullable_columns_hold_na_where_refused(plain: EDDPMImputer) -> None:
    df = ward().astype({"dia": "Float64"})
    found = with_rules(plain, max_gap=5).transform(df)
    assert found["dia"].dtype == "Float64" and found["dia"].isna().sum() == 6


# ---- provenance --------------------------------------------------------------------------------

EXPLAINED = ["time", "feature", "value", "status", "reason"]
EXPLAINED += ["distance", "gap", "width_90", "model_id", "seed"]


@pytest.mark.parametrize("method", METHODS)
def test_each_cell_is_explained(plain: EDDPMImputer, method: str) -> None:
    df = ward()[["gcs", "dia", "map", "sys"]]
    imputer = with_rules(plain, max_gap=5, method=method)
    found = imputer.explain_cells(df)
    assert list(found.columns) == EXPLAINED
    assert len(found) == df.size and found["feature"].iloc[:4].tolist() == list(df)
    table = found.pivot(index="time", columns="feature", values="value")[list(df)]
    np.testing.assert_array_equal(table, imputer.transform(df))
    status = found.pivot(index="time", columns="feature", values="status")[list(df)]
    np.testing.assert_array_equal(status == "observed", df.notna())
    refused = found[(found["status"] == "refused") & (found["feature"] == "dia")]
    assert refused["time"].tolist() == list(df.index[10:16])
    assert set(refused["reason"]) == {"gap too long"} and set(refused["gap"]) == {6}
    assert refused["distance"].tolist() == [1, 2, 3, 3, 2, 1]
    assert refused["width_90"].isna().all()
    imputed = found[found["status"] == "imputed"]
    assert (imputed["width_90"] > 0).all() and (imputed["gap"] > 0).all()
    observed = found[found["status"] == "observed"]
    assert (observed[["width_90", "gap", "distance"]] == 0).all().all()
    assert set(found["model_id"]) == {imputer.model_id_}
    assert set(found["seed"]) == {imputer.seed_}


def test_values_outside_the_training_range_are_flagged(plain: EDDPMImputer) -> None:
    df = ward()
    seen = ward()
    low, high = seen.min(), seen.max()
    df += 2.5 * (high - low)  # what is imputed here lies far above
    df.iloc[:75] -= 2.5 * (high - low)
    found = plain.explain_cells(df, missing_only=True)
    assert (found["status"] == "imputed").all() and len(found) == df.isna().sum().sum()
    top = found["feature"].map(high)
    above = found["value"] > top * (1 + 1e-6)
    assert above.any()
    assert (found["reason"][above] == "median outside the training range").all()
    quantiles = plain.predict_quantiles(df, (0.05, 0.95)).to_numpy()
    outside = ((quantiles < low.to_numpy() - 1e-6) | (quantiles > high.to_numpy() + 1e-6)).any(0)
    flagged = found["reason"].ne("").to_numpy()
    assert (flagged == (outside[df.isna().to_numpy()] | above.to_numpy())).all()


@pytest.mark.parametrize("kind", containers())
def test_cells_of_every_container_are_explained(plain: EDDPMImputer, kind: str) -> None:
    data = containers()[kind]
    found = plain.explain_cells(data, random_state=1)
    assert len(found) == sum(values.size for values in cells(data).values())
    assert ("series" in found) == (kind in ("many", "stack"))
    if kind == "many":
        assert found.groupby("series", sort=False).size().to_dict() == {"p": 160, "q": 100}
    assert found["status"].ne("observed").sum() == int(
        sum(np.isnan(values).sum() for values in cells(data).values())
    )


def test_a_feature_without_any_reading_has_no_distance(plain: EDDPMImputer) -> None:
    df = ward(30)
    df["gcs"] = np.nan
    found = with_rules(plain, min_observed=1).explain_cells(df)
    gcs = found[found["feature"] == "gcs"]
    assert set(gcs["reason"]) == {"nothing observed near"}
    assert gcs["distance"].isna().all() and set(gcs["gap"]) == {30}


def test_the_model_id_changes_with_whatever_changes_an_answer(plain: EDDPMImputer) -> None:
    same = [with_rules(plain, verbose=1), with_rules(plain, device="auto"), copy.deepcopy(plain)]
    assert {imputer.model_id_ for imputer in same} == {plain.model_id_}
    assert len(plain.model_id_) == 12 and int(plain.model_id_, 16) >= 0
    others = [
        with_rules(plain, max_gap=5),
        with_rules(plain, n_samples=7),
        EDDPMImputer(**TINY).fit(ward()),
        EDDPMImputer(**TINY | {"random_state": 1}).fit(ward()),
        copy.deepcopy(plain).fit_sampler(ward(), "tdas"),
    ]
    assert len({imputer.model_id_ for imputer in [plain, *others]}) == 6
    with pytest.raises(NotFittedError):
        _ = EDDPMImputer().model_id_
    with pytest.raises(NotFittedError):
        EDDPMImputer().explain_cells(ward())


# ---- multiple imputation -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", containers())
def test_completed_data_sets_are_the_samples_in_the_users_container(
    plain: EDDPMImputer, kind: str
) -> None:
    data = containers()[kind]
    imputer = with_rules(plain, **RULES)
    found = imputer.multiple_impute(data, m=3, random_state=5)
    assert len(found) == 3 and all(type(one) is type(data) for one in found)
    samples = imputer.sample(data, 3, random_state=5)
    for i, one in enumerate(found):
        assert breaches(one, data) == NONE
        for name, values in cells(one).items():
            drawn = cells(samples[i])[name]
            np.testing.assert_array_equal(np.sort(values.ravel()), np.sort(drawn[~np.isnan(drawn)]))
    assert not np.array_equal(cells(found[0])["sys"], cells(found[1])["sys"])


def test_pooling_over_completed_data_sets(plain: EDDPMImputer) -> None:
    found = plain.multiple_impute(ward(), m=4)
    pooled = pool([x.mean() for x in found], [x.var() / len(x) for x in found], dof_complete=149)
    assert (pooled.between > 0).all() and (pooled.total > pooled.within).all()
    assert ((pooled.fmi > 0) & (pooled.fmi < 1)).all()
    assert plain.multiple_impute(ward(), m=4)[3].equals(found[3])  # the seed of the fit


@pytest.mark.parametrize("m", [0, 2.0, True])
def test_a_number_of_data_sets_that_is_none_is_named(plain: EDDPMImputer, m: Any) -> None:
    with pytest.raises(InputError, match="m="):
        plain.multiple_impute(ward(), m=m)


# ---- what is tested, and what is sampled -------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", ["offline", "online", "forecast"])
def test_an_exam_scores_what_the_user_would_get(
    plain: EDDPMImputer, method: str, mode: str
) -> None:
    imputer = with_rules(plain, **RULES, method=method, mode=mode, max_gap=3)
    exam = Hiding(0, "mixed").exam(imputer, read_panel(ward()), 5)
    (found,) = answered_quantiles(imputer, exam, LEVELS, [True])
    (hidden,), (shown,) = exam.target_masks, exam.given_panel.values
    given = ward().where(~np.isnan(shown))
    wanted = imputer.predict_quantiles(given, LEVELS).values
    assert not np.isnan(wanted[:, hidden]).any()  # what is refused is not asked for
    scaled = imputer.model_.scaler.transform(wanted)[:, hidden]
    np.testing.assert_allclose(found, scaled, rtol=1e-5, atol=1e-6)
    free = cell_quantiles(imputer, exam.given, exam.target_masks, Choice(), LEVELS)
    assert not np.allclose(found, free, atol=0.01)


def test_bounds_that_force_the_truth_leave_no_error(plain: EDDPMImputer) -> None:
    df = ward()
    df["gcs"] = df["gcs"].where(df["gcs"].isna(), 7.0)
    imputer = with_rules(plain, bounds={"gcs": (7, 7)})
    scores = imputer.evaluate(df, "point", methods=["last value"]).by_feature["CRPS"]
    assert scores["gcs", "tsimpute"] == 0 < scores["sys", "tsimpute"]
    report = imputer.calibration_report(df, levels=[0.5]).set_index(["by", "group"])
    gcs = report.loc[("feature", "gcs")]
    assert gcs["coverage"] == 1 and gcs["width"] == 0


def test_hidden_cells_that_are_refused_are_left_out_and_counted(plain: EDDPMImputer) -> None:
    imputer, df = with_rules(plain, max_gap=3), ward()
    everything = Hiding(imputer.seed_, "mixed", max_windows=64).exam(plain, read_panel(df), 6)
    long = gap_lengths(~np.isnan(everything.given[0]))[everything.target_masks[0]] > 3
    found = imputer.evaluate(df, "mixed", methods=["last value"])
    n = int((~long).sum())
    assert 0 < n < long.size and (found.overall["n"] == n).all()
    assert found.notes["refused"].startswith(f"{long.sum()} of {long.size} hidden cells are left")
    assert found.notes["refused"] in found.text
    report = imputer.calibration_report(df, pattern="mixed")
    assert report.attrs["n_refused"] > 0 == plain.calibration_report(df).attrs["n_refused"]
    assert "4 to 8" not in set(report.query("by == 'gap length'")["group"])
    counts = [
        with_rules(one, calibrate=True).fit_calibration(df, pattern="mixed").model_.calibrations
        for one in (plain, imputer)
    ]
    (of_all,), (of_few,) = counts
    assert of_few.n_cells.sum() < of_all.n_cells.sum()
    imputer.set_params(max_gap=1)
    df.iloc[::2] = np.nan  # what is hidden beside that is a gap of two rows at least
    for ask in (imputer.evaluate, imputer.calibration_report, imputer.fit_calibration):
        with pytest.raises(InputError, match=r"max_gap=1 and min_observed=None refuse all"):
            ask(df, pattern="mixed")


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many windows are sampled at once, each time that any are."""
    counted: list[int] = []

    def counting(model: Any, series: Any, places: Any, *rest: Any) -> Any:
        counted.append(len(places))
        return sample_windows(model, series, places, *rest)

    monkeypatch.setattr("tsimpute.sampling.inference.sample_windows", counting)
    monkeypatch.setattr("tsimpute.sampling.batching.sample_windows", counting)
    return counted


def test_holes_that_are_refused_are_not_sampled(
    plain: EDDPMImputer, windows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    imputer = with_rules(plain, max_gap=2, **RULES)
    df = ward(300, 3).interpolate().bfill()
    df.iloc[20:280, 0] = df.iloc[290, 1] = np.nan
    asks = (
        lambda: imputer.transform(df).to_numpy(),
        lambda: imputer.sample(df, 3).values,
        lambda: imputer.predict_quantiles(df, LEVELS).values,
        lambda: imputer.explain_cells(df)["width_90"].to_numpy(),
        lambda: np.stack(quantiles_together(imputer, [Question(df, LEVELS)])[0]),
    )
    found = [ask() for ask in asks]
    assert windows == [2] * 5
    everything = property(lambda self: [~seen for seen in self.panel.observed_masks])
    monkeypatch.setattr(Finish, "fillable", everything)
    for ask, few in zip(asks, found, strict=True):
        np.testing.assert_array_equal(ask(), few)
    assert min(windows[5:]) > 40


def test_a_table_of_refused_holes_alone_needs_no_network(
    plain: EDDPMImputer, windows: list[int]
) -> None:
    imputer = with_rules(plain, max_gap=2)
    df = ward(30, 3).interpolate().bfill()
    df.iloc[5:15, 0] = np.nan
    pd.testing.assert_frame_equal(imputer.transform(df), df)
    for method in METHODS:
        alone = imputer.predict_quantiles(df, [0.5], method=method).values[0]
        together = quantiles_together(imputer, [Question(df, [0.5])], method=method)[0]
        np.testing.assert_array_equal(alone, df)
        np.testing.assert_array_equal(together[0], df)
    assert windows == []
