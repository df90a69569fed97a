"""Heads learn what is known in closed form: variances, noise power, conditional quantiles."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from tsimpute.denoiser.anchor import Anchor
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.context import NO_CONTEXT
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.diffusion.schedule import make_schedule
from tsimpute.errors import DivergenceError, InputError
from tsimpute.training import variance_heads
from tsimpute.training.batches import WindowSource
from tsimpute.training.derivative_head import fit_derivative_head
from tsimpute.training.examples import ExampleSource, all_in_turn, by_backward, minimise, noised
from tsimpute.training.marginals import fit_marginals, pinball_loss
from tsimpute.training.variance_heads import (
    collect_cells,
    fit_variance_head,
    joined,
    noise_power,
)

V = 0.3  # variance of independent cells
SCHEDULE = make_schedule()
GRID = SCHEDULE.respaced([10, 25, 40])


class ExactNetwork(nn.Module):
    """Ideal denoiser of independent cells N(0, V); its trunk knows the level and the state."""

    config = SimpleNamespace(channels=5)

    def trunk(self, x, shown, given_mask, step, is_real=None, context=NO_CONTEXT):
        level = torch.from_numpy(SCHEDULE.alpha_bar).float()[step.long()]
        gain = (1 - level).sqrt() / (level * V + 1 - level)
        noise = x * gain[:, None, None]
        place = (step[:, None] == torch.tensor([10.0, 25.0, 40.0])).to(x)
        flags = place[:, None, None].expand(*x.shape, 3)
        features = [noise[..., None], noise[..., None].square(), flags]
        return torch.cat(features, -1).transpose(1, 2)  # (B, K, L, 5)

    def noise(self, trunk):
        return trunk[..., 0].transpose(1, 2)

    def forward(self, *inputs, **more):
        return self.noise(self.trunk(*inputs, **more))


def _source(values, window_steps, batch_size=64, anchor=None):
    windows = WindowSource([values], [np.ones(len(values), dtype=bool)], window_steps, window_steps)
    anchor = Anchor.none(values.shape[1]) if anchor is None else anchor
    return ExampleSource(windows, "random", anchor, batch_size, torch.device("cpu"), seed=0)


@pytest.fixture
def independent_cells():
    return _source(math.sqrt(V) * np.random.default_rng(0).normal(size=(8 * 640, 2)), 8)


@pytest.mark.parametrize(("kind", "tolerance"), [("crps", 0.001), ("npr", 0.001), ("sn", 0.08)])
def test_a_variance_head_learns_the_exact_variance(independent_cells, kind, tolerance):
    cells = collect_cells(ExactNetwork(), GRID, independent_cells, 60)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = fit_variance_head(kind, cells, seed=0)
    for place, level in enumerate(GRID.alpha_bar):
        x = torch.linspace(-1.5, 1.5, 16).view(1, 8, 2)
        trunk = ExactNetwork().trunk(x, None, None, torch.tensor([float(GRID.index[place])]))
        unexplained = level * V / (level * V + 1 - level)  # Var[eps | x]
        if kind != "sn":
            found = head(trunk) * level
        else:
            found = head(trunk) - ExactNetwork().noise(trunk).square()
        assert float(found.mean()) == pytest.approx(unexplained, rel=0.15, abs=tolerance)


def test_the_noise_power_is_that_of_the_ideal_denoiser(independent_cells):
    power = noise_power(collect_cells(ExactNetwork(), GRID, independent_cells, 60), GRID)
    expected = (1 - GRID.alpha_bar) / (GRID.alpha_bar * V + 1 - GRID.alpha_bar)
    np.testing.assert_allclose(power, expected, rtol=0.05)


def test_levels_come_in_turn():
    """Every level before one comes again, however many windows a batch has."""
    drawn = list(islice(all_in_turn(7, torch.Generator().manual_seed(0)), 70))
    rounds = [drawn[i : i + 7] for i in range(0, 70, 7)]
    assert all(sorted(one) == list(range(7)) for one in rounds)
    assert len(set(map(tuple, rounds))) > 1


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_a_few_windows_have_seen_all_levels(batch_size):
    source = _source(np.random.default_rng(0).normal(size=(80, 2)), 8, batch_size)
    n_batches = -(-len(GRID) // batch_size)
    cells = collect_cells(ExactNetwork(), GRID, source, n_batches)
    assert (cells.n_cells > 0).all()
    assert set(cells.place.tolist()) == {0, 1, 2}


def test_a_level_without_a_cell_has_what_lies_between_its_neighbours():
    cells = collect_cells(
        ExactNetwork(), GRID, _source(np.random.default_rng(0).normal(size=(80, 2)), 8), 1
    )
    ends = replace(cells, n_cells=np.array([2, 0, 4]), squares=np.array([1.0, 0.0, 3.0]))
    snr = GRID.log_snr
    share = (snr[1] - snr[2]) / (snr[0] - snr[2])
    expected = [0.5, share * 0.5 + (1 - share) * 0.75, 0.75]
    np.testing.assert_allclose(noise_power(ends, GRID), expected)
    middle = replace(cells, n_cells=np.array([0, 2, 0]), squares=np.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(noise_power(middle, GRID), [0.5] * 3)


@pytest.mark.parametrize(("limit", "value"), [("MOST_CELLS", 1000), ("BATCH_KEEPS", 100)])
def test_of_very_many_cells_some_are_kept_and_all_count(
    independent_cells, monkeypatch, limit, value
):
    everything = collect_cells(ExactNetwork(), GRID, independent_cells, 10)
    monkeypatch.setattr(variance_heads, limit, value)
    some = collect_cells(ExactNetwork(), GRID, independent_cells, 10)
    assert len(everything.noise) > 4000
    assert 900 < len(some.noise) <= 1100
    assert all(len(part) == len(some.noise) for part in (some.trunk, some.predicted, some.place))
    assert some.n_cells.sum() == everything.n_cells.sum() == len(everything.noise)
    exact = (1 - GRID.alpha_bar) / (GRID.alpha_bar * V + 1 - GRID.alpha_bar)
    np.testing.assert_allclose(noise_power(some, GRID), exact, rtol=0.1)
    again = collect_cells(ExactNetwork(), GRID, independent_cells, 10)
    assert torch.equal(some.noise, again.noise)  # the seed decides which
    places = torch.bincount(some.place, minlength=3)
    np.testing.assert_allclose(
        places / len(some.noise), some.n_cells / some.n_cells.sum(), atol=0.1
    )


def test_collections_of_one_grid_are_joined(independent_cells):
    parts = [collect_cells(ExactNetwork(), GRID, independent_cells, n) for n in (1, 2)]
    both = joined(parts)
    assert both.n_cells.sum() == len(both.noise) == sum(len(part.noise) for part in parts)
    expected = np.bincount(both.place, both.predicted.double().square(), 3) / both.n_cells
    np.testing.assert_allclose(noise_power(both, GRID), expected, rtol=1e-6)


def test_batches_without_a_hidden_cell_are_passed_over_or_refused():
    """A window of one cell is hidden, or it is not: each in half of the draws."""
    source = _source(np.random.default_rng(0).normal(size=(40, 1)), 1, batch_size=1)
    hidden = [bool(example.target_mask.any()) for example in islice(source.draw(), 12)]
    first = hidden.index(True)
    assert first > 0
    with pytest.raises(InputError, match=f"n_batches={first} batches of windows had no hidden"):
        collect_cells(ExactNetwork(), GRID, source, first)
    cells = collect_cells(ExactNetwork(), GRID, source, 12, enough=lambda: True)
    assert len(cells.noise) == 1  # it does not stop before there is something to learn from
    with pytest.raises(InputError, match=f"iterations={first} batches"):
        fit_derivative_head(ExactNetwork(), GRID, source, first)


def test_ctrl_c_keeps_what_was_learned_until_then(independent_cells):
    weight, told = torch.nn.Parameter(torch.zeros(())), []

    def on_step(loss):
        told.append(loss)
        if len(told) == 3:
            raise KeyboardInterrupt

    def loss(example):
        return (weight - 1).square()

    losses = minimise(by_backward(loss), [weight], independent_cells.draw(), 10, 0.1, on_step)
    assert len(losses) == len(told) == 3
    assert float(weight.detach()) == pytest.approx(0.3, abs=0.05)


def test_ctrl_c_before_anything_was_learned_is_ctrl_c(independent_cells):
    def loss(example):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimise(loss, [torch.nn.Parameter(torch.zeros(()))], independent_cells.draw(), 10, 0.1)


def test_a_derivative_head_learns_the_exact_derivative(independent_cells):
    """For N(0, V) the noise is g(ln gamma) x, and the state moves along the chain as well."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = fit_derivative_head(ExactNetwork(), GRID, independent_cells, 60)
    x = torch.linspace(-1.5, 1.5, 16, dtype=torch.float64).view(1, 8, 2)
    for place in (1, 2):

        def along_the_chain(log_gamma, place=place):
            level = 1 / (1 + math.exp(2 * log_gamma))
            start = float(GRID.alpha_bar[place])
            total, old = level * V + 1 - level, start * V + 1 - start
            return math.sqrt(1 - level) / total * math.sqrt(total / old) * x

        middle = -float(GRID.log_snr[place])
        exact = (along_the_chain(middle + 1e-4) - along_the_chain(middle - 1e-4)) / 2e-4
        trunk = ExactNetwork().trunk(
            x.float(), None, None, torch.tensor([float(GRID.index[place])])
        )
        assert float((head(trunk) - exact).abs().mean()) < 0.15 * float(exact.abs().mean()) + 0.02


def test_examples_hide_observed_cells_only_and_repeat(independent_cells):
    first, again = next(independent_cells.draw()), next(independent_cells.draw())
    assert torch.equal(first.target_mask, again.target_mask)
    assert torch.equal(first.away, again.away)
    assert not torch.any(first.given_mask & first.target_mask)
    assert torch.all(first.given_mask | first.target_mask)
    assert torch.all(first.shown[first.target_mask] == 0)


def test_noised_examples_are_at_the_level_they_name(independent_cells):
    example = next(independent_cells.draw())
    state = noised(example, GRID, torch.Generator().manual_seed(0))
    level = torch.from_numpy(GRID.alpha_bar)[state.place][:, None, None].float()
    expected = level.sqrt() * example.away + (1 - level).sqrt() * state.noise
    torch.testing.assert_close(state.x, expected)
    assert torch.equal(state.step, torch.from_numpy(GRID.index)[state.place].float())


def test_heads_are_not_learned_from_numbers_that_are_none(independent_cells):
    cells = collect_cells(ExactNetwork(), GRID, independent_cells, 2)
    spoiled = replace(cells, trunk=torch.full_like(cells.trunk, torch.nan))
    with pytest.raises(DivergenceError, match="the loss is nan"):
        fit_variance_head("crps", spoiled, seed=0)
    weight = torch.zeros(1, requires_grad=True)
    with pytest.raises(DivergenceError, match="in iteration 1: the loss is nan"):
        wrong = by_backward(lambda _: (weight * torch.nan).sum())
        minimise(wrong, [weight], independent_cells.draw(), 5, 1e-3)


def test_the_pinball_loss_of_one_level_is_the_tilted_error():
    marks, truth = torch.tensor([[1.0], [1.0]]), torch.tensor([3.0, 0.0])
    torch.testing.assert_close(pinball_loss(marks, truth, [0.9]), torch.tensor([3.6, 0.2]))


def test_the_head_reaches_the_closed_form_quantiles_of_a_gaussian_process():
    """AR(1), two cells hidden: they are Gaussian given the others, with a deviation of 0.54."""
    rho, n_times = 0.8, 6 * 3000
    rng = np.random.default_rng(0)
    values = np.zeros((n_times, 1))
    for t in range(1, n_times):
        values[t] = rho * values[t - 1] + math.sqrt(1 - rho**2) * rng.normal()
    source = _source(values, 6, batch_size=64, anchor=_linear_anchor())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CSDIDenoiser(DenoiserConfig(1, channels=32, heads=2, layers=2, dropout=0.0))
        model = fit_marginals(network, 49.0, source, iterations=500, learning_rate=5e-3)

    seen, hole = [0, 1, 4, 5], [2, 3]
    covariance = rho ** np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    drawn = rng.standard_normal((200, 6)) @ np.linalg.cholesky(covariance).T
    gain = covariance[np.ix_(hole, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    left = covariance[np.ix_(hole, hole)] - gain @ covariance[np.ix_(seen, hole)]
    mean, deviation = drawn[:, seen] @ gain.T, np.sqrt(np.diag(left))

    given_mask = torch.ones(200, 6, 1, dtype=torch.bool)
    given_mask[:, hole] = False
    known = torch.from_numpy(drawn).float()[..., None] * given_mask
    frame = _linear_anchor().frame(known, given_mask)
    marks = frame.centre[..., None] + model(frame.shown, given_mask).detach()
    for level, tolerance in ((0.05, 0.2), (0.5, 0.1), (0.95, 0.2)):
        found = marks[:, hole, 0, model.levels.index(level)].numpy()
        away = found - (mean + deviation * norm.ppf(level))
        assert np.sqrt(np.mean(away**2)) < tolerance


def _linear_anchor():
    return Anchor("linear", torch.ones(1), torch.ones(1))
