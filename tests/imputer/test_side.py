"""Covariates: exogenous columns and the calendar, through every part of the estimator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from sklearn.base import clone

from tsimpute import EDDPMImputer, load
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.context import Context
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.errors import InputError
from tsimpute.model import FittedModel
from tsimpute.sampling.batching import Question, quantiles_together

TINY: dict[str, Any] = {
    "window_steps": 8,
    "kept_steps": 3,
    "n_samples": 6,
    "epochs": 2,
    "diffusion_steps": 6,
    "channels": 8,
    "layers": 1,
    "heads": 2,
    "ema_decay": 0.0,
    "learning_rate": 1e-2,
    "random_state": 0,
    "verbose": 0,
    "variance": "fixed",
    "device": "cpu",
}


def weather(n_times: int = 60, seed: int = 0) -> pd.DataFrame:
    """Two columns with holes around a complete one that drives them."""
    rng = np.random.default_rng(seed)
    wind = rng.normal(5.0, 2.0, n_times)
    columns = {"a": wind + rng.normal(size=n_times), "wind": wind, "b": rng.normal(size=n_times)}
    df = pd.DataFrame(columns, index=pd.date_range("2026-01-01", periods=n_times, freq="h"))
    df[["a", "b"]] = df[["a", "b"]].mask(rng.random((n_times, 2)) < 0.25)
    return df


def ward(n_series: int = 4) -> pd.DataFrame:
    """Series of unequal length with a static age."""
    parts = {i: weather(10 + i, seed=i).assign(age=20.0 * i) for i in range(n_series)}
    return pd.concat(parts, names=["stay", "time"])


@pytest.fixture(scope="module")
def fitted() -> EDDPMImputer:
    return EDDPMImputer(exogenous=("wind",), calendar=("hour",), **TINY).fit(weather())


def moved(df: pd.DataFrame) -> pd.DataFrame:
    return df.assign(wind=df["wind"].to_numpy()[::-1])


# ---- the network ------------------------------------------------------------------------------


def windows(n_covariates: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x, shown = torch.randn(2, 3, 5, 4, generator=generator)
    given_mask = torch.rand(3, 5, 4, generator=generator) < 0.5
    covariates = torch.randn(3, 5, n_covariates, generator=generator)
    return x, shown, given_mask, torch.tensor([0.0, 3.0, 7.0]), covariates


def network(n_covariates: int, seed: int = 0) -> CSDIDenoiser:
    torch.manual_seed(seed)
    shape = DenoiserConfig(4, 8, 2, 2, n_covariates=n_covariates)
    made = CSDIDenoiser(shape).eval()
    torch.nn.init.normal_(made.output_projection.weight)
    return made


def test_a_new_network_with_covariates_is_that_without_them() -> None:
    *inputs, covariates = windows()
    without, with_two = network(0), network(2)
    names = set(with_two.state_dict()) - set(without.state_dict())
    assert names == {"covariate_projection.weight"}
    for name, weight in without.state_dict().items():
        if name != "output_projection.weight":
            assert torch.equal(weight, with_two.state_dict()[name])
    with_two.output_projection = without.output_projection
    predicted = with_two(*inputs, context=Context(covariates))
    torch.testing.assert_close(predicted, without(*inputs), rtol=1e-5, atol=1e-6)


def test_covariates_are_added_to_the_side_information_of_their_row() -> None:
    *inputs, covariates = windows()
    net = network(2)
    torch.nn.init.normal_(net.covariate_projection.weight)
    predicted = net(*inputs, context=Context(covariates))
    for b in range(3):  # one window at a time, with the covariates in the place of a time code
        parts = [part[b : b + 1] for part in inputs]
        alone = Context(covariates[b : b + 1])
        torch.testing.assert_close(
            net(*parts, context=alone)[0], predicted[b], rtol=1e-5, atol=1e-5
        )
    side = net.project_side(torch.arange(5), Context(covariates))[0]
    plain = net.project_side(torch.arange(5))[0]
    assert side.by_row is not None
    n_time = net.config.time_width
    weight = net.blocks[0].side_projection.weight[:, :n_time]
    by_hand = covariates @ net.covariate_projection.weight.T @ weight.T  # (B, L, 2C)
    expected = plain.base[None] + by_hand[:, None]
    torch.testing.assert_close(side.base + side.by_row, expected, rtol=1e-4, atol=1e-5)


# ---- fitting ----------------------------------------------------------------------------------


def test_training_moves_the_weights_of_covariates_and_answers_depend_on_them(
    fitted: EDDPMImputer,
) -> None:
    network = fitted.model_.network
    assert network.config.n_covariates == 3
    assert (network.covariate_projection.weight.abs().sum(0) > 0).all()
    df = weather()
    one, other = fitted.transform(df), fitted.transform(moved(df))
    assert (one["a"] != other["a"]).any()
    later = df.set_axis(df.index + pd.Timedelta("7h"))
    assert (fitted.transform(later)["a"].to_numpy() != one["a"].to_numpy()).any()


def test_a_covariate_that_explains_everything_is_learned() -> None:
    rng = np.random.default_rng(0)
    wind = rng.normal(size=400)
    df = pd.DataFrame({"a": wind.copy(), "wind": wind})
    options = TINY | {"epochs": 12, "anchor": "none"}
    hidden = rng.random(400) < 0.5
    holes = df.assign(a=df["a"].mask(hidden))

    def error(exogenous: list[str] | None, columns: list[str]) -> float:
        model = EDDPMImputer(exogenous=exogenous, **options).fit(df[columns])
        return float((model.transform(holes[columns])["a"] - df["a"])[hidden].abs().mean())

    assert error(["wind"], ["a", "wind"]) < 0.7 * error(None, ["a"])


def test_static_covariates_and_series_of_unequal_length_work() -> None:
    df = ward()
    imputer = EDDPMImputer(exogenous=["age"], **TINY).fit(df)
    out = imputer.transform(df)
    assert not out.isna().any().any()
    pd.testing.assert_series_equal(out["age"], df["age"])
    older = imputer.transform(df.assign(age=df["age"] + 50))
    assert (older["a"] != out["a"]).any()


def test_scaling_of_covariates_does_not_matter() -> None:
    df = weather()
    rescaled = df.assign(wind=1e6 + 1e3 * df["wind"])
    one = EDDPMImputer(exogenous=["wind"], **TINY).fit(df).transform(df)
    other = EDDPMImputer(exogenous=["wind"], **TINY).fit(rescaled).transform(rescaled)
    np.testing.assert_allclose(other["a"], one["a"], rtol=1e-4, atol=1e-4)


def test_patterns_need_no_complete_covariates() -> None:
    df = weather()
    options = TINY | {"target_strategy": "historical"}
    imputer = EDDPMImputer(exogenous=["wind"], **options)
    filled = imputer.fit(df, patterns=df.mask(df < 0)).transform(df)
    assert not filled.isna().any().any()


# ---- what comes back --------------------------------------------------------------------------


def test_exogenous_columns_come_back_unchanged(fitted: EDDPMImputer) -> None:
    df = weather()
    out = fitted.transform(df)
    assert list(out.columns) == ["a", "wind", "b"] and not out.isna().any().any()
    pd.testing.assert_series_equal(out["wind"], df["wind"])
    samples = fitted.sample(df, 3)
    quantiles = fitted.predict_quantiles(df, [0.1, 0.9])
    for found in (samples, quantiles):
        assert list(found["feature"].values) == ["a", "wind", "b"]
        assert (found.sel(feature="wind").values == df["wind"].to_numpy()).all()
        assert not found.isnull().any()
    width = quantiles.sel(quantile=0.9) - quantiles.sel(quantile=0.1)
    holes = df["a"].isna().to_numpy()
    assert (width.sel(feature="a").values[holes] > 0).all()


def test_scikit_learns_names_are_those_of_all_columns(fitted: EDDPMImputer) -> None:
    assert fitted.n_features_in_ == 3
    assert fitted.feature_names_in_.tolist() == ["a", "wind", "b"]
    assert fitted.get_feature_names_out().tolist() == ["a", "wind", "b"]
    assert fitted.model_.n_features == 2 and fitted.model_.feature_names == ("a", "b")
    assert clone(fitted).get_params() == fitted.get_params()


def test_columns_may_come_in_any_order(fitted: EDDPMImputer) -> None:
    df = weather()
    turned = fitted.transform(df[["wind", "b", "a"]])
    assert list(turned.columns) == ["wind", "b", "a"]
    pd.testing.assert_frame_equal(turned[["a", "wind", "b"]], fitted.transform(df))


def test_every_container_gives_the_same_numbers() -> None:
    df = weather()
    by_name = EDDPMImputer(exogenous=["wind"], **TINY).fit(df)
    by_place = EDDPMImputer(exogenous=[1], **TINY).fit(df.to_numpy())
    wanted = by_name.transform(df).to_numpy()
    np.testing.assert_array_equal(by_place.transform(df.to_numpy()), wanted)
    np.testing.assert_array_equal(by_name.transform(df.to_numpy()[None])[0], wanted)
    coords = {"time": df.index, "feature": list(df.columns)}
    array = xr.DataArray(df.to_numpy(), dims=("time", "feature"), coords=coords)
    np.testing.assert_array_equal(by_name.transform(array).to_numpy(), wanted)
    data_set = by_name.transform(df.rename_axis("time").to_xarray())
    np.testing.assert_array_equal(data_set.to_dataframe()[list(df.columns)].to_numpy(), wanted)
    labelled = by_name.predict_quantiles(array, [0.5])
    np.testing.assert_array_equal(labelled.sel(feature="wind").values[0], df["wind"])


def test_dtypes_of_exogenous_columns_stay() -> None:
    df = weather().assign(wind=np.arange(60, dtype=np.int32))
    out = EDDPMImputer(exogenous=["wind"], **TINY).fit(df).transform(df)
    assert out["wind"].dtype == np.int32 and (out["wind"] == df["wind"]).all()


# ---- every part of a fitted model ------------------------------------------------------------


def test_heads_samplers_and_other_steps_work_with_covariates() -> None:
    df = weather()
    imputer = EDDPMImputer(exogenous=["wind"], calendar=["dayofweek"], **TINY).fit(df)
    imputer.fit_marginals(df, iterations=20)
    head = imputer.predict_quantiles(df, [0.5], method="head")
    changed = imputer.predict_quantiles(moved(df), [0.5], method="head")
    assert (head.sel(feature="a").values != changed.sel(feature="a").values).any()
    for kind in ("crps", "npr", "sn", "analytic"):
        imputer.fit_variance(df, kind, n_batches=2)
        assert not imputer.transform(df, variance=kind).isna().any().any()
    for kind in ("ggdm", "tdas", "genie-distilled"):
        imputer.fit_sampler(df, kind, iterations=2)
        assert not imputer.transform(df, sampler=kind).isna().any().any()
    for method in ("uniform", "elbo", "align"):
        fewer = imputer.respace(method, 2, df)
        assert not fewer.transform(df).isna().any().any()
    assert np.isfinite(imputer.score(df))
    assert len(imputer.step_importance(df)) == 3
    assert len(imputer.speed_quality(df, steps=[2], n_samples=[4], samplers=["ddim"])) > 0
    imputer.prune(df, 2)
    pd.testing.assert_series_equal(imputer.transform(df)["wind"], df["wind"])


def test_calibration_and_self_check_work_with_covariates() -> None:
    df = weather(200)
    options = TINY | {"validation_fraction": 0.3}
    imputer = EDDPMImputer(exogenous=["wind"], calendar=["hour"], calibrate=True, **options)
    imputer.fit(df)
    (calibration,) = imputer.model_.calibrations
    assert calibration is not None and len(calibration.factors) == 2
    quantiles = imputer.predict_quantiles(df, [0.5])
    assert (quantiles.sel(feature="wind").values[0] == df["wind"].to_numpy()).all()
    report = imputer.calibration_report(df, levels=[0.9], max_windows=8)
    assert set(report.loc[report["by"] == "feature", "group"]) == {"a", "b"}
    found = imputer.evaluate(df, methods=["linear"], max_windows=8)
    assert set(found.by_feature.index.get_level_values(0)) == {"a", "b"}


def test_a_stream_with_covariates_is_filled_as_the_whole_series_is() -> None:
    df = weather(24)
    imputer = EDDPMImputer(exogenous=["wind"], calendar=["hour"], mode="online", **TINY).fit(df)
    wanted = imputer.transform(df)
    rows = [imputer.update(row) for _, row in df[["b", "wind", "a"]].iterrows()]
    found = pd.DataFrame(rows)[["a", "wind", "b"]]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)
    later = df.copy()
    later.loc[later.index[12] :, "wind"] += 5.0
    changed = imputer.transform(later)
    pd.testing.assert_frame_equal(changed.iloc[:12], wanted.iloc[:12])
    assert (changed["a"] != wanted["a"]).iloc[12:].any()
    with pytest.raises(InputError, match="row: exogenous column 'wind' is missing"):
        imputer.reset_stream().update(
            df.iloc[0].rename(df.index[0]).drop("wind").reindex(df.columns)
        )


def test_networks_of_every_width_work_with_covariates() -> None:
    df = weather()
    options = TINY | {"heads": 8, "channels": 16}
    imputer = EDDPMImputer(exogenous=["wind"], calendar=["hour"], **options).fit(df)
    imputer.train_widths(df, epochs=1)
    narrow = imputer.use_widths([2, 4, 8])
    filled = narrow.transform(df)
    assert not filled.isna().any().any()
    assert (narrow.transform(moved(df))["a"] != filled["a"]).any()


def test_every_cell_of_an_imputed_column_is_explained() -> None:
    df = weather()[["wind", "b", "a"]]
    imputer = EDDPMImputer(exogenous=["wind"], max_gap=2, **TINY).fit(weather())
    cells = imputer.explain_cells(df)
    assert len(cells) == 2 * len(df) and cells["feature"].tolist()[:2] == ["b", "a"]
    filled = imputer.transform(df)
    for name in ("a", "b"):
        own = cells[cells["feature"] == name].set_index("time")["value"]
        np.testing.assert_array_equal(own.to_numpy(), filled[name].to_numpy())
    numbers = EDDPMImputer(exogenous=[0], **TINY).fit(df.to_numpy()).explain_cells(df.to_numpy())
    assert numbers["feature"].tolist()[:4] == [1, 2, 1, 2]


def test_constraints_name_the_columns_as_the_user_counts_them() -> None:
    values = weather().to_numpy()
    bounds = {2: (-0.1, 0.1)}
    values[:, 2] = values[:, 2].clip(-0.1, 0.1)
    imputer = EDDPMImputer(exogenous=[1], bounds=bounds, **TINY).fit(values)
    filled = imputer.transform(values)
    assert np.abs(filled[:, 2]).max() <= 0.1 < np.abs(filled[:, 0]).max()


def test_batched_questions_get_the_numbers_of_each_alone(fitted: EDDPMImputer) -> None:
    frames = [weather(30, seed=1), weather(17, seed=2)]
    questions = [Question(df, [0.1, 0.5], random_state=i) for i, df in enumerate(frames)]
    for i, answers in enumerate(quantiles_together(fitted, questions)):
        assert answers is not None
        alone = fitted.predict_quantiles(frames[i], [0.1, 0.5], random_state=i)
        np.testing.assert_allclose(
            np.stack([frame.to_numpy() for frame in answers]), alone.values, rtol=1e-4, atol=1e-4
        )


def test_a_saved_model_needs_nothing_retyped(fitted: EDDPMImputer, tmp_path: Path) -> None:
    again = load(fitted.save(tmp_path / "model"), device="cpu")
    pd.testing.assert_frame_equal(again.transform(weather()), fitted.transform(weather()))
    assert again.feature_names_in_.tolist() == ["a", "wind", "b"]
    assert (again.exogenous, again.calendar) == (["wind"], ["hour"])


def test_a_saved_model_without_covariates_knows_nothing_of_them(tmp_path: Path) -> None:
    df = weather()[["a", "b"]]
    folder = EDDPMImputer(**TINY).fit(df).save(tmp_path / "model")
    assert set(json.loads((folder / "parts.json").read_text())) == {"time_step"}
    model: FittedModel = load(folder, device="cpu").model_
    assert model.side is None and not any("covariate" in n for n in model.network.state_dict())


# ---- the calendar -----------------------------------------------------------------------------


def test_a_season_that_only_the_calendar_knows_is_learned() -> None:
    hours = pd.date_range("2026-01-01", periods=600, freq="h")
    rng = np.random.default_rng(0)
    peak = np.where(hours.hour < 12, 1.0, -1.0) + 0.1 * rng.normal(size=600)
    df = pd.DataFrame({"load": peak}, index=hours)
    options = TINY | {"window_steps": 6, "epochs": 20, "anchor": "none"}
    hidden = np.zeros(600, dtype=bool)
    hidden[100:160] = True  # whole windows without a value
    holes = df.mask(hidden[:, None])

    def error(calendar: list[str] | None) -> float:
        filled = EDDPMImputer(calendar=calendar, **options).fit(df).transform(holes)
        return float((filled - df)["load"][hidden].abs().mean())

    assert error(["hour"]) < 0.6 * error(None)


# ---- what cannot be used ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exogenous": ["wnd"]}, "has no column 'wnd'.*did you mean 'wind'"),
        ({"exogenous": ["a", "a"]}, "each column once"),
        ({"exogenous": ["a", "wind", "b"]}, "one other column of X to impute"),
        ({"exogenous": "wind"}, "exogenous='wind'; expected None or a list of columns"),
        ({"exogenous": ["a"]}, "exogenous column 'a' is missing at row '2026-01-01"),
        ({"calendar": ["hours"]}, r"calendar=\['hours'\] cannot be used.*'hour'"),
        ({"calendar": "hour"}, "calendar='hour'; expected None or a list"),
    ],
)
def test_what_cannot_be_used_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EDDPMImputer(**TINY, **options).fit(weather())


def test_a_hole_in_a_covariate_is_named_by_column_row_and_series() -> None:
    df = ward()
    imputer = EDDPMImputer(exogenous=["age"], **TINY).fit(df)
    df.loc[(2, df.loc[2].index[3]), "age"] = np.nan
    with pytest.raises(InputError, match=r"series 2: exogenous column 'age'.*03:00.*1 such cell"):
        imputer.transform(df)
    with pytest.raises(InputError, match="seen at fit time, yet now missing"):
        imputer.transform(df.drop(columns="age"))


def test_the_calendar_needs_timestamps(fitted: EDDPMImputer) -> None:
    df = weather().reset_index(drop=True)
    with pytest.raises(InputError, match=r"calendar=\['hour'\] needs timestamps, but X has"):
        EDDPMImputer(calendar=["hour"], **TINY).fit(df)
    with pytest.raises(InputError, match="needs timestamps"):
        fitted.transform(df)


def test_positions_name_the_columns_of_arrays() -> None:
    values = weather().to_numpy()
    with pytest.raises(InputError, match=r"no column 'wind'.*positions \[0, 1, 2\]"):
        EDDPMImputer(exogenous=["wind"], **TINY).fit(values)
    imputer = EDDPMImputer(exogenous=[1], **TINY).fit(values)
    values[5, 1] = np.nan
    with pytest.raises(InputError, match="exogenous column 1 is missing at row '5'"):
        imputer.transform(values)
