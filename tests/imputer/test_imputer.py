"""The estimator end to end, on small real fits."""

from __future__ import annotations

import copy
import pickle
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from tsimpute import EDDPMImputer, load
from tsimpute.assessment import calibration as calibrating
from tsimpute.errors import DataWarning, DivergenceError, InputError, InputTypeError
from tsimpute.fitting import heads
from tsimpute.training import variance_heads
from tsimpute.training.loop import Trainer

TINY = {
    "window_steps": 12,
    "kept_steps": 3,
    "n_samples": 6,
    "epochs": 2,
    "diffusion_steps": 10,
    "channels": 8,
    "layers": 1,
    "heads": 2,
    "random_state": 0,
    "verbose": 0,
    "variance": "fixed",  # a head would be trained at every fit
    "antithetic": False,
    "device": "cpu",
}


def wave(n_times: int = 120, seed: int = 0, holes: float = 0.2) -> pd.DataFrame:
    """Two sine columns of different scale and one noisy one, with random holes."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_times)
    columns = {"a": np.sin(t / 4), "b": 100 + 10 * np.cos(t / 4), "c": rng.normal(size=n_times)}
    df = pd.DataFrame(columns, index=pd.date_range("2026-01-01", periods=n_times, freq="h"))
    return df.mask(rng.random(df.shape) < holes)


@pytest.fixture(scope="module")
def fitted() -> EDDPMImputer:
    return EDDPMImputer(**TINY).fit(wave())


def panel(lengths: dict[str, int]) -> pd.DataFrame:
    parts = {name: wave(n, seed=i) for i, (name, n) in enumerate(lengths.items())}
    return pd.concat(parts, names=["stay", "hour"])


# ---- round trips -----------------------------------------------------------------------------


def test_frame_comes_back_filled_and_else_untouched(fitted: EDDPMImputer) -> None:
    df = wave()
    before = df.copy()
    out = fitted.transform(df)
    assert type(out) is pd.DataFrame and out.columns.equals(df.columns)
    assert out.index.equals(df.index) and out.index.freq == df.index.freq
    assert not out.isna().any().any()
    seen = df.notna().to_numpy()
    assert (out.to_numpy()[seen] == df.to_numpy()[seen]).all()
    pd.testing.assert_frame_equal(df, before)


def test_every_container_gives_the_same_numbers(fitted: EDDPMImputer) -> None:
    df = wave()
    wanted = fitted.transform(df).to_numpy()
    array = fitted.transform(df.to_numpy())
    stacked = fitted.transform(df.to_numpy()[None])
    labelled = xr.DataArray(
        df.to_numpy(), dims=("time", "feature"), coords={"time": df.index, "feature": list("abc")}
    )
    data_set = df.rename_axis("time").to_xarray()
    assert isinstance(array, np.ndarray) and stacked.shape == (1, *df.shape)
    np.testing.assert_array_equal(array, wanted)
    np.testing.assert_array_equal(stacked[0], wanted)
    out = fitted.transform(labelled)
    assert out.dims == labelled.dims
    np.testing.assert_array_equal(out.to_numpy(), wanted)
    filled = fitted.transform(data_set)
    assert isinstance(filled, xr.Dataset)
    np.testing.assert_array_equal(filled["b"].to_numpy(), wanted[:, 1])


def test_series_of_unequal_length_and_new_ones() -> None:
    imputer = EDDPMImputer(**TINY).fit(panel({"p": 40, "q": 25, "r": 7}))
    other = panel({"x": 9, "y": 31})
    out = imputer.transform(other)
    assert out.index.equals(other.index) and not out.isna().any().any()
    samples = imputer.sample(other, n_samples=4)
    assert samples.dims == ("sample", "series", "time", "feature")
    assert list(samples["series"].values) == ["x", "y"]
    assert samples.sizes["sample"] == 4
    short = samples.sel(series="x").isnull().all(("sample", "feature"))
    assert int((~short).sum()) == 9  # NaN where the short series has no row


def test_columns_are_matched_by_name_and_given_back_in_the_users_order(
    fitted: EDDPMImputer,
) -> None:
    df = wave()
    out = fitted.transform(df[["c", "a", "b"]])
    assert list(out.columns) == ["c", "a", "b"]
    np.testing.assert_array_equal(out[["a", "b", "c"]].to_numpy(), fitted.transform(df).to_numpy())


def test_data_of_another_time_step_are_warned_of(fitted: EDDPMImputer, tmp_path: Path) -> None:
    table = wave()
    for imputer in (fitted, load(fitted.save(tmp_path / "model"))):
        for step in ("D", "MS"):
            times = pd.date_range("2026-01-01", periods=len(table), freq=step)
            other, told = table.set_axis(times), r"X has .*trained on a step of 0 days 01:00:00"
            for call in (imputer.transform, copy.deepcopy(imputer).fit_variance):
                with pytest.warns(DataWarning, match=told) as caught:
                    call(other)
                assert caught[0].filename == __file__
        later = pd.date_range("2031-05-05", periods=len(table), freq="h", tz="Asia/Tokyo")
        for known in (later, pd.RangeIndex(len(table))):
            imputer.transform(table.set_axis(known))


def test_float32_stays_float32(fitted: EDDPMImputer) -> None:
    df = wave().astype("float32")
    out = fitted.transform(df)
    assert (out.dtypes == "float32").all()
    seen = df.notna().to_numpy()
    assert (out.to_numpy()[seen] == df.to_numpy()[seen]).all()


# ---- samples and quantiles -------------------------------------------------------------------


def test_samples_hold_observed_values_and_vary_in_the_holes(fitted: EDDPMImputer) -> None:
    df = wave()
    samples = fitted.sample(df, n_samples=5)
    assert samples.dims == ("sample", "time", "feature") and samples.shape == (5, 120, 3)
    seen = df.notna().to_numpy()
    assert (samples.values[:, seen] == df.to_numpy()[seen]).all()
    assert (samples.values[:, ~seen].std(0) > 0).all()
    assert list(samples["feature"].values) == ["a", "b", "c"]


def test_quantiles_do_not_cross_and_agree_with_samples(fitted: EDDPMImputer) -> None:
    df = wave()
    levels = (0.9, 0.1, 0.5)
    found = fitted.predict_quantiles(df, levels)
    assert found.dims == ("quantile", "time", "feature")
    assert found["quantile"].values.tolist() == list(levels)
    low, middle, high = (found.sel(quantile=q).values for q in (0.1, 0.5, 0.9))
    assert (low <= middle).all() and (middle <= high).all()
    samples = fitted.sample(df)
    np.testing.assert_allclose(
        found.sel(quantile=0.5).values, np.quantile(samples.values, 0.5, axis=0), rtol=1e-6
    )


def test_same_seed_same_answer_other_seed_another(fitted: EDDPMImputer) -> None:
    df = wave()
    np.testing.assert_array_equal(fitted.sample(df).values, fitted.sample(df).values)
    one, two = (fitted.sample(df, random_state=s).values for s in (1, 2))
    np.testing.assert_array_equal(one, fitted.sample(df, random_state=1).values)
    assert not np.array_equal(one, two)


def test_answer_does_not_depend_on_what_shares_the_batch(
    fitted: EDDPMImputer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tsimpute.sampling import inference, prepared

    stack = np.stack([wave(40, seed=s).to_numpy() for s in range(3)])
    together = fitted.sample(stack).values
    alone = fitted.sample(stack[:1]).values
    np.testing.assert_allclose(together[:, :1], alone, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(inference, "STATE_BYTES", {"cpu": 1})
    monkeypatch.setattr(prepared, "ACTIVATION_BYTES", {"cpu": 1})
    np.testing.assert_allclose(fitted.sample(stack).values, together, rtol=1e-4, atol=1e-5)


def test_fit_is_reproducible_and_leaves_the_global_generator_alone() -> None:
    import torch

    torch.manual_seed(5)
    before = torch.rand(3)
    torch.manual_seed(5)
    one = EDDPMImputer(**TINY).fit(wave()).transform(wave())
    after = torch.rand(3)
    two = EDDPMImputer(**TINY).fit(wave()).transform(wave())
    pd.testing.assert_frame_equal(one, two)
    assert torch.equal(before, after)


def test_constant_series_stays_constant_across_windows() -> None:
    t = np.arange(100)
    df = pd.DataFrame({"flat": np.full(100, 7.25), "wave": np.sin(t / 3)})
    df.iloc[10:95:3, 0] = np.nan
    df.iloc[4:99:5, 1] = np.nan
    out = EDDPMImputer(**TINY).fit(df).transform(df)
    np.testing.assert_allclose(out["flat"], 7.25, atol=0.02)


def test_series_without_holes_comes_back_as_it_is(fitted: EDDPMImputer) -> None:
    df = wave(holes=0.0)
    pd.testing.assert_frame_equal(fitted.transform(df), df)


def test_score_is_minus_crps_and_repeatable(fitted: EDDPMImputer) -> None:
    df = wave()
    score = fitted.score(df)
    assert -3 < score < 0 and score == fitted.score(df)


def test_learning_beats_not_learning() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(size=300)
    df = pd.DataFrame({"x": common, "y": -common, "z": 2 * common})
    df = df.mask(rng.random(df.shape) < 0.2)
    options = TINY | {"anchor": "none", "channels": 16, "kept_steps": 5}
    untrained = EDDPMImputer(**options | {"epochs": 1, "learning_rate": 1e-9}).fit(df).score(df)
    trained = EDDPMImputer(**options | {"epochs": 30, "learning_rate": 1e-2}).fit(df).score(df)
    assert trained > 0.75 * untrained  # scores are negative: at least a quarter of the CRPS gone


# ---- what was learned ------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "of_fit", "of_prune"), [(None, 3e-3, 1e-4), (2e-3, 2e-3, 2e-4)])
def test_the_learning_rate_suits_what_is_known_already(
    given: float | None, of_fit: float, of_prune: float
) -> None:
    imputer = EDDPMImputer(**TINY | {"learning_rate": given, "epochs": 6}).fit(wave())
    assert imputer.history_["learning_rate"].max() == pytest.approx(of_fit)
    imputer.prune(wave(), kept_steps=2, epochs=2)
    assert imputer.history_["learning_rate"].max() == pytest.approx(of_prune)


def test_the_learning_rate_of_pretraining_and_after_it_is_that_of_csdi() -> None:
    imputer = EDDPMImputer(**TINY | {"epochs": 6}).pretrain(wave(), epochs=2)
    imputer.fit(wave())
    for history in (imputer.pretraining_history_, imputer.history_):
        assert history["learning_rate"].max() == pytest.approx(1e-3)


def test_step_schedule_history_and_prune() -> None:
    imputer = EDDPMImputer(**TINY).fit(wave())
    schedule = imputer.step_schedule_
    assert (
        list(schedule.columns) == ["keep_prob", "kept", "alpha_bar", "width"]
        and len(schedule) == 10
    )
    assert schedule["kept"].sum() == 3 and schedule["keep_prob"].between(0, 1).all()
    assert (schedule["alpha_bar"].diff().dropna() < 0).all()
    assert list(imputer.history_["epoch"]) == [0, 1]
    assert imputer.keep_prob_history_.shape == (2, 10)
    same = imputer.prune(wave(), kept_steps=2, epochs=1)
    assert same is imputer
    pruned = imputer.step_schedule_
    assert pruned["kept"].sum() == 2
    assert set(pruned.index[pruned["kept"]]) <= set(schedule.index[schedule["kept"]])
    assert imputer.get_params()["kept_steps"] == 3  # parameters are the user's
    assert not imputer.transform(wave()).isna().any().any()


def test_prune_on_given_steps_keeps_exactly_those() -> None:
    imputer = EDDPMImputer(**TINY | {"kept_steps": 10}).fit(wave())
    with pytest.warns(UserWarning, match="noisiest kept step"):
        imputer.prune(wave(), steps=[2, 6])
    assert imputer.step_schedule_.index[imputer.step_schedule_["kept"]].tolist() == [2, 6]


@pytest.mark.parametrize("rule", ["guarded", "paper"])
def test_both_rules_fit(rule: str) -> None:
    imputer = EDDPMImputer(**TINY | {"mask_rule": rule, "kept_steps": 8, "epochs": 4})
    out = imputer.fit(wave()).transform(wave())
    assert imputer.step_schedule_["kept"].sum() == 8 and not out.isna().any().any()


@pytest.mark.parametrize("strategy", ["random", "block", "mix", "historical"])
def test_every_target_strategy_fits(strategy: str) -> None:
    options = TINY | {"target_strategy": strategy, "epochs": 1}
    EDDPMImputer(**options).fit(wave(), patterns=wave(seed=4, holes=0.4))


def test_log_snr_conditioning_and_linear_schedule_fit() -> None:
    options = {"conditioning": "logsnr", "schedule": "linear", "beta_end": 0.4, "epochs": 1}
    assert not EDDPMImputer(**TINY | options).fit(wave()).transform(wave()).isna().any().any()


def test_time_budget_ends_training() -> None:
    begun = time.monotonic()
    imputer = EDDPMImputer(**TINY | {"epochs": None, "time_budget_s": 2.0}).fit(wave())
    assert time.monotonic() - begun < 30
    assert imputer.step_schedule_["kept"].sum() == 3
    assert imputer.history_["phase"].iloc[-1] == "fixed"


def press_ctrl_c_in(
    patch: pytest.MonkeyPatch, place: object, name: str, call: int, as_signal: bool = True
) -> None:
    """Press Ctrl-C within the given call of a function, and let it end."""
    original, calls = getattr(place, name), []

    def pressed(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == call:
            if not as_signal:
                raise KeyboardInterrupt
            signal.raise_signal(signal.SIGINT)
        return original(*arguments, **options)

    patch.setattr(place, name, pressed)
    patch.setattr(variance_heads, "UPDATES", 5)


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """A background job does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_ctrl_c_leaves_a_usable_model(hears_ctrl_c: None, monkeypatch: pytest.MonkeyPatch) -> None:
    press_ctrl_c_in(monkeypatch, Trainer, "step", 40)
    imputer = EDDPMImputer(**TINY | {"epochs": 100_000}).fit(wave())
    assert imputer.step_schedule_["kept"].sum() == 3
    assert not imputer.transform(wave()).isna().any().any()


@pytest.mark.parametrize("as_signal", [True, False])
def test_ctrl_c_while_the_variance_is_learned_leaves_a_usable_model(
    hears_ctrl_c: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    as_signal: bool,
) -> None:
    press_ctrl_c_in(monkeypatch, variance_heads, "noised", 3, as_signal)
    collected: list[int] = []
    collect = heads.collect_cells

    def count(*arguments: Any, **options: Any) -> Any:
        found = collect(*arguments, **options)
        collected.append(len(found.noise))
        return found

    monkeypatch.setattr(heads, "collect_cells", count)
    options = TINY | {"variance": "crps", "calibrate": True, "verbose": 1, "epochs": 1}
    imputer = EDDPMImputer(**options).fit(wave())
    assert "stopped by the user" in (said := capsys.readouterr().err)
    assert "intervals are not calibrated" in said
    assert not imputer.model_.calibrations and "crps" in imputer.model_.heads
    assert not imputer.transform(wave()).isna().any().any()
    assert not imputer.predict_quantiles(wave()).isnull().any()
    imputer.fit_variance(wave(), "crps", n_batches=3 if as_signal else 1)
    assert collected[0] == collected[1]  # the present batch was the last


def test_ctrl_c_while_calibrating_leaves_a_model_without_calibration(
    hears_ctrl_c: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    press_ctrl_c_in(monkeypatch, calibrating, "cell_quantiles", 1)
    options = TINY | {"variance": "crps", "calibrate": True, "verbose": 1, "epochs": 1}
    imputer = EDDPMImputer(**options).fit(wave())
    assert "intervals are not calibrated" in capsys.readouterr().err
    assert not imputer.model_.calibrations
    assert not imputer.predict_quantiles(wave()).isnull().any()


def test_ctrl_c_after_pruning_leaves_a_usable_model(
    hears_ctrl_c: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    imputer = EDDPMImputer(**TINY | {"variance": "analytic", "epochs": 1}).fit(wave())
    press_ctrl_c_in(monkeypatch, variance_heads, "noised", 2)
    assert imputer.prune(wave(), kept_steps=2) is imputer
    assert not imputer.transform(wave()).isna().any().any()


@pytest.mark.parametrize("kept_steps", [3, 10])
def test_training_that_diverges_is_an_error_that_names_the_learning_rate(kept_steps: int) -> None:
    options = {"learning_rate": 1e4, "warmup": 0, "epochs": 4, "kept_steps": kept_steps}
    imputer = EDDPMImputer(**TINY | options)
    with pytest.raises(DivergenceError, match=r"epoch 1.*lower learning_rate \(now 10000\)"):
        imputer.fit(wave())
    assert not hasattr(imputer, "model_")


def test_training_that_ends_worse_than_it_began_is_warned_of() -> None:
    imputer = EDDPMImputer(**TINY | {"learning_rate": 10.0, "epochs": 3})
    with pytest.warns(UserWarning, match=r"learned nothing.*lower learning_rate") as caught:
        imputer.fit(wave())
    assert np.isfinite(imputer.history_["validation_loss"]).all()
    assert caught[0].filename == __file__


def test_checkpoint_resumes_to_the_same_model(tmp_path: object) -> None:
    from pathlib import Path

    file = Path(str(tmp_path)) / "run.checkpoint"
    options = TINY | {"epochs": 6}
    whole = EDDPMImputer(**options).fit(wave())

    class Stop:
        left = 3

        def __call__(self, *_: object) -> None:
            Stop.left -= 1
            if Stop.left == 0:
                raise KeyboardInterrupt

    from tsimpute.fitting import running

    original = running.save_checkpoint

    def save_then_stop(trainer: object, path: object) -> None:
        original(trainer, path)  # type: ignore[arg-type]
        Stop()()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "save_checkpoint", save_then_stop)
        EDDPMImputer(**options).fit(wave(), checkpoint=file)
    assert file.exists()
    resumed = EDDPMImputer(**options).fit(wave(), checkpoint=file)
    assert not file.exists()
    assert len(resumed.history_) == 6
    np.testing.assert_array_equal(resumed.transform(wave()), whole.transform(wave()))


# ---- a scikit-learn citizen --------------------------------------------------------------------


def test_clone_params_and_pickle_of_the_unfitted() -> None:
    imputer = EDDPMImputer(**TINY)
    assert clone(imputer).get_params() == imputer.get_params()
    again = pickle.loads(pickle.dumps(imputer))
    assert again.get_params() == imputer.get_params()
    assert imputer.set_params(kept_steps=2).kept_steps == 2


def test_pipeline_set_output_and_feature_names() -> None:
    df = wave()
    pipeline = make_pipeline(FunctionTransformer(lambda x: x * 2), EDDPMImputer(**TINY))
    out = pipeline.fit(df).transform(df)
    assert isinstance(out, pd.DataFrame) and not out.isna().any().any()
    imputer = EDDPMImputer(**TINY).set_output(transform="pandas").fit(df.to_numpy())
    assert isinstance(imputer.transform(df.to_numpy()), pd.DataFrame)
    named = EDDPMImputer(**TINY).fit(df)
    assert named.feature_names_in_.tolist() == ["a", "b", "c"] and named.n_features_in_ == 3
    assert named.get_feature_names_out().tolist() == ["a", "b", "c"]


@contextmanager
def told(imputer: EDDPMImputer, how: str, kind: str) -> Iterator[EDDPMImputer]:
    """A copy of an imputer that was told, by itself or by all of scikit-learn, what to give."""
    own = copy.copy(imputer)
    if how == "itself":
        yield own.set_output(transform=kind)
    else:
        with config_context(transform_output=kind):
            yield own


@pytest.mark.parametrize("how", ["itself", "by configuration"])
def test_set_output_never_puts_a_name_over_another_column(fitted: EDDPMImputer, how: str) -> None:
    df = wave()
    wanted = fitted.transform(df)
    with told(fitted, how, "pandas") as imputer:
        turned = imputer.transform(df[["c", "a", "b"]])
        pd.testing.assert_frame_equal(turned, wanted[["c", "a", "b"]])
        array = imputer.transform(df.to_numpy())
        assert list(array.columns) == ["a", "b", "c"]
        np.testing.assert_array_equal(array, wanted)
    assert not hasattr(fitted, "_sklearn_output_config")


@pytest.mark.parametrize("how", ["itself", "by configuration"])
def test_set_output_leaves_what_is_no_table_alone(fitted: EDDPMImputer, how: str) -> None:
    df = wave().rename_axis("time")
    array = xr.DataArray(df.to_numpy(), dims=("time", "feature"), coords={"time": df.index})
    for data in (df.to_numpy()[None], array, df.to_xarray(), panel({"x": 30, "y": 12})):
        with told(fitted, how, "pandas") as imputer:
            found = imputer.transform(data)
        wanted = fitted.transform(data)
        assert type(found) is type(data)
        if isinstance(data, np.ndarray):
            np.testing.assert_array_equal(found, wanted)
        else:
            assert found.equals(wanted)


def test_labels_that_are_no_text_survive_set_output_fit_transform_and_clone() -> None:
    df = wave().set_axis([7, 3, 5], axis=1)
    imputer = clone(EDDPMImputer(**TINY).set_output(transform="pandas"))
    out = imputer.fit_transform(df)
    assert list(out.columns) == [7, 3, 5] and out.index.equals(df.index)
    stack = np.stack([wave(40, seed=s).to_numpy() for s in range(2)])
    assert imputer.fit_transform(stack).shape == stack.shape
    array = imputer.fit_transform(df.to_numpy())
    assert list(array.columns) == ["x0", "x1", "x2"]

    class Own(EDDPMImputer):
        """A subclass that changes nothing."""

    assert list(Own(**TINY).set_output(transform="pandas").fit_transform(df).columns) == [7, 3, 5]


def test_pipelines_and_column_transformers_that_give_frames_keep_names_and_values() -> None:
    df = wave()
    alone = EDDPMImputer(**TINY).fit(df)
    pipeline = make_pipeline(FunctionTransformer(), EDDPMImputer(**TINY))
    pipeline.set_output(transform="pandas").fit(df)
    out = pipeline.transform(df[["b", "c", "a"]])
    pd.testing.assert_frame_equal(out, alone.transform(df[["b", "c", "a"]]))
    both = ColumnTransformer(
        [("first", EDDPMImputer(**TINY), ["c", "a"]), ("rest", "passthrough", ["b"])],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    out = both.fit(df).transform(df[["b", "a", "c"]])
    assert list(out.columns) == ["c", "a", "b"] and not out[["c", "a"]].isna().any().any()
    for name in df:
        seen = df[name].notna()
        assert (out.loc[seen, name] == df.loc[seen, name]).all()


def test_set_output_to_polars_keeps_each_column_under_its_name(fitted: EDDPMImputer) -> None:
    polars = pytest.importorskip("polars")
    df, wanted = wave(), fitted.transform(wave())
    with told(fitted, "itself", "polars") as imputer:
        found = imputer.transform(df[["c", "a", "b"]])
        array = imputer.transform(df.to_numpy())
    assert isinstance(found, polars.DataFrame) and found.columns == ["c", "a", "b"]
    assert array.columns == ["a", "b", "c"]
    for name in df:
        np.testing.assert_array_equal(found[name].to_numpy(), wanted[name])
        np.testing.assert_array_equal(array[name].to_numpy(), wanted[name])


def test_an_output_that_is_unknown_or_absent_is_named(
    fitted: EDDPMImputer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"transform='frame' is unknown.*'pandas'"):
        fitted.set_output(transform="frame")
    assert fitted.set_output() is fitted
    monkeypatch.setitem(sys.modules, "polars", None)
    with told(fitted, "itself", "polars") as imputer, pytest.raises(ImportError, match="polars"):
        imputer.transform(wave())


def test_grid_search_over_series() -> None:
    stack = np.stack([wave(40, seed=s).to_numpy() for s in range(4)])
    search = GridSearchCV(
        EDDPMImputer(**TINY | {"epochs": 1}), {"kept_steps": [1, 2]}, cv=2, error_score="raise"
    )
    search.fit(stack)
    assert search.best_params_["kept_steps"] in (1, 2)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_progress_bar_and_plan_unless_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    EDDPMImputer(**TINY).fit(wave()).transform(wave())
    assert capsys.readouterr().err == ""
    EDDPMImputer(**TINY | {"verbose": 1}).fit(wave()).transform(wave())
    shown = capsys.readouterr().err
    assert "2 epochs" in shown and "3 of 10 diffusion steps" in shown
    assert "fit: 100%" in shown and "impute: 100%" in shown


# ---- fill values -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1e20, -9.96921e36, 1.7e308])
def test_a_fill_value_is_warned_of_and_spoils_no_answer(fitted: EDDPMImputer, value: float) -> None:
    df = wave()
    df.iloc[50, 1] = value
    message = rf"column 'b' has 1 cell impossibly far .*{value:g}.*fill value.*\(NaN\)"
    with pytest.warns(DataWarning, match=re.escape("column 'b' has 1 cell")) as seen:
        out = fitted.transform(df)
    assert re.search(message.replace("+", r"\+"), str(seen[0].message))
    assert seen[0].filename == __file__
    assert out.iloc[50, 1] == value and not out.isna().any().any()
    assert out["b"].drop(out.index[50]).between(50, 150).all()
    with pytest.warns(DataWarning):
        assert not fitted.predict_quantiles(df).isnull().any()
    with pytest.warns(DataWarning):
        cells = fitted.explain_cells(df)
    assert np.isfinite(cells["value"]).all()


def test_fill_values_in_training_data_are_warned_of(recwarn: pytest.WarningsRecorder) -> None:
    df = wave()
    df.iloc[[20, 30], 0] = 1e20
    with pytest.warns(DataWarning, match="X: column 'a' has 2 cells") as seen:
        imputer = EDDPMImputer(**TINY | {"epochs": 1}).fit(df)
    assert [warning.filename for warning in seen] == [__file__]
    assert not imputer.transform(df).isna().any().any()


def test_a_fill_value_in_an_exogenous_column_is_warned_of_too() -> None:
    df = wave().assign(c=np.arange(120.0))
    imputer = EDDPMImputer(**TINY | {"exogenous": ["c"]}).fit(df)
    df.iloc[7, 2] = 1e30
    with pytest.warns(DataWarning, match="column 'c' has 1 cell") as seen:
        assert not imputer.transform(df).isna().any().any()
    assert len(seen) == 1


# ---- bad input ---------------------------------------------------------------------------------


def spoiled(row: int, column: str, value: object) -> pd.DataFrame:
    df = wave(holes=0.0)
    df[column] = df[column].astype(object)
    df.iloc[row, df.columns.get_loc(column)] = value
    return df


BAD_DATA = {
    "empty": (lambda: wave().iloc[:0], "0 rows|0 sample"),
    "no columns": (lambda: wave()[[]], "0 feature|0 columns"),
    "all-NaN column": (lambda: wave().assign(b=np.nan), "'b' has no observed value"),
    "all NaN": (lambda: wave() * np.nan, "no observed value"),
    "all-NaN series": (
        lambda: pd.concat({"p": wave(), "q": wave() * np.nan}),
        "series 'q' has no observed value",
    ),
    "one row": (lambda: wave().iloc[:1], "1 sample"),
    "shorter than a window": (lambda: wave(9), "window_steps=12.*window_steps=9"),
    "infinity": (lambda: wave().replace(wave().iloc[5, 1], np.inf), "infinit"),
    "text": (lambda: spoiled(3, "c", "high"), "'c'.*high|high.*'c'|column 'c'"),
    "duplicate time": (lambda: wave().iloc[[0, 1, 1, *range(2, 40)]], "duplicate|twice"),
    "unsorted time": (lambda: wave().iloc[::-1], "sort"),
    "irregular time": (lambda: wave().drop(wave().index[7]), "asfreq"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_named(case: str) -> None:
    make, message = BAD_DATA[case]
    with pytest.raises((InputError, InputTypeError), match=f"(?is){message}"):
        EDDPMImputer(**TINY).fit(make())


BAD_PARAMETERS = {
    "kept_steps=0": ({"kept_steps": 0}, "kept_steps=0"),
    "kept_steps above T": ({"kept_steps": 11}, "kept_steps=11.*diffusion_steps=10"),
    "window_steps": ({"window_steps": 2.5}, "window_steps=2.5"),
    "heads": ({"channels": 9}, "channels=9.*heads=2"),
    "device": ({"device": "gpu"}, "device='gpu'.*'cuda'"),
    "absent device": ({"device": "cuda:99"}, "cuda:99"),
    "schedule": ({"schedule": "cosine"}, "schedule='cosine'.*quad"),
    "mask_rule": ({"mask_rule": "best"}, "mask_rule='best'.*guarded"),
    "anchor": ({"anchor": "spline"}, "anchor='spline'.*linear"),
    "target_strategy": ({"target_strategy": "all"}, "target_strategy='all'.*random"),
    "conditioning": ({"conditioning": "time"}, "conditioning='time'.*logsnr"),
    "beta": ({"beta_end": 2.0}, "beta_end=2.0"),
    "no anchor": ({"anchor": None}, "anchor=None; expected 'linear'"),
    "antithetic": ({"antithetic": "no"}, "antithetic='no'; expected True or False"),
    "slimmable": ({"slimmable": 1}, "slimmable=1; expected True or False"),
    "mixed_precision": ({"mixed_precision": "half"}, "mixed_precision='half'"),
    "learning_rate": ({"learning_rate": 0}, "learning_rate=0; expected None or a positive number"),
    "time_budget_s": ({"time_budget_s": "1"}, "time_budget_s='1'; expected None or a positive"),
    "warmup": ({"warmup": 1}, r"warmup=1; expected a share in \[0, 1\)"),
    "two at once": ({"epochs": 0, "overlap": 1.0}, "epochs=0.*overlap=1.0"),
}


@pytest.mark.parametrize("case", BAD_PARAMETERS)
def test_bad_parameters_are_named(case: str) -> None:
    changed, message = BAD_PARAMETERS[case]
    with pytest.raises(InputError, match=f"(?s){message}"):
        EDDPMImputer(**TINY | changed).fit(wave())


def test_constant_column_is_learned_not_refused() -> None:
    df = wave().assign(b=3.0)
    df.iloc[20:24, 1] = np.nan
    out = EDDPMImputer(**TINY).fit(df).transform(df)
    np.testing.assert_allclose(out["b"], 3.0, atol=0.05)


def test_validation_without_any_observed_cell_is_said() -> None:
    df = wave(400)
    with pytest.MonkeyPatch.context() as patch:
        from tsimpute.training import setup

        rows = np.zeros(400, dtype=bool)
        rows[100:140] = True
        df.iloc[100:140] = np.nan
        patch.setattr(setup, "validation_rows", lambda *_: rows)
        with pytest.raises(InputError, match="validation_fraction=0"):
            EDDPMImputer(**TINY).fit(df)


def test_missing_and_extra_columns_at_transform(fitted: EDDPMImputer) -> None:
    with pytest.raises(InputError, match=r"(?s)missing.*'?b'?|'?b'?.*missing"):
        fitted.transform(wave().drop(columns="b"))
    with pytest.raises(InputError, match=r"(?s)'?d'?"):
        fitted.transform(wave().assign(d=1.0))
    with pytest.raises(InputError, match="X has 2 features"):
        fitted.transform(wave().to_numpy()[:, :2])


def test_before_fit() -> None:
    imputer = EDDPMImputer(**TINY)
    for call in (imputer.transform, imputer.sample, imputer.predict_quantiles, imputer.score):
        with pytest.raises(NotFittedError):
            call(wave())
    with pytest.raises(NotFittedError):
        imputer.prune(wave())
    with pytest.raises(NotFittedError):
        _ = imputer.step_schedule_


@pytest.mark.parametrize(
    "levels", [(0.0, 0.5), (0.5, 1.0), (), (np.nan,), "many", None, [[0.1, 0.2], [0.3, 0.4]]]
)
def test_quantiles_outside(levels: Any, fitted: EDDPMImputer) -> None:
    with pytest.raises(InputError, match="quantiles"):
        fitted.predict_quantiles(wave(), levels)


def test_bad_prune_and_bad_sample_count(fitted: EDDPMImputer) -> None:
    with pytest.raises(InputError, match=r"kept_steps=4.*1 to 3"):
        fitted.prune(wave(), kept_steps=4)
    with pytest.raises(InputError, match="kept_steps=0"):
        fitted.prune(wave(), kept_steps=0)
    for kept_steps in ("2", 1.5):
        with pytest.raises(InputError, match=r"kept_steps=.*a whole number"):
            fitted.prune(wave(), kept_steps=kept_steps)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="n_samples=0"):
        fitted.sample(wave(), n_samples=0)


def test_nothing_is_learned_in_no_iterations(fitted: EDDPMImputer) -> None:
    with pytest.raises(InputError, match="n_batches=0"):
        fitted.fit_variance(wave(), n_batches=0)
    with pytest.raises(InputError, match="iterations=0"):
        fitted.fit_sampler(wave(), "ggdm", iterations=0)
    with pytest.raises(InputError, match="iterations=0"):
        fitted.fit_marginals(wave(), iterations=0)
    assert fitted.model_.ggdm is None and fitted.model_.marginals is None
