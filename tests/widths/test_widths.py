"""A network as wide as each step needs, from training to imputation."""

from __future__ import annotations

import copy
import json
import signal
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from tsimpute import EDDPMImputer, load
from tsimpute.denoiser.flops import evaluation_flops
from tsimpute.denoiser.slimmable import narrow_config, narrowed
from tsimpute.denoiser.step_widths import StepWidths
from tsimpute.errors import InputError, MissingExtraError, ModelFileError
from tsimpute.fitting.heads import with_variance_at_all_widths
from tsimpute.fitting.respacing import with_steps
from tsimpute.fitting.training_data import TrainingData
from tsimpute.panel.containers import read_panel
from tsimpute.plotting import plot_step_widths
from tsimpute.samplers.catalogue import SAMPLERS
from tsimpute.samplers.protocol import StepRecord
from tsimpute.samplers.variance import fixed
from tsimpute.sampling.batching import Question, quantiles_together
from tsimpute.sampling.prepared import WindowDenoiser, prepare
from tsimpute.widths.progress import SearchBar, Work
from tsimpute.widths.search import Judge
from tsimpute.widths.strategy import flops_share, with_strategy

TINY = {
    "window_steps": 12,
    "kept_steps": 4,
    "n_samples": 4,
    "epochs": 1,
    "diffusion_steps": 10,
    "channels": 8,
    "layers": 1,
    "heads": 4,
    "random_state": 0,
    "verbose": 0,
    "variance": "fixed",
    "device": "cpu",
}
SEARCH = {"population": 6, "generations": 2, "max_windows": 2, "n_samples": 2}
SEARCH |= {"final_windows": 3, "final_samples": 2}


def table(n_times: int = 72, seed: int = 0) -> pd.DataFrame:
    rng, t = np.random.default_rng(seed), np.arange(n_times)
    df = pd.DataFrame({"x": np.sin(t / 5), "y": np.cos(t / 7)})
    return (df + rng.normal(scale=0.2, size=df.shape)).mask(rng.random(df.shape) < 0.2)


def loosened(imputer: EDDPMImputer) -> EDDPMImputer:
    """With a last layer that is not next to 0, as it is after a single epoch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in imputer.model_.network.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return imputer


@pytest.fixture(scope="module")
def trained() -> EDDPMImputer:
    return loosened(EDDPMImputer(**TINY, slimmable=True).fit(table()))


@pytest.fixture
def slim(trained) -> EDDPMImputer:
    return copy.deepcopy(trained)


@pytest.fixture(scope="module")
def ordinary() -> EDDPMImputer:
    return EDDPMImputer(**TINY).fit(table())


# ------------------------------------------------------------------------------- by hand


def test_a_fit_for_widths_begins_with_the_whole_network_at_every_step(trained, ordinary):
    assert trained.model_.widths == StepWidths((8, 8, 8, 8))
    assert ordinary.model_.widths is None
    for imputer in (trained, ordinary):
        schedule = imputer.step_schedule_
        np.testing.assert_array_equal(schedule["width"], 8 * schedule["kept"])
    assert clone(trained).slimmable is True


def test_whole_widths_change_no_bit(slim):
    wanted = slim.transform(table())
    slim.model_ = with_strategy(slim.model_, [8, 8, 8, 8])
    pd.testing.assert_frame_equal(slim.transform(table()), wanted, check_exact=True)


def test_widths_are_shown_and_change_the_answer(slim):
    whole = slim.transform(table())
    slim.use_widths([2, 8, 4, 6])
    schedule = slim.step_schedule_
    assert schedule.loc[schedule["kept"], "width"].tolist() == [2, 8, 4, 6]
    assert (schedule.loc[~schedule["kept"], "width"] == 0).all()
    assert not slim.transform(table()).equals(whole)


def test_width_0_leaves_the_step_out(slim):
    shorter = with_steps(slim.model_, np.array([0, 3]))
    slim.use_widths([8, 0, 0, 8])
    assert slim.model_.widths.eighths == (8, 8)
    np.testing.assert_array_equal(slim.model_.grid.alpha_bar, shorter.grid.alpha_bar)
    answer = slim.transform(table())
    slim.model_ = shorter
    pd.testing.assert_frame_equal(slim.transform(table()), answer, check_exact=True)


def test_a_strategy_takes_up_the_steps_that_the_last_one_left_out(slim, tmp_path):
    first, grid = copy.deepcopy(slim).use_widths([2, 8, 4, 6]), slim.model_.grid
    slim.use_widths([8, 0, 0, 8]).use_widths([0, 8, 0, 0])
    assert slim.model_.grid.index.tolist() == [grid.index[1]]
    again = load(slim.save(tmp_path / "model"), device="cpu")
    for imputer in (slim, again):
        imputer.use_widths([2, 8, 4, 6])
        for name in ("index", "alpha_bar", "network_step"):
            levels, wanted = getattr(imputer.model_.grid, name), getattr(grid, name)
            np.testing.assert_array_equal(levels, wanted)
            assert levels.dtype == wanted.dtype
        assert imputer.model_.widths == first.model_.widths
    pd.testing.assert_frame_equal(slim.transform(table()), first.transform(table()))
    assert slim.model_id_ == first.model_id_


def test_a_model_without_some_steps_is_another_model(slim):
    names = {slim.use_widths(widths).model_id_ for widths in ([8, 0, 8, 8], [8, 8, 0, 8])}
    slim.model_ = with_steps(slim.model_, np.arange(3))  # forgets what was left out
    assert len(names | {slim.model_id_}) == 3
    assert slim.model_.widths == StepWidths((8, 8, 8))


def test_training_on_takes_up_the_steps_that_were_left_out(slim):
    steps = slim.model_.grid.index
    slim.use_widths([2, 0, 0, 4]).train_widths(table(), epochs=1)
    np.testing.assert_array_equal(slim.model_.grid.index, steps)
    assert slim.model_.widths == StepWidths.whole(4)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ([8, 8, 8], r"got 3 of them, expected 4, one for each kept step"),
        ([8, 8, 8, 8, 8], r"got 5 of them, expected 4"),
        ([8, 8, 3, 8], r"widths\[2\]=3 .* heads=4; expected one of \[0, 2, 4, 6, 8\]"),
        ([8, 8, 2.0, 8], r"widths\[2\]=2.0 cannot be used"),
        ([0, 0, 0, 0], r"0 for every step, expected at least one"),
        (8, r"widths=8 cannot be used; expected 4, one for each kept step"),
        (None, r"widths=None cannot be used; expected 4, one for each kept step"),
    ],
)
def test_impossible_widths_are_refused_and_change_nothing(slim, widths, message):
    before = slim.model_
    with pytest.raises(InputError, match=message):
        slim.use_widths(widths)
    assert slim.model_ is before


def test_a_model_of_one_width_says_how_to_train_others(ordinary):
    for ask in (lambda: ordinary.use_widths([8, 8, 8, 2]), lambda: ordinary.search_widths(table())):
        with pytest.raises(InputError, match=r"call train_widths\(X\) on it"):
            ask()


def test_a_model_cannot_hold_widths_for_other_steps(slim):
    from dataclasses import replace

    with pytest.raises(InputError, match="got 2 for 4 kept steps"):
        replace(slim.model_, widths=StepWidths((8, 8)))


def test_an_odd_number_of_heads_is_refused_before_training(ordinary):
    with pytest.raises(InputError, match="heads=1 leaves slimmable=True no narrower width"):
        EDDPMImputer(**{**TINY, "heads": 1}, slimmable=True).fit(table())


# ---------------------------------------------------------------------- the network of a step


def denoiser(imputer: EDDPMImputer) -> WindowDenoiser:
    series = [imputer.model_.scaler.transform(table().to_numpy())]
    prepared = prepare(imputer.model_, series, [(0, 0), (0, 12)], torch.device("cpu"))
    return WindowDenoiser(imputer.model_, prepared.windows, prepared.shown, 3)


def test_a_denoiser_asks_the_network_of_the_step_that_is_being_taken(slim):
    slim.use_widths([2, 8, 4, 6])
    state = torch.randn(2, 3, 12, 2, generator=torch.Generator().manual_seed(0))
    by_step = denoiser(slim)
    for position in reversed(range(4)):
        for step in (slim.model_.grid.network_step[position], 1.0, 8.0):
            uniform = copy.deepcopy(slim)
            uniform.use_widths([slim.model_.widths.eighths[position]] * 4)
            with torch.no_grad():
                said, wanted = by_step(state, step, 0.5), denoiser(uniform)(state, step, 0.5)
            assert torch.equal(said.noise, wanted.noise)
        by_step.after_step(StepRecord(position, state, state))


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_begins_each_step_at_its_own_level_and_width(slim, name):
    slim.use_widths([2, 8, 4, 6])
    own, grid, asked = denoiser(slim), slim.model_.grid, []

    def denoise(x, network_step, alpha_bar):
        asked.append((own._position, network_step))
        return own(x, network_step, alpha_bar)

    start = torch.randn(2, 3, 12, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        SAMPLERS[name](denoise, start, grid, fixed, lambda: 0 * start, own.after_step)
    first = {}
    for position, step in asked:
        first.setdefault(position, step)
    assert list(first) == [3, 2, 1, 0]
    assert list(first.values()) == grid.network_step[::-1].tolist()
    if len(asked) == 4:
        return
    assert name in ("genie", "s-pndm", "f-pndm")


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_sampler_reads_weights_outside_the_widths(slim, name):
    slim.use_widths([4, 2, 4, 4])
    wanted = slim.sample(table(), 2, sampler=name)
    for layer in ("skip_projection", "input_projection"):
        getattr(slim.model_.network, layer).weight.data[4:] = torch.nan
    np.testing.assert_array_equal(slim.sample(table(), 2, sampler=name).values, wanted.values)


def test_the_service_gives_the_same_numbers(slim):
    slim.use_widths([2, 8, 4, 6])
    alone = slim.predict_quantiles(table(), [0.3, 0.5])
    together = quantiles_together(slim, [Question(table(), [0.3, 0.5])])[0]
    for level, frame in enumerate(together):
        np.testing.assert_allclose(frame.to_numpy(), alone.values[level], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["crps", "analytic"])
def test_variances_are_learned_at_the_widths_in_place(slim, kind):
    slim.use_widths([2, 8, 4, 6]).fit_variance(table(), kind, n_batches=4)
    answer = slim.transform(table(), variance=kind)
    assert not answer.isna().any().any()
    if kind != "analytic":  # the narrowest step must not read the other channels
        hidden = slim.model_.heads[kind].hidden
        assert hidden.in_features == 8
        slim.use_widths([2, 2, 2, 2]).fit_variance(table(), kind, n_batches=4)
        wanted = slim.transform(table(), variance=kind)
        slim.model_.heads[kind].hidden.weight.data[:, 2:] = torch.nan
        pd.testing.assert_frame_equal(slim.transform(table(), variance=kind), wanted)


def test_a_variance_knows_how_well_a_narrow_network_does(slim):
    """A step whose narrow network is spoilt gets a wider Gaussian, and the others do not."""
    power = []
    for widths in ([8, 8, 8, 8], [2, 8, 8, 8]):
        slim.use_widths(widths).fit_variance(table(), "analytic", n_batches=6)
        power.append(slim.model_.noise_power[slim.model_.grid.index])
    np.testing.assert_allclose(power[0][1:], power[1][1:], rtol=1e-5)
    assert power[0][0] != pytest.approx(power[1][0], rel=1e-3)


@pytest.mark.parametrize("kind", ["ggdm", "genie-distilled", "tdas"])
def test_samplers_are_fitted_at_the_widths_in_place(slim, kind):
    slim.use_widths([2, 8, 4, 6]).fit_sampler(table(), kind, iterations=2)
    for layer in ("skip_projection", "input_projection"):
        assert getattr(slim.model_.network, layer).weight.isfinite().all()
    assert not slim.transform(table(), sampler=kind).isna().any().any()


# --------------------------------------------------------------------- what comes after


def test_widths_pass_through_a_file(slim, tmp_path):
    slim.use_widths([2, 0, 4, 6])
    again = load(slim.save(tmp_path / "model"), device="cpu")
    assert again.model_.widths == slim.model_.widths
    assert again.model_.widths.eighths == (2, 4, 6)
    pd.testing.assert_frame_equal(again.transform(table()), slim.transform(table()))


def test_a_file_with_widths_for_other_steps_is_refused(slim, tmp_path):
    path = slim.save(tmp_path / "model")
    (path / "parts.json").write_text(json.dumps({"widths": {"eighths": [8]}}))
    from tsimpute.storage.directories import digest

    sums = (path / "SHA256SUMS").read_text().splitlines()
    mine = f"{digest((path / 'parts.json').read_bytes())}  parts.json"
    kept = [line for line in sums if not line.endswith("parts.json")]
    (path / "SHA256SUMS").write_text("\n".join([*kept, mine]) + "\n")
    with pytest.raises(InputError, match="got 1 for 4 kept steps"):
        load(path)


def test_other_steps_keep_their_widths(slim):
    slim.use_widths([2, 8, 4, 6])
    steps = slim.model_.grid.index
    other = slim.respace("uniform", 2)
    width_of = dict(zip(steps, [2, 8, 4, 6], strict=True))
    wanted = tuple(width_of[step] for step in other.model_.grid.index)
    assert other.model_.widths == StepWidths(wanted)


def test_pruning_goes_on_training_all_widths_and_begins_anew(slim, ordinary):
    slim.use_widths([2, 8, 4, 6]).prune(table(), 2, epochs=1)
    assert slim.model_.widths == StepWidths((8, 8))
    assert copy.deepcopy(ordinary).prune(table(), 2, epochs=1).model_.widths is None


def test_an_ordinary_model_learns_widths_at_its_own_steps(ordinary):
    imputer = copy.deepcopy(ordinary)
    weights = {name: w.clone() for name, w in imputer.model_.network.state_dict().items()}
    old, network = imputer.model_, imputer.model_.network
    imputer.train_widths(table(), epochs=2)
    assert imputer.model_.widths == StepWidths((8, 8, 8, 8))
    assert imputer.model_.grid is old.grid
    np.testing.assert_array_equal(imputer.model_.keep_prob, old.keep_prob)
    assert len(imputer.history_) == 2
    for name, weight in network.state_dict().items():  # the old network is as it was
        assert torch.equal(weight, weights[name])
    moved = imputer.model_.network.skip_projection.weight
    assert not torch.equal(moved, weights["skip_projection.weight"])
    assert imputer.use_widths([2, 2, 2, 2]).transform(table()).notna().all().all()


# -------------------------------------------------------------------------------- the search


def test_a_search_scores_strategies_and_uses_the_best(slim):
    whole_flops = evaluation_flops(slim.model_.network.config, 12)
    slim.search_widths(table(seed=1), flops_weight=0.5, **SEARCH)
    found = slim.width_search_
    best = found[found["chosen"]].iloc[0]
    assert found["widths"].iloc[0] == (8, 8, 8, 8)
    assert found["flops_share"].iloc[0] == 1
    finalists = found["crps"].notna()
    assert best["score"] == found["score"].min()
    relative = found["crps"] / found["crps"].iloc[0] + 0.5 * found["flops_share"]
    np.testing.assert_allclose(found["score"][finalists], relative[finalists])
    kept = tuple(width for width in best["widths"] if width)
    assert slim.model_.widths.eighths == kept
    flops = sum(evaluation_flops(narrow_config(slim.model_.network.config, w), 12) for w in kept)
    assert best["flops_share"] == pytest.approx(flops / (4 * whole_flops))
    assert slim.transform(table()).notna().all().all()


def test_operations_alone_lead_to_the_cheapest_strategy_that_was_tried(slim):
    slim.search_widths(table(), flops_weight=1e6, **SEARCH)
    found = slim.width_search_
    assert found.loc[found["chosen"], "flops_share"].item() == found["flops_share"].min()


def test_quality_alone_leads_to_the_best_finalist(slim):
    slim.search_widths(table(), flops_weight=0, skip=False, **SEARCH)
    found = slim.width_search_
    assert found.loc[found["chosen"], "crps"].item() == found["crps"].min()
    assert all(min(widths) > 0 for widths in found["widths"])


def test_the_seed_decides_a_search_and_a_stopped_one_goes_on(trained, tmp_path):
    runs = [copy.deepcopy(trained) for _ in range(3)]
    file = tmp_path / "scores.json"
    runs[0].search_widths(table(), **SEARCH)
    runs[1].search_widths(table(), checkpoint=file, **SEARCH)
    pd.testing.assert_frame_equal(runs[0].width_search_, runs[1].width_search_)
    stored = json.loads(file.read_text())
    stored["scores"] = [[kind, key, 7 * score] for kind, key, score in stored["scores"][:3]]
    file.write_text(json.dumps(stored))
    runs[2].search_widths(table(), checkpoint=file, **SEARCH)
    few = [run.width_search_["crps_few"] for run in runs]
    np.testing.assert_allclose(few[2][:3], 7 * few[0][:3])  # these were not computed again
    np.testing.assert_allclose(few[2][3:6], few[0][3:6])  # and the rest of the generation was
    with pytest.raises(ModelFileError, match=r"other settings \(n_samples\)"):
        copy.deepcopy(trained).search_widths(table(), checkpoint=file, **{**SEARCH, "n_samples": 3})
    with pytest.raises(ModelFileError, match=r"other settings \(data\)"):
        copy.deepcopy(trained).search_widths(table(seed=5), checkpoint=file, **SEARCH)
    file.write_text("[]")
    with pytest.raises(ModelFileError, match="not a readable file of scores"):
        copy.deepcopy(trained).search_widths(table(), checkpoint=file, **SEARCH)


def test_a_variance_for_all_widths_has_seen_each(slim):
    """It stands between those of the single widths, and every strategy can be read with it."""
    model, panel = slim.model_, read_panel(table())
    mixed = with_variance_at_all_widths(slim, model, TrainingData(panel, 0), "analytic", 8)
    power = []
    for width in (2, 8):
        slim.use_widths([width] * 4).fit_variance(table(), "analytic", n_batches=8)
        power.append(slim.model_.noise_power[model.grid.index].mean())
    assert min(power) < mixed.noise_power[model.grid.index].mean() < max(power)


@pytest.mark.slow
def test_a_search_learns_the_variance_before_and_after(slim):
    slim.set_params(variance="crps").search_widths(table(), flops_weight=0.5, **SEARCH)
    assert set(slim.model_.heads) == {"crps"}
    assert slim.transform(table()).notna().all().all()


def test_a_second_search_begins_with_all_steps_and_knows_the_scores(slim, tmp_path):
    fresh, file = copy.deepcopy(slim), tmp_path / "scores.json"
    slim.search_widths(table(), flops_weight=1e6, checkpoint=file, **SEARCH)
    assert len(slim.model_.grid) < 4  # steps were left out
    known = json.loads(file.read_text())["scores"]
    slim.search_widths(table(), flops_weight=0, checkpoint=file, **SEARCH)
    scores = json.loads(file.read_text())["scores"]
    assert scores[: len(known)] == known
    assert {kind for kind, *_ in scores[len(known) :]} <= {"more"}
    fresh.search_widths(table(), flops_weight=0, **SEARCH)
    pd.testing.assert_frame_equal(slim.width_search_, fresh.width_search_)
    assert slim.model_.widths == fresh.model_.widths


class Unwanted(Exception):
    """Something was computed."""


@pytest.fixture
def idle(slim, monkeypatch) -> EDDPMImputer:
    """A network that must not be run."""

    def run(*_: object, **__: object) -> None:
        raise Unwanted

    slim.set_params(variance="crps")
    slim.model_.network.register_forward_pre_hook(run)
    monkeypatch.setattr(type(slim.model_.network), "trunk", run)
    return slim


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("flops_weight", -1, "a number of at least 0"),
        ("flops_weight", "a", "a number of at least 0"),
        ("flops_weight", np.inf, "a number of at least 0"),
        ("population", 1, "a whole number of at least 2"),
        ("population", 2.5, "a whole number of at least 2"),
        ("generations", 0, "a whole number of at least 1"),
        ("mutation", "a", "a number of more than 0 and of at most 1"),
        ("mutation", True, "a number of more than 0 and of at most 1"),
        ("skip", "no", "True or False"),
        ("hidden_fraction", "a", "a share strictly"),
        ("max_windows", "a", "a whole number of at least 1"),
        ("n_samples", 2.0, "a whole number of at least 1"),
        ("final_windows", None, "a whole number of at least 1"),
        ("final_samples", 0, "a whole number of at least 1"),
        ("finalists", 0, "a whole number of at least 1"),
    ],
)
def test_impossible_searches_are_refused_before_anything_is_computed(idle, name, value, expected):
    with pytest.raises(InputError, match=rf"^{name}={value!r} cannot be used; expected {expected}"):
        idle.search_widths(table(), **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 1.5, "a whole number of at least 1"),
        ("epochs", "2", "a whole number of at least 1"),
        ("learning_rate", "a", "a number of more than 0"),
        ("time_budget_s", "a", "a number of more than 0"),
        ("time_budget_s", 0, "a number of more than 0"),
    ],
)
def test_impossible_training_is_refused_before_it_begins(idle, name, value, expected):
    message = rf"^{name}={value!r} cannot be used; expected {expected}$"
    with pytest.raises(InputError, match=message):
        idle.train_widths(table(), **{name: value})
    if name == "epochs":
        with pytest.raises(InputError, match=message):
            idle.prune(table(), 2, epochs=value)


def test_a_search_needs_a_sampler_that_is_not_fitted(idle):
    with pytest.raises(InputError, match="sampler='ggdm' is fitted to the model's present steps"):
        idle.set_params(sampler="ggdm", variance="fixed").search_widths(table(), **SEARCH)


def test_a_search_without_pymoo_says_so_at_once(idle, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymoo.optimize", None)
    with pytest.raises(MissingExtraError, match="search"):
        idle.search_widths(table(), **SEARCH)


def test_numbers_may_be_numpy_ones(slim, tmp_path):
    numbers = {name: np.int64(value) for name, value in SEARCH.items()}
    slim.search_widths(table(), checkpoint=tmp_path / "scores.json", **numbers)
    assert 6 <= len(slim.width_search_) <= 12


def test_scores_are_not_taken_over_from_other_side_columns(tmp_path):
    df = table().assign(load=np.linspace(0, 1, 72))
    imputer = EDDPMImputer(**TINY, slimmable=True, exogenous=["load"]).fit(df)
    file = tmp_path / "scores.json"
    copy.deepcopy(imputer).search_widths(df, checkpoint=file, **SEARCH)
    with pytest.raises(ModelFileError, match=r"other settings \(data\)"):
        imputer.search_widths(df.assign(load=0.5), checkpoint=file, **SEARCH)


def test_scores_are_not_taken_over_from_another_variance_or_marginal_head(slim, tmp_path):
    file = tmp_path / "scores.json"
    slim.fit_marginals(table(), iterations=2).set_params(start="marginals")
    copy.deepcopy(slim).search_widths(table(), checkpoint=file, **SEARCH)
    with pytest.raises(ModelFileError, match=r"other settings \(target_strategy\)"):
        copy.deepcopy(slim).set_params(target_strategy="block").search_widths(
            table(), checkpoint=file, **SEARCH
        )
    slim.fit_marginals(table(), iterations=3)
    with pytest.raises(ModelFileError, match=r"other settings \(weights\)"):
        slim.search_widths(table(), checkpoint=file, **SEARCH)


def test_the_random_state_decides_which_cells_and_strategies(trained):
    first, again, other = (
        copy.deepcopy(trained).search_widths(table(), random_state=seed, **SEARCH).width_search_
        for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first, again)
    assert first["crps_few"][0] != other["crps_few"][0]
    assert first["widths"].tolist() != other["widths"].tolist()


def test_as_many_finalists_are_scored_again_as_asked_for(slim):
    slim.search_widths(table(), finalists=1, flops_weight=1e6, **SEARCH)
    assert slim.width_search_["crps"].notna().sum() == 2  # with the whole network


def test_a_search_says_how_long_it_is_and_its_bar_reaches_the_end(slim, capsys):
    slim.set_params(verbose=1, variance="analytic").search_widths(table(), **SEARCH)
    said = capsys.readouterr().err
    assert "at most 12 strategies by" in said and "then 6 by" in said
    assert "search widths: 100%" in said and "finalists" in said
    assert "generation 2 of 2" in said


def test_the_bar_counts_what_need_not_be_computed(capsys):
    work = Work(variance=10, population=4, generations=2, few=5, finalists=3, more=20)
    assert work.total == 10 + 8 * 5 + 3 * 20
    with SearchBar(work, silent=False) as bar:
        bar.after_variance()
        bar.add(work.few)
        for _ in range(2):
            bar.after_generation()
        bar.before_finalists()
        bar.note("half")
        bar.add(work.more)
        bar.note("nearly")
        bar.finish()
    said = capsys.readouterr().err.replace("\r", "\n")
    assert any(" 45%" in line and "half" in line for line in said.split("\n"))
    assert any(" 64%" in line and "nearly" in line for line in said.split("\n"))
    assert "100%" in said


def test_ctrl_c_uses_the_best_of_what_was_tried(slim, monkeypatch, capsys):
    scored, original = [], Judge.crps

    def stop(judge: Judge, strategy: tuple[int, ...]) -> float:
        scored.append(strategy)
        if len(scored) == 4:
            signal.raise_signal(signal.SIGINT)
        return original(judge, strategy)

    monkeypatch.setattr(Judge, "crps", stop)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        slim.set_params(verbose=1).search_widths(table(), flops_weight=1e6, **SEARCH)
    finally:
        signal.signal(signal.SIGINT, before)
    assert slim.width_search_["widths"].tolist() == scored[:3]
    assert "stopped by the user; the best of 3 strategies" in capsys.readouterr().err
    assert slim.width_search_["crps"].notna().all()
    chosen = slim.width_search_.loc[slim.width_search_["chosen"], "widths"].item()
    assert slim.model_.widths.eighths == chosen == (4, 4, 4, 4)


def test_ctrl_c_before_the_first_score_changes_nothing(slim, monkeypatch):
    def stop(*_: object) -> float:
        raise KeyboardInterrupt

    before = slim.model_
    monkeypatch.setattr(Judge, "crps", stop)
    with pytest.raises(KeyboardInterrupt):
        slim.search_widths(table(), **SEARCH)
    assert slim.model_ is before


def test_a_table_of_strategies_goes_with_the_network_that_was_searched(slim):
    slim.search_widths(table(), **SEARCH)
    assert len(copy.deepcopy(slim).use_widths([8, 8, 8, 8]).width_search_) >= 6
    assert not hasattr(copy.deepcopy(slim).train_widths(table(), epochs=1), "width_search_")
    assert not hasattr(slim.fit(table()), "width_search_")


# ---------------------------------------------------------------------------- calibration


@pytest.fixture(scope="module")
def once_calibrated() -> EDDPMImputer:
    options = TINY | {"validation_fraction": 0.3, "calibrate": True}
    return loosened(EDDPMImputer(**options, slimmable=True).fit(table(144)))


@pytest.fixture
def calibrated(once_calibrated) -> EDDPMImputer:
    return copy.deepcopy(once_calibrated)


def after_widths(imputer: EDDPMImputer, how: str) -> EDDPMImputer:
    if how == "train_widths":
        return imputer.train_widths(table(144), epochs=1)
    if how == "search_widths":
        return imputer.search_widths(table(144), **SEARCH)
    return imputer.use_widths([2, 8, 4, 6], table(144))


@pytest.mark.parametrize("how", ["train_widths", "search_widths", "use_widths"])
def test_quantiles_are_calibrated_anew_at_new_widths(calibrated, how):
    (before,) = calibrated.model_.calibrations
    (found,) = after_widths(calibrated, how).model_.calibrations
    (own,) = calibrated.fit_calibration(table(144)).model_.calibrations
    assert found.n_cells.sum() != own.n_cells.sum()  # on held-out rows alone
    assert not np.array_equal(found.factors, before.factors)


@pytest.mark.parametrize("how", ["train_widths", "search_widths", "use_widths"])
def test_a_calibration_that_is_lost_is_warned_of(slim, how):
    slim.fit_calibration(table(), max_windows=4)
    with pytest.warns(UserWarning, match=r"no longer calibrated.*call fit_calibration\(X\)"):
        after_widths(slim, how)
    assert not slim.model_.calibrations
    after_widths(slim, how)  # nothing was lost now


def test_widths_by_hand_without_data_lose_the_calibration(calibrated):
    with pytest.warns(UserWarning, match="no longer calibrated") as caught:
        calibrated.use_widths([2, 8, 4, 6])
    assert caught[0].filename == __file__
    assert not calibrated.model_.calibrations


def test_a_calibration_waits_for_a_sampler_that_has_to_be_fitted(calibrated):
    calibrated.set_params(sampler="ggdm")
    with pytest.warns(UserWarning, match="no longer calibrated"):
        calibrated.use_widths([2, 8, 4, 6], table(144))


def test_the_share_of_operations_adds_up(trained):
    config = trained.model_.network.config
    assert flops_share(config, 12, [8, 8]) == 1
    assert flops_share(config, 12, [8, 0]) == 0.5
    assert flops_share(config, 12, [4, 2]) < flops_share(config, 12, [4, 4]) < 0.5
    assert narrowed(trained.model_.network, 4).config == narrow_config(config, 4)


# ----------------------------------------------------------------------------------- picture


def test_the_picture_has_a_bar_for_each_kept_step(slim):
    schedule = slim.use_widths([2, 8, 4, 6]).step_schedule_
    axes = plot_step_widths(schedule)
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes.patches}
    assert heights == dict(zip(slim.model_.grid.index.tolist(), [2, 8, 4, 6], strict=True))
    with pytest.raises(InputError, match="expected also"):
        plot_step_widths(schedule.drop(columns="width"))
