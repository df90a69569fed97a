"""Heads learn what is known in closed form: variances, noise power, conditional quantiles."""

from __future__ import annotations

import math
from dataclasses import replace
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
from tsimpute.errors import DivergenceError
from tsimpute.training.batches import WindowSource
from tsimpute.training.derivative_head import fit_derivative_head
from tsimpute.training.examples import ExampleSource, minimise, noised
from tsimpute.training.marginals import fit_marginals, pinball_loss
from tsimpute.training.variance_heads import collect_cells, fit_variance_head, noise_power

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
    power = noise_power(collect_cells(ExactNetwork(), GRID, independent_cells, 60), len(GRID))
    expected = (1 - GRID.alpha_bar) / (GRID.alpha_bar * V + 1 - GRID.alpha_bar)
    np.testing.assert_allclose(power, expected, rtol=0.05)


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
        minimise(lambda _: (weight * torch.nan).sum(), [weight], independent_cells.draw(), 5, 1e-3)


def test_the_pinball_loss_of_one_level_is_the_tilted_error():
    marks, truth = torch.tensor([[1.0], [1.0]]), torch.tensor([3.0, 0.0])
    torch.testing.assert_close(pinball_loss(marks, truth, [0.9]), torch.tensor([3.6, 0.2]))


def test_the_head_reaches_the_closed_form_quantiles_of_a_gaussian_process():
    """AR(1) with a known neighbour on either side: the rest is a conditional Gaussian."""
    rho, n_times = 0.8, 6 * 3000
    rng = np.random.default_rng(0)
    values = np.zeros((n_times, 1))
    for t in range(1, n_times):
        values[t] = rho * values[t - 1] + math.sqrt(1 - rho**2) * rng.normal()
    source = _source(values, 6, batch_size=64, anchor=_linear_anchor())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CSDIDenoiser(DenoiserConfig(1, channels=16, heads=2, layers=1, dropout=0.0))
        model = fit_marginals(network, 49.0, source, iterations=500, learning_rate=5e-3)
    given_mask = torch.tensor([[True, True, False, False, True, True]])[..., None]
    for left, right in ((0.5, 1.0), (-1.0, 0.8)):
        known = torch.tensor([[left, left, 0, 0, right, right]])[..., None]
        frame = _linear_anchor().frame(known, given_mask)
        marks = frame.centre[..., None] + model(frame.shown, given_mask)
        covariance = rho ** np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
        seen, hole = [0, 1, 4, 5], [2, 3]
        gain = covariance[np.ix_(hole, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
        mean = gain @ [left, left, right, right]
        variance = covariance[np.ix_(hole, hole)] - gain @ covariance[np.ix_(seen, hole)]
        for place, row in enumerate(hole):
            expected = norm.ppf([0.05, 0.5, 0.95], mean[place], math.sqrt(variance[place, place]))
            found = marks[0, row, 0, [model.levels.index(p) for p in (0.05, 0.5, 0.95)]]
            np.testing.assert_allclose(found, expected, atol=0.12)


def _linear_anchor():
    return Anchor("linear", torch.ones(1), torch.ones(1))
