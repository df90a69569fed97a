"""The marginal head and other outputs of the trunk."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.heads import OutputHead
from tsimpute.denoiser.marginals import LEVELS, MIDDLE, MarginalNetwork


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CSDIDenoiser(DenoiserConfig(3, channels=8, heads=2, layers=1)).eval()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31 - 1), st.sampled_from([0.1, 3.0, 1000.0]))
def test_quantiles_never_cross_whatever_the_input(seed, size):
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = CSDIDenoiser(DenoiserConfig(3, channels=8, heads=2, layers=1))
        model = MarginalNetwork(trunk, 49.0)
        torch.nn.init.normal_(model.head.out.weight, std=size)
    shown = size * torch.randn(2, 5, 3, generator=generator)
    given_mask = torch.rand(2, 5, 3, generator=generator) < 0.5
    marks = model.eval()(shown * given_mask, given_mask)
    assert marks.shape == (2, 5, 3, len(LEVELS))
    assert torch.all(marks.diff(dim=-1) >= 0)


def test_an_untrained_head_believes_in_a_narrow_gaussian(network):
    model = MarginalNetwork(network, 49.0)
    marks = model(torch.zeros(1, 4, 3), torch.zeros(1, 4, 3, dtype=torch.bool))
    assert torch.all(marks[..., MIDDLE] == 0)
    torch.testing.assert_close(
        marks[..., LEVELS.index(0.95)], torch.full((1, 4, 3), 0.3 * 1.6449), rtol=1e-4, atol=0
    )


def test_the_levels_are_symmetric_and_hold_those_of_the_score():
    assert [round(1 - level, 3) for level in LEVELS[::-1]] == list(LEVELS)
    assert {round(0.05 * i, 2) for i in range(1, 20)} < set(LEVELS)


def test_the_marginals_do_not_see_what_is_hidden(network):
    model = MarginalNetwork(network, 49.0)
    given_mask = torch.rand(2, 6, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    shown = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(1)) * given_mask
    assert torch.equal(model(shown, given_mask), model(shown, given_mask))
    one = model(shown[:1], given_mask[:1])
    torch.testing.assert_close(model(shown, given_mask)[:1], one, rtol=0, atol=1e-6)


def test_noise_is_read_from_the_trunk(network):
    x, shown = torch.randn(2, 2, 6, 3, generator=torch.Generator().manual_seed(0))
    given_mask, step = shown > 0, torch.tensor([3.0, 7.0])
    trunk = network.trunk(x, shown, given_mask, step)
    assert trunk.shape == (2, 3, 6, 8)
    assert torch.equal(network.noise(trunk), network(x, shown, given_mask, step))


@pytest.mark.parametrize(("n_outputs", "shape"), [(1, (2, 6, 3)), (4, (2, 6, 3, 4))])
def test_a_head_has_an_output_for_each_cell(n_outputs, shape):
    head = OutputHead(8, n_outputs, positive=True)
    torch.nn.init.normal_(head.out.weight, std=5)
    out = head(torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0)))
    assert out.shape == shape
    assert torch.all(out > 0)
