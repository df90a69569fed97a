"""Other steps without training, what each step is worth, and what settings cost."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from tsimpute import EDDPMImputer
from tsimpute.assessment.exam import ExamPlan, make_exam
from tsimpute.assessment.exploration import USUAL_SAMPLERS, Survey, speed_quality, step_importance
from tsimpute.denoiser.context import NO_CONTEXT
from tsimpute.diffusion.schedule import make_schedule
from tsimpute.errors import InputError
from tsimpute.evaluation.metrics import CRPS_LEVELS, quantile_crps_from_quantiles
from tsimpute.evaluation.pareto import pareto_front
from tsimpute.fitting.respacing import (
    STEP_CHOICES,
    LevelTable,
    measure_levels,
    respaced,
    with_steps,
)
from tsimpute.fitting.training_data import TrainingData
from tsimpute.panel.containers import read_panel
from tsimpute.plotting import plot_speed_quality
from tsimpute.samplers.ancestral import ancestral
from tsimpute.samplers.genie import genie
from tsimpute.samplers.protocol import Prediction
from tsimpute.samplers.wrapped import counting, on_longer_noise
from tsimpute.training.examples import Example


def _table():
    t, rng = np.arange(48), np.random.default_rng(0)
    df = pd.DataFrame({"x": np.sin(t / 5), "y": np.cos(t / 7)})
    return (df + rng.normal(scale=0.2, size=df.shape)).mask(rng.random(df.shape) < 0.2)


PANEL = read_panel(_table())
DATA = TrainingData(PANEL, 0)
SIZE = {"window_steps": 12, "diffusion_steps": 10, "channels": 8, "layers": 1, "heads": 2}
RUN = {"n_samples": 4, "epochs": 1, "sampler": "ddpm", "variance": "fixed", "device": "cpu"}
QUIET = {"random_state": 0, "verbose": 0}


@pytest.fixture(scope="module")
def full():
    """A model that was not pruned."""
    return EDDPMImputer(**SIZE, **RUN, **QUIET, kept_steps=10).fit(_table())


@pytest.fixture(scope="module")
def pruned():
    """A model of five steps with Analytic-DPM's numbers."""
    return (
        EDDPMImputer(**SIZE, **RUN, **QUIET, kept_steps=5)
        .fit(_table())
        .fit_variance(_table(), "analytic")
    )


def _other(imputer, model):
    view = copy.copy(imputer)
    view.model_ = model
    return view


# ------------------------------------------------------------------------------ other steps


@pytest.mark.parametrize("method", STEP_CHOICES)
@pytest.mark.parametrize("n_steps", [1, 2, 4, 9])
def test_a_full_chain_is_respaced_to_levels_of_its_own(full, method, n_steps):
    model = respaced(full, full.model_, method, n_steps, TrainingData(PANEL, 0))
    index = model.grid.index
    assert len(index) == n_steps
    np.testing.assert_array_equal(model.grid.alpha_bar, full.model_.schedule.alpha_bar[index])
    assert model.grid.chain is model.schedule
    assert model.network is full.model_.network
    if method != "elbo":
        assert index[-1] == 8  # 0.8 T: beyond, there is no signal


@pytest.mark.parametrize("method", STEP_CHOICES)
def test_a_pruned_model_chooses_among_its_own_steps(pruned, method):
    model = respaced(pruned, pruned.model_, method, 3, TrainingData(PANEL, 0))
    assert set(model.grid.index) < set(pruned.model_.grid.index)
    if method != "elbo":
        assert model.grid.index[-1] == pruned.model_.grid.index[-1]
    assert model.noise_power is pruned.model_.noise_power
    answer = _other(pruned, model).predict_quantiles(_table(), [0.5], variance="analytic")
    assert np.isfinite(answer).all()


@pytest.mark.parametrize("method", STEP_CHOICES)
def test_all_steps_give_the_same_samples_draw_for_draw(pruned, method):
    model = respaced(pruned, pruned.model_, method, 5, TrainingData(PANEL, 0))
    other = _other(pruned, model)
    np.testing.assert_array_equal(other.sample(_table()), pruned.sample(_table()))


def test_a_masked_chain_keeps_the_levels_that_it_was_trained_on(full):
    kept = np.isin(np.arange(10), [1, 4, 5, 8, 9])
    model = with_steps(full.model_, np.arange(10))
    object.__setattr__(model, "grid", make_schedule(n_steps=10).masked(kept))
    sub = respaced(full, model, "uniform", 2).grid
    np.testing.assert_array_equal(sub.index, [5, 9])
    np.testing.assert_array_equal(sub.alpha_bar, model.grid.alpha_bar[[2, 4]])
    assert sub.chain is None


class Twice(torch.nn.Module):
    """A network that says: the noise is twice the state."""

    def forward(self, x, condition, observed_mask, step, is_real=None, context=NO_CONTEXT):
        return 2 * x


def test_the_table_of_errors_is_that_of_a_known_network(full):
    """Where the clean values are 0, x = sqrt(1-A) eps and the answer 2 x: all follows from eps."""
    nothing = torch.zeros(16, 12, 2)
    everywhere = torch.ones(16, 12, 2, dtype=torch.bool)
    example = Example(nothing, nothing, ~everywhere, everywhere, None)
    model = copy.copy(full.model_)
    object.__setattr__(model, "network", Twice())
    table = measure_levels(model, example, seed=0)
    levels = model.grid.alpha_bar
    eps = torch.Generator().manual_seed(0)
    torch.randint(1, (16,), generator=eps)
    power = float(torch.randn(16, 12, 2, generator=eps).square().mean())
    np.testing.assert_allclose(table.noise_power, 4 * (1 - levels) * power, rtol=1e-5)
    wrong = (2 * np.sqrt(1 - levels) - 1) ** 2 * power
    np.testing.assert_allclose(table.clean_error, wrong * (1 - levels) / levels, rtol=1e-4)
    assert table.second_moment == 0


def test_the_windows_that_are_measured_do_not_depend_on_how_many_there_are(full, monkeypatch):
    seen = []

    def measure(model, example, seed):
        seen.append(example)
        return LevelTable(np.ones(10), np.full(10, 0.5), 1.0)

    monkeypatch.setattr("tsimpute.fitting.respacing.measure_levels", measure)
    long = read_panel(pd.concat([_table()] * 20, ignore_index=True))
    respaced(full, full.model_, "elbo", 3, TrainingData(long, 0))
    assert seen[0].away.shape == (16, 12, 2)


@pytest.mark.parametrize(
    ("method", "n_steps", "message"),
    [
        ("unifrom", 3, "method='unifrom' is unknown; expected one of .* mean 'uniform'"),
        ("uniform", 6, "n_steps=6 cannot be used; expected 1 to 5, the steps that the model has"),
        ("elbo", 0, "n_steps=0 cannot be used"),
        ("uniform", 2.5, "n_steps=2.5 cannot be used"),
        ("uniform", True, "n_steps=True cannot be used"),
        ("elbo", 3, "method='elbo' .*pass X, or choose one of"),
    ],
)
def test_bad_respacing_is_refused(pruned, method, n_steps, message):
    with pytest.raises(InputError, match=message):
        respaced(pruned, pruned.model_, method, n_steps)


# ------------------------------------------------------------------------- importance of steps


def test_with_no_step_left_out_the_crps_is_that_of_the_score(pruned):
    table = step_importance(pruned, PANEL, max_windows=None)
    assert table.attrs["crps"] == pytest.approx(-pruned.score(_table()), rel=1e-9)
    np.testing.assert_array_equal(table.index, pruned.model_.grid.index)
    np.testing.assert_allclose(
        table["crps_without"], table.attrs["crps"] * (1 + table["change"]), rtol=1e-12
    )


def test_a_step_that_is_left_out_is_that_step(pruned):
    """The first step has no noise of its own: without it, the CRPS is that of a shorter model."""
    table = step_importance(pruned, PANEL, max_windows=None)
    model = with_steps(pruned.model_, np.arange(1, 5))
    assert table["crps_without"].iloc[0] == pytest.approx(-_other(pruned, model).score(_table()))


def test_a_sampler_of_all_steps_together_says_nothing_of_single_ones(pruned):
    fitted = copy.copy(pruned).set_params(sampler="ggdm")
    with pytest.raises(InputError, match="step_importance cannot be used with sampler='ggdm', who"):
        step_importance(fitted, PANEL)


def test_the_only_step_cannot_be_left_out(pruned):
    model = respaced(pruned, pruned.model_, "uniform", 1)
    with pytest.raises(InputError, match="one step, expected at least two"):
        step_importance(_other(pruned, model), PANEL)


@pytest.mark.parametrize("left_out", [[0], [1], [2], [3], [0, 1], [1, 2], [0, 3], [1, 2, 3], []])
def test_without_some_steps_the_others_keep_their_noise(left_out):
    schedule, drawn = make_schedule(n_steps=10), []
    grid = schedule.respaced(np.delete([2, 4, 6, 8], left_out))
    lacking = [2 * position + 2 for position in left_out]
    numbers = iter([8.0, 6.0, 4.0, 2.0])  # each level's noise is its own step
    levels = {float(a): int(i) for i, a in zip(grid.index, grid.alpha_bar, strict=True)}
    here = []

    def denoise(x, network_step, alpha_bar):
        here.append(levels[alpha_bar])
        return Prediction(0 * x)

    def draw():
        number = next(numbers)
        drawn.append((here[-1] if here else None, number))
        return torch.tensor([number])

    walk = on_longer_noise(ancestral, np.delete(np.arange(4), left_out).tolist(), 4)
    walk(denoise, torch.ones(1), grid, draw_noise=draw)
    kept = [(step, number) for step, number in drawn if number not in lacking]
    assert kept == [(step, float(step)) for step in grid.index[:0:-1]]


# ----------------------------------------------------------------------------- speed and quality


@pytest.fixture(scope="module")
def survey():
    named = {"samplers": ("ddpm", "s-pndm"), "variances": ("fixed", "analytic")}
    return Survey(**named, n_samples=(2, 4), max_windows=None)


@pytest.fixture(scope="module")
def quality(pruned, survey):
    return speed_quality(pruned, DATA, survey)


def test_the_table_has_a_row_for_each_setting(quality):
    settings = quality[["sampler", "variance", "steps", "n_samples"]]
    assert len(quality) == 2 * 2 * 4 * 2
    assert not settings.duplicated().any()
    assert sorted(set(quality["steps"])) == [1, 2, 3, 5]
    assert (quality["seconds"] > 0).all()
    assert quality["coverage_50"].between(0, 1).all()
    assert (quality["coverage_90"] >= quality["coverage_50"]).all()


def test_evaluations_are_counted_and_not_supposed(quality):
    extra = (quality["sampler"] == "s-pndm") & (quality["steps"] > 1)  # Heun's first step
    expected = (quality["steps"] + extra) * quality["n_samples"]
    np.testing.assert_array_equal(quality["nfe_per_window"], expected)


def test_the_imputers_own_setting_has_the_crps_of_its_score(quality, pruned):
    wanted = {"sampler": "ddpm", "variance": "fixed", "steps": 5, "n_samples": 4}
    (row,) = quality[(quality[list(wanted)] == pd.Series(wanted)).all(axis=1)].itertuples()
    assert row.crps == pytest.approx(-pruned.score(_table()), rel=1e-9)


def test_a_row_equals_a_direct_computation_with_the_public_methods(quality, pruned):
    """In the data's own units for coverage; the model's scaler takes the rest to scaled units."""
    panel, model = PANEL, respaced(pruned, pruned.model_, "uniform", 2)
    exam = make_exam(pruned.model_, panel, ExamPlan(pruned.seed_, pruned.overlap))
    (hidden,) = exam.target_masks
    holes = _table().mask(hidden)
    other = _other(pruned, model)
    options = {"sampler": "s-pndm", "variance": "analytic", "n_samples": 4}
    found = other.predict_quantiles(holes, CRPS_LEVELS, **options).values
    scaled = np.stack([model.scaler.transform(level) for level in found])
    truth = model.scaler.transform(_table().to_numpy())
    crps = quantile_crps_from_quantiles(scaled, CRPS_LEVELS, truth, hidden)
    values = _table().to_numpy()
    inside = (found[0] <= values) & (values <= found[-1])
    (row,) = quality.query(
        "sampler == 's-pndm' and variance == 'analytic' and steps == 2 and n_samples == 4"
    ).itertuples()
    assert row.crps == pytest.approx(crps, rel=1e-6)
    assert row.coverage_90 == pytest.approx(inside[hidden].mean())


def test_the_head_and_its_start_are_rows_where_the_model_has_one(pruned):
    fitted = copy.deepcopy(pruned).fit_marginals(_table(), iterations=1)
    choice = Survey((2,), ("ddpm",), ("fixed",), (4,), max_windows=None)
    table = speed_quality(fitted, DATA, choice)
    assert list(table["sampler"]) == ["ddpm", "ddpm", "head"]
    assert list(table["start"]) == ["noise", "marginals", ""]
    assert list(table["nfe_per_window"]) == [8, 9, 1]
    alone = copy.copy(fitted).set_params(method="head")
    assert table["crps"].iloc[2] == pytest.approx(-alone.score(_table()), rel=1e-9)
    started = _other(fitted, respaced(fitted, fitted.model_, "uniform", 2))
    started.set_params(start="marginals")
    assert table["crps"].iloc[1] == pytest.approx(-started.score(_table()), rel=1e-9)
    labels = plot_speed_quality(table).get_legend_handles_labels()[1]
    assert labels[:3] == ["ddpm, fixed", "ddpm, fixed, started at the marginals", "head"]


def test_the_front_of_the_table_is_that_of_its_columns(quality):
    front = pareto_front(quality["nfe_per_window"], quality["crps"])
    np.testing.assert_array_equal(quality["pareto"], front)
    assert quality["pareto"].any()


def test_without_names_the_imputers_own_sampler_is_among_the_usual_ones(pruned):
    own = copy.copy(pruned).set_params(sampler="s-pndm")
    table = speed_quality(own, DATA, Survey(steps=(1,), n_samples=(1,), max_windows=1))
    assert set(table["sampler"]) == {"s-pndm", *USUAL_SAMPLERS}
    assert "large" not in set(table["variance"])


def test_what_does_not_fit_is_left_out_unless_it_is_named(pruned):
    tried = Survey(samplers=("ddim",), steps=(1,), n_samples=(1,), max_windows=2)
    assert list(speed_quality(pruned, DATA, tried)["variance"]) == ["fixed", "analytic"]
    named = Survey(samplers=("ddim",), variances=("fixed", "npr"), steps=(1,))
    with pytest.raises(InputError, match=r"variance='npr' needs a head.* call fit_variance"):
        speed_quality(pruned, DATA, named)


def test_one_name_or_number_counts_as_a_sequence_of_one(pruned):
    one = {"steps": 2, "samplers": "ddim", "variances": "fixed", "n_samples": 4, "starts": "noise"}
    table = pruned.speed_quality(_table(), **one, max_windows=1)
    named = {name: (value,) for name, value in one.items()}
    again = pruned.speed_quality(_table(), **named, max_windows=1)
    assert len(table) == 1
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), again.drop(columns="seconds"))


def test_ddim_may_be_tried_with_several_amounts_of_noise(pruned):
    samplers = ("ddim", "ddim(0)", "ddim(0.5)", "ddim(1)", "ddpm")
    tried = Survey((5,), samplers, ("fixed",), (4,), max_windows=None)
    table = speed_quality(pruned, DATA, tried)
    assert list(table["sampler"]) == ["ddim", "ddim(0.5)", "ddim(1.0)", "ddpm"]
    crps = table.set_index("sampler")["crps"]
    assert crps["ddim(1.0)"] == pytest.approx(crps["ddpm"], rel=1e-4)
    assert crps["ddim(0.5)"] != pytest.approx(crps["ddpm"], rel=1e-4)


def test_what_will_be_computed_is_told_before(pruned, capsys):
    tried = {"samplers": "ddim", "variances": ("fixed", "analytic"), "steps": (1, 2)}
    talking = copy.copy(pruned).set_params(verbose=1)
    talking.speed_quality(_table(), **tried, n_samples=3, max_windows=1)
    told = capsys.readouterr().err
    n_windows = int(told.split(" settings on ")[1].split()[0])
    assert told.startswith(f"speed_quality: 4 settings on {n_windows} windows, {18 * n_windows} ev")
    pruned.speed_quality(_table(), **tried, n_samples=3, max_windows=1)
    assert capsys.readouterr().err == ""


def test_by_default_there_are_16_samples(pruned):
    table = pruned.speed_quality(
        _table(), samplers="ddim", variances="fixed", steps=1, max_windows=1
    )
    assert list(table["n_samples"]) == [16]


def test_errors_of_complete_data_are_measured_under_the_holes_of_other_data():
    holed = _table()
    options = {**SIZE, **RUN, **QUIET, "kept_steps": 5, "target_strategy": "historical"}
    imputer = EDDPMImputer(**options).fit(holed)
    tried = {"spacing": "elbo", "steps": 2, "n_samples": 2, "samplers": "ddim", "max_windows": 1}
    complete = holed.ffill().bfill()
    with pytest.raises(InputError, match=r"'historical' hid no cell.*patterns="):
        imputer.speed_quality(complete, **tried, variances="fixed")
    table = imputer.speed_quality(complete, **tried, variances="fixed", patterns=holed)
    assert list(table["steps"]) == [2]


@pytest.mark.parametrize(
    ("tried", "message"),
    [
        ({"samplers": ("ddmp",)}, "sampler='ddmp' is unknown.* mean 'ddpm'"),
        ({"variances": ("analitic",)}, "variance='analitic' is unknown.* mean 'analytic'"),
        ({"spacing": "quadrtic"}, "method='quadrtic' is unknown.* mean 'quadratic'"),
        ({"steps": (2, 6)}, "n_steps=6 cannot be used; expected 1 to 5"),
        ({"steps": ()}, "got no setting to try"),
        ({"n_samples": (0,)}, "n_samples=0 cannot be used"),
        ({"max_windows": 0}, "max_windows=0 cannot be used"),
        ({"hidden_fraction": 1e-9}, "X: hidden_fraction=1e-09 of the observed cells is not one"),
    ],
)
def test_bad_surveys_are_refused_before_any_sampling(pruned, tried, message):
    with pytest.raises(InputError, match=message):
        speed_quality(pruned, DATA, Survey(**tried))


def test_few_windows_are_drawn_from_many_and_keep_their_surroundings(full):
    whole = make_exam(full.model_, PANEL, ExamPlan(7, 0.5))
    few = make_exam(full.model_, PANEL, ExamPlan(7, 0.5, max_windows=2))
    assert few.n_windows <= 3 < whole.n_windows
    (all_targets,), (targets,) = whole.target_masks, few.target_masks
    rows = np.flatnonzero(targets.any(axis=1))
    assert rows[0] // 12 == rows[-1] // 12  # one stretch of a window's length
    np.testing.assert_array_equal(targets[rows], all_targets[rows])
    hidden = np.isnan(few.given[0]) & ~np.isnan(PANEL.values[0])
    np.testing.assert_array_equal(hidden, targets)
    assert set(few.truth) < set(whole.truth)


def test_a_counting_sampler_notes_every_chain():
    calls: list[int] = []
    grid = make_schedule(n_steps=10).respaced([1, 5, 8])
    walk = counting(ancestral, calls)
    for _ in range(2):
        walk(lambda x, step, level: Prediction(0 * x), torch.ones(2), grid)
    assert calls == [3, 3]


def test_a_derivative_counts_as_three_evaluations():
    """GENIE on three levels: two steps with a derivative and its two neighbours, and the last."""
    calls: list[int] = []
    grid = make_schedule(n_steps=10).respaced([1, 5, 8])
    counting(genie, calls)(lambda x, step, level: Prediction(0.5 * x), torch.ones(2), grid)
    assert calls == [3 + 2 * (3 + 2)]


# ------------------------------------------------------------------------------------- the front


def test_the_front_of_a_table_made_by_hand():
    cost = [1, 2, 2, 3, 4, 5]
    error = [9, 7, 8, 7, 3, np.nan]
    np.testing.assert_array_equal(pareto_front(cost, error), [1, 1, 0, 0, 1, 0])
    assert pareto_front([2, 2], [1, 1]).all()  # equals do not beat each other
    assert pareto_front([], []).shape == (0,)
    with pytest.raises(InputError, match=r"got shapes \(2,\) and \(1,\)"):
        pareto_front([1, 2], [1])


def test_the_front_equals_brute_force(rng):
    cost, error = rng.integers(0, 5, size=(2, 40))
    points = list(zip(cost, error, strict=True))
    beaten = [any(a <= c and b <= e and (a, b) != (c, e) for a, b in points) for c, e in points]
    np.testing.assert_array_equal(pareto_front(cost, error), ~np.array(beaten))
