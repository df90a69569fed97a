"""A network that remembers: the same answers, and none evaluated twice while there is room."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.autograd import forward_ad

from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser

PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "accuracy" / "remembered.py"
SHAPE = (2, 5, 3)
ANSWER_BYTES = 2 * 3 * 5 * 8 * 4  # of 8 channels


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = CSDIDenoiser(DenoiserConfig(3, 8, 2, 2)).eval()
    torch.nn.init.normal_(made.output_projection.weight)
    return made


@pytest.fixture
def remember(network):
    """Let the network remember so many bytes; what it then evaluates is counted."""
    spec = importlib.util.spec_from_file_location("remembered", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def made(most_bytes):
        network.trunk = module.Remembered(network.trunk, most_bytes)
        network.evaluated = []
        network.step_embedding.register_forward_hook(
            lambda _, inputs, output: network.evaluated.append(inputs[0].tolist())
        )
        return network.trunk

    return made


def asked(step, x=None):
    x = torch.ones(SHAPE) if x is None else x
    nothing, is_real = torch.zeros(SHAPE), torch.ones(SHAPE[:2], dtype=torch.bool)
    return x, nothing, nothing.bool(), torch.full((2,), step), is_real


@torch.no_grad()
def test_the_same_question_is_evaluated_once(network, remember):
    expected = [network(*asked(step)) for step in (1.0, 2.0)]
    trunk = remember(2**20)
    for step, answer in [(1.0, expected[0]), (2.0, expected[1])] * 2:
        assert torch.equal(network(*asked(step)), answer)
    assert network.evaluated == [[1.0, 1.0], [2.0, 2.0]]
    assert trunk.saved_s > 0


@torch.no_grad()
@pytest.mark.parametrize("part", [0, 1, 2, 3, 4])
def test_another_question_is_not_mistaken_for_it(network, remember, part):
    remember(2**20)
    other = list(asked(1.0))
    other[part] = other[part].clone()
    other[part].view(-1)[-1] = 1 - other[part].view(-1)[-1].float()
    network(*asked(1.0))
    found = network(*other)
    assert len(network.evaluated) == 2
    del network.trunk
    assert torch.equal(found, network(*other))


@torch.no_grad()
def test_the_oldest_answer_makes_room(network, remember):
    remember(2 * ANSWER_BYTES)
    for step in (1.0, 2.0, 1.0, 3.0, 1.0, 2.0):
        network(*asked(step))
    assert [steps[0] for steps in network.evaluated] == [1.0, 2.0, 3.0, 2.0]


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # by torch itself
def test_derivatives_are_always_taken_anew(network, remember):
    remember(2**20)
    for _ in range(2):
        network(*asked(1.0)).sum().backward()
    with torch.no_grad(), forward_ad.dual_level():
        for _ in range(2):
            dual = forward_ad.make_dual(torch.ones(SHAPE), torch.ones(SHAPE))
            assert forward_ad.unpack_dual(network(*asked(1.0, dual))).tangent is not None
    assert len(network.evaluated) == 4


@torch.no_grad()
def test_named_arguments_reach_the_network_and_are_not_remembered(network, remember):
    *first, is_real = asked(1.0)
    expected = network.trunk(*first, is_real)
    trunk = remember(2**20)
    for _ in range(2):
        assert torch.equal(trunk(*first, is_real=is_real), expected)
    assert len(network.evaluated) == 2
