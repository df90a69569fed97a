"""Gradients part by part: those of the whole batch, whatever the number of threads."""

from itertools import pairwise

import pytest
import torch

from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.training import gradients
from tsimpute.training.gradients import add_gradients, whole_or_parts

CPU = torch.device("cpu")
SHAPE = DenoiserConfig(3, channels=8, heads=2, layers=1)


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = CSDIDenoiser(SHAPE)
    torch.nn.init.normal_(network.output_projection.weight)
    return network


def _gradients(network, parts):
    """Of the squared output, and the share of each part."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(5, 6, 3, generator=generator)
    given, step = torch.rand(x.shape, generator=generator) < 0.5, torch.arange(5.0)

    def loss(rows):
        value = network(x[rows], x[rows], given[rows], step[rows]).square().sum()
        return value, float(value.detach())

    network.zero_grad()
    torch.manual_seed(2)
    shares = add_gradients(loss, parts, network.parameters(), CPU)
    return shares, [p.grad for p in network.parameters()]


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("ends", [[0, 5], [0, 2, 5], [0, 1, 2, 3, 4, 5]])
def test_parts_add_up_to_the_whole(network, threads, n_threads, ends):
    network.eval()
    threads(n_threads)
    whole, wanted = _gradients(network, [slice(None)])
    shares, found = _gradients(network, [slice(*pair) for pair in pairwise(ends)])
    assert len(shares) == len(ends) - 1
    assert sum(shares) == pytest.approx(sum(whole), rel=1e-5)
    for own, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


def test_gradients_are_added_to_those_that_are_there(network):
    _gradients(network.eval(), [slice(0, 2), slice(2, 5)])
    weight = network.output_projection.weight
    before = weight.grad.clone()
    add_gradients(lambda _: (weight.sum(), None), [slice(None)], [weight], CPU)
    torch.testing.assert_close(weight.grad, before + 1)


def test_dropout_is_the_same_by_any_number_of_threads_and_differs_between_parts(network, threads):
    network.train()
    parts, found = [slice(i, i + 1) for i in range(5)], []
    for n_threads in (1, 3):
        threads(n_threads)
        found.append(_gradients(network, parts))
    assert found[0][0] == found[1][0]
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert torch.equal(one, other)
    same_rows = _gradients(network, [slice(0, 1)] * 3)[0]
    assert len(set(same_rows)) == 3


def test_parameters_that_are_not_trained_are_left_alone(network):
    network.step_embedding.requires_grad_(False)
    _gradients(network, [slice(0, 2), slice(2, 5)])
    assert all(p.grad is None for p in network.step_embedding.parameters())
    assert network.output_projection.weight.grad is not None


def test_a_small_batch_and_an_accelerator_take_all_rows_at_once(monkeypatch):
    assert whole_or_parts(torch.zeros(7, 6, 3), SHAPE) == [slice(None)]
    monkeypatch.setattr(gradients, "PART_BYTES", 1)
    assert len(whole_or_parts(torch.zeros(7, 6, 3), SHAPE)) == 7
    assert whole_or_parts(torch.zeros(2, 6, 3), SHAPE) == [slice(None)]
    assert whole_or_parts(torch.zeros(7, 6, 3, device="meta"), SHAPE) == [slice(None)]
