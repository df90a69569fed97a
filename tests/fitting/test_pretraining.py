"""Pre-training of the estimator: what comes before, between and after it and a fit."""

from __future__ import annotations

import copy
import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import TimeSeriesSplit, cross_val_score
from sklearn.pipeline import make_pipeline

from tsimpute import EDDPMImputer, load
from tsimpute.errors import InputError, ModelFileError
from tsimpute.fitting.trunk import feature_numbers
from tsimpute.panel.containers import read_panel
from tsimpute.panel.time_step import TimeStep

TINY = {
    "window_steps": 12,
    "kept_steps": 3,
    "n_samples": 4,
    "epochs": 1,
    "diffusion_steps": 8,
    "channels": 8,
    "layers": 1,
    "heads": 2,
    "random_state": 0,
    "verbose": 0,
    "variance": "fixed",
    "device": "cpu",
}
EMBEDDING = "feature_embedding.weight"


def table(names: str = "ab", n_times: int = 60, freq: str | None = "h", seed: int = 0):
    """Waves with a fifth of the cells missing."""
    rng, t = np.random.default_rng(seed), np.arange(n_times)[:, None]
    values = np.sin(t / 4 + rng.uniform(0, 6, len(names)))
    values += 0.1 * rng.normal(size=values.shape)
    index = None if freq is None else pd.date_range("2026-01-01", periods=n_times, freq=freq)
    df = pd.DataFrame(values, index, columns=list(names))
    return df.mask(rng.random(df.shape) < 0.2)


@pytest.fixture(scope="module")
def learned() -> EDDPMImputer:
    return EDDPMImputer(**TINY).pretrain([table("abc"), table("bd", 40, seed=1)], epochs=2)


@pytest.fixture
def pretrained(learned) -> EDDPMImputer:
    return copy.deepcopy(learned)


def weights_at_start(imputer: EDDPMImputer, data, monkeypatch) -> dict[str, torch.Tensor]:
    """Weights of the network when its training begins."""
    from tsimpute.training.loop import Trainer

    kept = {}

    def look(trainer: Trainer, *_: object) -> None:
        kept.update({name: w.clone() for name, w in trainer.network.state_dict().items()})
        original(trainer, *_)

    original = Trainer.fit
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", look)
        imputer.fit(data)
    return kept


# ------------------------------------------------------------------------------ before the fit


def test_pretraining_tells_what_happened_and_does_not_fit(pretrained):
    history = pretrained.pretraining_history_
    assert len(history) == 2
    assert list(history) == [
        "epoch",
        "train_loss",
        "learning_rate",
        "visible_share",
        "n_iterations",
        "seconds",
    ]
    assert history["train_loss"].notna().all()
    assert pretrained.pretrained_.feature_names == ("a", "b", "c", "d")
    assert str(pretrained.pretrained_.time_step) == "a step of 0 days 01:00:00"
    for ask in (pretrained.transform, pretrained.sample, pretrained.prune, pretrained.score):
        with pytest.raises(NotFittedError):
            ask(table())
    with pytest.raises(NotFittedError):
        pretrained.save("nowhere")


def test_a_clone_is_unfitted_but_starts_from_it_too(pretrained, monkeypatch):
    data = table("abc")
    again = clone(pretrained.fit(data))
    assert again.get_params() == pretrained.get_params()
    with pytest.raises(NotFittedError):
        again.transform(data)
    begun = weights_at_start(again, data, monkeypatch)
    for name, weight in pretrained.pretrained_.weights.items():
        assert name == EMBEDDING or torch.equal(begun[name], weight), name


def test_a_clone_of_what_was_never_pretrained_is_not(pretrained):
    assert not hasattr(clone(EDDPMImputer(**TINY)), "pretrained_")


def test_every_fold_of_a_cross_validation_starts_from_it(pretrained):
    data, folds = table("abc", 120), TimeSeriesSplit(2)
    scores = cross_val_score(make_pipeline(pretrained), data, cv=folds, error_score="raise")
    for score, (train, test) in zip(scores, folds.split(data), strict=True):
        alone = copy.deepcopy(pretrained).fit(data.iloc[train]).score(data.iloc[test])
        scratch = EDDPMImputer(**TINY).fit(data.iloc[train]).score(data.iloc[test])
        assert score == alone != scratch


def test_the_seed_decides(pretrained):
    again = EDDPMImputer(**TINY).pretrain([table("abc"), table("bd", 40, seed=1)], epochs=2)
    other = EDDPMImputer(**TINY | {"random_state": 1}).pretrain(table("abc"), epochs=1)
    for name, weight in pretrained.pretrained_.weights.items():
        assert torch.equal(again.pretrained_.weights[name], weight)
    assert not torch.equal(
        other.pretrained_.weights["skip_projection.weight"],
        pretrained.pretrained_.weights["skip_projection.weight"],
    )


def test_global_random_numbers_are_left_alone():
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    EDDPMImputer(**TINY).pretrain(table(), epochs=1)
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("kind", ["block", "feature", "cell"])
def test_every_kind_of_mask_can_be_asked_for(kind):
    imputer = EDDPMImputer(**TINY).pretrain(table("abcd"), mask_kind=kind, mask_rate=0.75, epochs=1)
    assert imputer.pretraining_history_["visible_share"].iloc[0] == pytest.approx(0.25, abs=0.1)


def test_each_data_set_is_scaled_by_itself():
    """Units do not matter, and a scale by column counts where the column is."""
    far = table("bd", 40, seed=1) * 1000 + 500
    runs = [
        EDDPMImputer(**TINY, scaling={"d": "rank"}).pretrain([table("abc"), other], epochs=1)
        for other in (table("bd", 40, seed=1), far)
    ]
    for name, weight in runs[0].pretrained_.weights.items():
        torch.testing.assert_close(runs[1].pretrained_.weights[name], weight, rtol=1e-3, atol=1e-4)


def test_any_container_and_any_length():
    arrays = np.random.default_rng(0).normal(size=(3, 20, 2))
    many = pd.concat({"s": table("a", 30, None), "t": table("a", 5, None)})
    imputer = EDDPMImputer(**TINY).pretrain(
        [arrays, many, table("ab", 20, None).to_xarray().rename(index="time")], epochs=1
    )
    assert imputer.pretrained_.feature_names == (None, None, "a", "b")


def test_a_data_set_shorter_than_a_window_is_padded():
    """As a short series among longer ones is."""
    short = [table("c", 5, seed=1), table("d", 2, seed=2).fillna(1.0)]
    imputer = EDDPMImputer(**TINY).pretrain([*short, table("ab")], epochs=2)
    assert imputer.pretrained_.feature_names == ("c", "d", "a", "b")
    assert imputer.pretraining_history_["train_loss"].notna().all()


def test_without_a_length_there_are_about_two_thousand_iterations(monkeypatch):
    from tsimpute.fitting import pretraining

    seen = []
    monkeypatch.setattr(pretraining, "run_to_end", lambda imputer, run, *_: seen.append(run))
    EDDPMImputer(**TINY, time_budget_s=0.1).pretrain(table())
    run = seen[0]
    n_batches = sum(data.source.n_batches(16) for data in run.sets)
    assert 2000 <= run.config.epochs * n_batches < 2000 + n_batches


def test_a_time_budget_ends_it():
    imputer = EDDPMImputer(**TINY).pretrain(table(), time_budget_s=0.2)
    assert imputer.pretraining_history_["seconds"].iloc[-1] < 5


def test_ctrl_c_keeps_what_was_learned(monkeypatch, capsys):
    from tsimpute.training.pretraining import Pretrainer

    def stop(run: Pretrainer, *_: object) -> float:
        if run.n_iterations == 2:
            raise KeyboardInterrupt
        return original(run, *_)

    original = Pretrainer.step
    monkeypatch.setattr(Pretrainer, "step", stop)
    imputer = EDDPMImputer(**TINY | {"verbose": 1}).pretrain(table(), epochs=50)
    assert "stopped by the user" in capsys.readouterr().err
    assert len(imputer.pretraining_history_) < 50
    assert not imputer.fit(table()).transform(table()).isna().any().any()


def test_a_stopped_run_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    from tsimpute.fitting import pretraining

    file = tmp_path / "run.pt"
    whole = EDDPMImputer(**TINY).pretrain(table(), epochs=3)
    original = pretraining.save_pretraining

    def save_then_stop(run: object, path: object) -> None:
        original(run, path)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "save_pretraining", save_then_stop)
        EDDPMImputer(**TINY).pretrain(table(), epochs=3, checkpoint=file)
    assert file.exists()
    again = EDDPMImputer(**TINY).pretrain(table(), epochs=3, checkpoint=file)
    assert not file.exists()
    for name, weight in whole.pretrained_.weights.items():
        assert torch.equal(again.pretrained_.weights[name], weight)


def test_the_plan_is_announced(capsys):
    EDDPMImputer(**TINY | {"verbose": 1}).pretrain([table("ab"), table("bc")], epochs=1)
    shown = capsys.readouterr().err
    assert "pre-training on 2 data sets of 3 features in all; 50% hidden by block" in shown
    assert "pre-train: 100%" in shown


def test_what_is_announced_is_what_can_be_hidden(capsys):
    """Of ten features nine are hidden, but of two only one."""
    imputer = EDDPMImputer(**TINY | {"verbose": 1})
    ten, two = (table(names, 12).fillna(0.0) for names in ("abcdefghij", "ab"))
    message = (
        r"mask_rate=0.9 cannot be reached with mask_kind='feature': 50% in data\[1\] is hidden"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        imputer.pretrain([ten, two], mask_rate=0.9, mask_kind="feature", epochs=1)
    assert [one.filename for one in caught] == [__file__]
    hidden = (9 * 12 + 1 * 12) / (10 * 12 + 2 * 12)
    assert f"{hidden:.0%} hidden by feature" in capsys.readouterr().err
    assert imputer.pretraining_history_["visible_share"][0] == pytest.approx(1 - hidden)


@pytest.mark.parametrize(
    ("kind", "data"), [("feature", table("a")), ("block", table("ab").iloc[[0, 1]].fillna(0.0))]
)
def test_a_data_set_of_which_nothing_can_be_hidden_is_refused(kind, data):
    if kind == "block":
        data.iloc[0] = np.nan
    message = rf"data\[1\]: mask_kind='{kind}' can hide nothing.*pass another mask_kind"
    with pytest.raises(InputError, match=message):
        EDDPMImputer(**TINY).pretrain([table("abc"), data], mask_kind=kind, epochs=1)


# --------------------------------------------------------------------------------- and the fit


def test_a_fit_begins_with_the_weights_and_finds_features_by_name(pretrained, monkeypatch):
    trunk, data = pretrained.pretrained_, table("xcb")
    fresh = weights_at_start(EDDPMImputer(**TINY), data, monkeypatch)
    begun = weights_at_start(pretrained, data, monkeypatch)
    for name, weight in trunk.weights.items():
        if name != EMBEDDING:
            assert torch.equal(begun[name], weight), name
    assert torch.equal(begun[EMBEDDING][0], fresh[EMBEDDING][0])  # x was never seen
    assert torch.equal(begun[EMBEDDING][1:], trunk.weights[EMBEDDING][[2, 1]])
    assert not pretrained.transform(data).isna().any().any()
    moved = pretrained.model_.network.skip_projection.weight
    assert not torch.equal(moved, trunk.weights["skip_projection.weight"])
    again = weights_at_start(pretrained, data, monkeypatch)  # not from the fit before
    assert all(torch.equal(again[name], weight) for name, weight in begun.items())


@pytest.mark.parametrize(("n_features", "found"), [(3, True), (2, False)])
def test_features_without_names_are_found_by_position_if_there_are_as_many(
    n_features, found, monkeypatch
):
    imputer = EDDPMImputer(**TINY).pretrain(table("abc", freq=None).to_numpy(), epochs=1)
    data = table("xyz"[:n_features], freq=None)
    for same in (data, data.to_numpy()):
        begun = weights_at_start(imputer, same, monkeypatch)[EMBEDDING]
        known = imputer.pretrained_.weights[EMBEDDING][:n_features]
        assert torch.equal(begun, known) is found


def test_it_goes_with_everything_that_follows_a_fit(pretrained, tmp_path):
    data = table("abc", seed=5)
    pretrained.set_params(variance="npr", slimmable=True, n_samples=2).fit(data)
    pretrained.fit_marginals(data, iterations=2).prune(data, 2)
    again = load(pretrained.save(tmp_path / "model"), device="cpu")
    assert not hasattr(again, "pretrained_")
    pd.testing.assert_frame_equal(again.transform(data), pretrained.transform(data))


def wave(names: str, n_times: int, seed: int) -> pd.DataFrame:
    """Half-daily waves, mixed differently into every column."""
    rng, t = np.random.default_rng(seed), np.arange(n_times)[:, None]
    values = np.sin(t * 2 * np.pi / 12 + rng.uniform(0, 6, 2)) @ rng.normal(size=(2, len(names)))
    index = pd.date_range("2026-01-01", periods=n_times, freq="h")
    df = pd.DataFrame(values + 0.1 * rng.normal(size=values.shape), index, columns=list(names))
    return df.mask(rng.random(df.shape) < 0.1)


@pytest.mark.parametrize("seed", [0, 1])
def test_what_was_learned_from_other_data_helps_on_few(seed):
    options = TINY | {"window_steps": 24, "channels": 16, "batch_size": 8, "random_state": seed}
    others = [wave("abde", 1000, 2), wave("cf", 500, 3)]
    few = wave("abc", 200, 1)
    started = EDDPMImputer(**options).pretrain(others, epochs=8).fit(few)
    scratch = EDDPMImputer(**options).fit(few)
    losses = [one.history_["validation_loss"].iloc[-1] for one in (started, scratch)]
    assert losses[0] < 0.9 * losses[1]


# ------------------------------------------------------------------------------------ covariates


@pytest.mark.parametrize("more", [{"exogenous": ["e"]}, {"calendar": ["hour"]}])
def test_covariates_are_pretrained_too(more):
    sets = [table("ab").assign(e=np.arange(60.0)), table("c").assign(e=np.arange(60.0) ** 2)]
    imputer = EDDPMImputer(**TINY, **more).pretrain(sets, epochs=1)
    n_covariates = {"exogenous": 1, "calendar": 2}[next(iter(more))]
    assert imputer.pretrained_.config.n_covariates == n_covariates
    assert not imputer.fit(sets[0]).transform(sets[0]).isna().any().any()


def test_a_data_set_without_the_covariates_is_named():
    with pytest.raises(InputError, match=r"data\[1\] has no column 'e'"):
        EDDPMImputer(**TINY, exogenous=["e"]).pretrain(
            [table("ab").assign(e=1.0), table("ab")], epochs=1
        )


def test_on_a_clock_all_distances_count_in_the_first_data_set_s_step():
    hourly, daily = table("ab"), table("bc", freq="D")
    imputer = EDDPMImputer(**TINY, time="clock").pretrain([hourly, daily], epochs=1)
    assert imputer.pretrained_.time_step.length == 3600
    imputer.fit(hourly)
    with pytest.warns(UserWarning, match="a step of 0 days 01:00:00, but X has a step of 1 days"):
        imputer.fit(daily.rename(columns={"c": "a"}))


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("rate", [0, 1, -0.5, 2, "half"])
def test_a_rate_outside_0_and_1_is_refused(rate):
    with pytest.raises(InputError, match=r"mask_rate=.*between 0 and 1"):
        EDDPMImputer(**TINY).pretrain(table(), mask_rate=rate)


def test_an_unknown_kind_of_mask_is_refused_with_the_nearest():
    with pytest.raises(
        InputError, match=r"mask_kind='features' is unknown.*did you mean 'feature'"
    ):
        EDDPMImputer(**TINY).pretrain(table(), mask_kind="features")


@pytest.mark.parametrize("nothing", [[], ()])
def test_an_empty_list_is_refused(nothing):
    with pytest.raises(InputError, match="data: got an empty list"):
        EDDPMImputer(**TINY).pretrain(nothing)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (table("ab", freq="D"), "data.0. has a step of 0 days 01:00:00, but data.1. has a step of"),
        (table("ab", freq=None), r"data.1. has no timestamps; .* common scale of time: resample"),
        (table("ab", freq="MS"), r"data.1. has steps of the calendar frequency 'MS'"),
        (table("ab").to_numpy(), r"data.1. has no timestamps"),
    ],
)
def test_data_sets_without_a_common_scale_of_time_are_refused(other, message):
    with pytest.raises(InputError, match=message):
        EDDPMImputer(**TINY).pretrain([table(), other], epochs=1)


def test_an_empty_data_set_is_refused_by_its_place():
    empty = table() * np.nan
    with pytest.raises(InputError, match=r"data\[1\] has no observed value"):
        EDDPMImputer(**TINY).pretrain([table(), empty], epochs=1)
    with pytest.raises(InputError, match="data has no observed value"):
        EDDPMImputer(**TINY).pretrain(empty, epochs=1)


def test_where_no_data_set_fills_a_window_the_longest_is_named():
    with pytest.raises(InputError, match=r"data\[1\]: the longest series has 8 rows.*steps=8 or"):
        EDDPMImputer(**TINY).pretrain([table(n_times=5), table(n_times=8)], epochs=1)


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"time_budget_s": -1.0}])
def test_a_length_of_nothing_is_refused(bad):
    with pytest.raises(InputError, match=rf"{next(iter(bad))}="):
        EDDPMImputer(**TINY).pretrain(table(), **bad)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"channels": 16}, "channels=16, but pre-training had 8"),
        ({"heads": 4, "layers": 2}, "layers=2, but pre-training had 1; heads=4, but pre-training"),
        ({"anchor": "none"}, "anchor='none', but pre-training had 'linear'"),
        ({"diffusion_steps": 9}, "diffusion_steps=9, but"),
        ({"calendar": ["hour"]}, r"calendar=\['hour'\], but pre-training had None"),
        ({"exogenous": ["c"]}, r"exogenous=\['c'\], but pre-training had None"),
    ],
)
def test_a_fit_with_another_network_is_refused_by_name(pretrained, changed, message):
    with pytest.raises(InputError, match=message):
        pretrained.set_params(**changed).fit(table("abc").fillna(0.0))


def test_a_fit_at_another_time_step_is_warned_of(pretrained):
    with pytest.warns(UserWarning, match="pre-trained on data with a step of 0 days 01:00:00, but"):
        pretrained.fit(table("abc", freq="D"))
    with pytest.warns(UserWarning, match="but X has no timestamps"):
        pretrained.fit(table("abc", freq=None))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pretrained.fit(table("abc", freq="h"))


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("h", "60min", True),
        ("h", "D", False),
        ("MS", "ME", True),
        ("MS", "QS", False),
        ("QS-JAN", "QS-OCT", True),
        ("MS", "D", False),
        ("7D", "W-MON", True),
        (None, "h", False),
        (None, None, True),
    ],
)
def test_steps_of_time(one, other, agree):
    steps = [TimeStep.of(read_panel(table(freq=freq))) for freq in (one, other)]
    assert steps[0].agrees_with(steps[1]) is agree
    assert steps[1].agrees_with(steps[0]) is agree


def test_periods_and_numbers_are_steps_too():
    hours, months = table(), table(freq="MS")
    by_period = TimeStep.of(read_panel(hours.set_axis(hours.index.to_period("h"))))
    assert by_period.agrees_with(TimeStep.of(read_panel(hours)))
    by_month = TimeStep.of(read_panel(months.set_axis(months.index.to_period("M"))))
    assert by_month.agrees_with(TimeStep.of(read_panel(months)))
    numbers = TimeStep.of(read_panel(table(freq=None).set_axis(np.arange(0, 30, 0.5))))
    assert str(numbers) == "numbers 0.5 apart"
    assert not numbers.agrees_with(TimeStep.of(read_panel(table(freq=None))))


def test_too_few_rows_agree_with_any_step():
    few = TimeStep.of(read_panel(table(n_times=1)))
    assert few.agrees_with(TimeStep.of(read_panel(table()))) and not few.is_known
    assert str(few) == "timestamps of an unknown step"


def test_features_of_one_name_share_a_number():
    names, numbers = feature_numbers([["a", "b"], 2, ["c", "a"], 1])
    assert names == ("a", "b", None, None, "c", None)
    assert [number.tolist() for number in numbers] == [[0, 1], [2, 3], [4, 0], [5]]


# ----------------------------------------------------------------------------------------- files


@pytest.fixture
def saved(pretrained, tmp_path) -> Path:
    return pretrained.save_pretrained(tmp_path / "trunk")


def test_saved_weights_start_another_imputer(pretrained, saved):
    small = {name: TINY[name] for name in ("epochs", "kept_steps", "n_samples", "random_state")}
    other = EDDPMImputer.from_pretrained(saved, **small, variance="fixed", verbose=0, device="cpu")
    assert other.window_steps == 12 and other.channels == 8 and other.anchor == "linear"
    pd.testing.assert_frame_equal(other.pretraining_history_, pretrained.pretraining_history_)
    with pytest.raises(NotFittedError):
        other.transform(table("abc"))
    wanted = pretrained.fit(table("abc")).transform(table("abc"))
    pd.testing.assert_frame_equal(other.fit(table("abc")).transform(table("abc")), wanted)


def test_covariates_pass_through_a_file(tmp_path):
    data = table("ab").assign(e=np.arange(60.0))
    more = {"exogenous": ("e",), "calendar": ("hour",), "time": "clock"}
    imputer = EDDPMImputer(**TINY, **more).pretrain(data, epochs=1)
    path = imputer.save_pretrained(tmp_path / "trunk")
    other = EDDPMImputer.from_pretrained(path, **{**TINY, "epochs": 1})
    assert not other.fit(data).transform(data).isna().any().any()


def test_given_parameters_win_and_are_checked_at_the_fit(saved):
    other = EDDPMImputer.from_pretrained(saved, **TINY | {"channels": 16})
    with pytest.raises(InputError, match="channels=16, but pre-training had 8"):
        other.fit(table("abc"))


def test_files_are_plain_and_listed(saved):
    names = {file.name for file in saved.iterdir()}
    payload = {"config.json", "weights.safetensors", "history.csv"}
    assert names == payload | {"PRETRAINED_FORMAT", "SHA256SUMS"}
    for line in (saved / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((saved / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors", "history.csv"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_damage_is_refused(saved, name, damage):
    file = saved / name
    data = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    elif damage == "truncate":
        file.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    with pytest.raises(ModelFileError, match=name):
        EDDPMImputer.from_pretrained(saved)


def test_files_that_do_not_fit_together_are_refused(saved):
    for change in ({"feature_names": ["a"]}, {"network": {"n_features": 4, "channels": 16}}):
        config = json.loads((saved / "config.json").read_text())
        data = json.dumps(config | change).encode()
        before = (saved / "config.json").read_bytes()
        sums = (saved / "SHA256SUMS").read_text()
        (saved / "config.json").write_bytes(data)
        new, old = (hashlib.sha256(part).hexdigest() for part in (data, before))
        (saved / "SHA256SUMS").write_text(sums.replace(old, new))
        with pytest.raises(ModelFileError, match="do not fit together"):
            EDDPMImputer.from_pretrained(saved)
        (saved / "config.json").write_bytes(before)
        (saved / "SHA256SUMS").write_text(sums)


def test_newer_formats_and_strangers_are_refused(pretrained, saved, tmp_path):
    (saved / "PRETRAINED_FORMAT").write_text("2\n")
    with pytest.raises(ModelFileError, match=r"format 2, newer than 1.*update tsimpute"):
        EDDPMImputer.from_pretrained(saved)
    with pytest.raises(ModelFileError, match="not a directory of pre-trained weights"):
        EDDPMImputer.from_pretrained(tmp_path / "absent")
    model = pretrained.fit(table("abc")).save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="not a directory of pre-trained weights"):
        EDDPMImputer.from_pretrained(model)
    with pytest.raises(ModelFileError, match="not a saved model"):
        load(saved)
    with pytest.raises(InputError, match="not a directory of pre-trained weights; choose another"):
        pretrained.save_pretrained(model)


def test_saving_again_replaces_and_leaves_no_litter(pretrained, saved):
    pretrained.save_pretrained(saved)
    assert [path.name for path in saved.parent.iterdir()] == ["trunk"]


def test_there_is_nothing_to_save_before_pretraining(tmp_path):
    with pytest.raises(NotFittedError, match=r"call pretrain\(data\) first"):
        EDDPMImputer(**TINY).save_pretrained(tmp_path / "trunk")


def test_labels_that_text_cannot_hold_are_refused(tmp_path):
    odd = table().set_axis([pd.Timestamp("2026-01-01"), "b"], axis=1)
    imputer = EDDPMImputer(**TINY).pretrain(odd, epochs=1)
    with pytest.raises(InputError, match="column labels must be text"):
        imputer.save_pretrained(tmp_path / "trunk")
    assert not any(tmp_path.iterdir())


def test_numbers_of_numpy_can_be_saved(tmp_path):
    imputer = EDDPMImputer(**TINY | {"channels": np.int64(8)}).pretrain(table(), epochs=1)
    path = imputer.save_pretrained(tmp_path / "trunk")
    assert EDDPMImputer.from_pretrained(path).channels == 8
    model = imputer.fit(table()).save(tmp_path / "model")
    assert load(model).channels == 8


@pytest.mark.parametrize("epochs", [0, 1.5, "2", True])
def test_epochs_of_pretraining_are_a_whole_number(epochs):
    data = np.random.default_rng(0).normal(size=(60, 2))
    small = EDDPMImputer(window_steps=12, channels=8, layers=1, heads=2, verbose=0)
    with pytest.raises(InputError, match=r"epochs=.*expected a whole number of at least 1"):
        small.pretrain(data, epochs=epochs)
    assert not hasattr(small, "pretrained_")


@pytest.mark.parametrize("seconds", ["a", True, np.True_, 0, -1.0, float("nan"), [5]])
def test_a_time_budget_of_pretraining_is_a_number_of_seconds(seconds):
    """It is checked before the data are."""
    with pytest.raises(InputError, match=r"time_budget_s=.*expected a number of more than 0"):
        EDDPMImputer(**TINY).pretrain(None, time_budget_s=seconds)
