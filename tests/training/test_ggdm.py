"""Fitted GGDM coefficients approach the ideal forecast of exact Gaussians."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.samplers.oracle import SCHEDULE, exact_noise, moments
from tsimpute.denoiser.anchor import Anchor
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.context import NO_CONTEXT
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.errors import InputError
from tsimpute.samplers.ggdm import ddim_coefficients, ggdm
from tsimpute.training.batches import WindowSource
from tsimpute.training.examples import ExampleSource
from tsimpute.training.ggdm import energy_score, fit_ggdm

MU, V = 0.5, 0.3  # of independent cells
TWO = SCHEDULE.respaced([18, 38])


class ExactNetwork(nn.Module):
    """Ideal denoiser of independent cells N(MU, V)."""

    def forward(self, x, shown, given_mask, step, is_real=None, context=NO_CONTEXT):
        denoise = exact_noise(MU, V)
        return denoise(x, float(step[0]), float(SCHEDULE.alpha_bar[int(step[0])])).noise


@pytest.fixture
def independent_cells():
    rng = np.random.default_rng(0)
    values = MU + math.sqrt(V) * rng.normal(size=(8 * 640, 2))
    windows = WindowSource([values], [np.ones(len(values), dtype=bool)], 8, 8)
    return ExampleSource(windows, "random", Anchor.none(2), 64, torch.device("cpu"), seed=0)


def _crps(mean, variance):
    """Expected CRPS of the forecast N(mean, variance) where the truth is N(MU, V)."""
    bias, spread = mean - MU, math.sqrt(variance + V)
    error = spread * math.sqrt(2 / math.pi) * math.exp(-(bias**2) / (2 * spread**2))
    error += bias * math.erf(bias / (spread * math.sqrt(2)))
    return error - math.sqrt(variance / math.pi)


def _excess(coefficients, grid):
    """By how much the samples' CRPS exceeds the ideal forecast's, as a share."""
    found = moments(ggdm(coefficients), grid, exact_noise(MU, V))
    return _crps(*found) / _crps(MU, V) - 1


# ------------------------------------------------------------------------------------- the score


def test_the_energy_score_is_its_definition():
    rng = np.random.default_rng(0)
    samples, truth = rng.normal(size=(5, 3, 4)), rng.normal(size=(3, 4))
    expected = []
    for n in range(3):
        errors = [np.linalg.norm(samples[i, n] - truth[n]) for i in range(5)]
        pairs = [
            np.linalg.norm(samples[i, n] - samples[j, n])
            for i in range(5)
            for j in range(5)
            if i != j
        ]
        expected.append(np.mean(errors) - np.mean(pairs) / 2)
    found = energy_score(torch.from_numpy(samples), torch.from_numpy(truth))
    np.testing.assert_allclose(found, expected)


def test_in_one_dimension_it_is_the_crps_without_its_bias():
    """The CRPS of the samples' step function counts each sample's distance to itself."""
    rng = np.random.default_rng(1)
    for truth in (-5.0, 0.1, 5.0):
        samples = rng.normal(size=6)
        knots = np.sort(np.append(samples, truth))
        below = (samples[:, None] <= knots[:-1]).mean(0) - (truth <= knots[:-1])
        plain = np.sum(below**2 * np.diff(knots))
        distance = np.abs(samples[:, None] - samples).sum()
        expected = plain - distance / 2 * (1 / (6 * 5) - 1 / 6**2)
        found = energy_score(torch.from_numpy(samples)[:, None], torch.tensor([truth]).double())
        assert float(found) == pytest.approx(expected)


def test_its_expectation_does_not_depend_on_the_number_of_samples():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(20_000, 1, generator=generator)
    for n_samples in (2, 5):
        samples = torch.randn(n_samples, 20_000, 1, generator=generator)
        assert float(energy_score(samples, truth).mean()) == pytest.approx(0.5642, abs=0.015)


def test_equal_samples_have_a_finite_gradient():
    samples = torch.zeros(3, 4, 2, requires_grad=True)
    energy_score(samples, torch.zeros(4, 2)).sum().backward()
    assert samples.grad is not None
    assert torch.equal(samples.grad, torch.zeros_like(samples))


# --------------------------------------------------------------------------------------- the fit


@pytest.mark.parametrize("score", ["energy", "crps"])
def test_two_fitted_steps_approach_the_ideal_forecast(independent_cells, score):
    before = _excess(ddim_coefficients(TWO), TWO)
    fitted = fit_ggdm(ExactNetwork(), TWO, independent_cells, 100, score=score)
    assert before > 0.05
    assert _excess(fitted, TWO) < 0.005


def test_one_step_learns_the_spread_of_the_data(independent_cells):
    """At the noisiest level the network says the mean; all else is the last step's noise."""
    one = SCHEDULE.respaced([49])
    start = replace(ddim_coefficients(one), deviation=np.array([2.0]))
    fitted = fit_ggdm(ExactNetwork(), one, independent_cells, 100, start=start, learning_rate=0.05)
    assert float(fitted.deviation[0]) == pytest.approx(math.sqrt(V), rel=0.1)
    assert _excess(fitted, one) < 0.005


def test_the_last_step_still_ends_at_the_clean_values(independent_cells):
    start = ddim_coefficients(TWO, eta=0.0)
    fitted = fit_ggdm(ExactNetwork(), TWO, independent_cells, 3, start=start)
    assert fitted.clean_weight[0] == 1
    assert not fitted.state_weight[0].any()
    assert fitted.alpha_bar is TWO.alpha_bar
    moved = fitted.state_weight - start.state_weight
    assert moved[1, 1] != 0
    assert moved[1, 0] == 0


def test_the_seed_decides_and_a_real_network_is_left_as_it_is(independent_cells):
    network = _real_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = []
    for _ in range(2):
        scores = []
        fitted = fit_ggdm(network, TWO, independent_cells, 3, n_samples=2, on_step=scores.append)
        found.append((fitted.to_dict(), scores))
    assert found[0] == found[1]
    assert len(found[0][1]) == 3
    assert fitted.clean_weight[1] != ddim_coefficients(TWO).clean_weight[1]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


def test_evaluations_are_made_again_where_their_gradient_is_needed(independent_cells):
    """So that memory is that of one evaluation; the first step's state has no gradient."""
    asked = []
    network = _real_network()
    network.register_forward_pre_hook(lambda module, inputs: asked.append(float(inputs[3][0])))
    fit_ggdm(network, SCHEDULE.respaced([5, 18, 38]), independent_cells, 1, n_samples=2)
    assert asked == [38, 18, 5, 5, 18]


def _real_network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CSDIDenoiser(DenoiserConfig(2, channels=8, heads=2, layers=1)).eval()
        nn.init.normal_(network.output_projection.weight)
    return network


def test_one_sample_and_an_unknown_score_are_errors(independent_cells):
    with pytest.raises(InputError, match="got n_samples=1, expected at least 2"):
        fit_ggdm(ExactNetwork(), TWO, independent_cells, 1, n_samples=1)
    with pytest.raises(InputError, match="score='fid' is unknown"):
        fit_ggdm(ExactNetwork(), TWO, independent_cells, 1, score="fid")
