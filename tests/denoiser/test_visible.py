"""The network on visible cells only: against the whole one, and blind to what is hidden."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tsimpute.denoiser import attention
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.context import NO_CONTEXT, Context
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.flops import evaluation_flops, visible_flops
from tsimpute.denoiser.layout import AxisLayout
from tsimpute.denoiser.visible import VisibleCells, noise_at_visible

SHAPES = [(3, 7, 5), (2, 9, 1), (2, 1, 5), (2, 1, 1), (1, 12, 3)]


def network_of(n_features: int, n_covariates: int = 0) -> CSDIDenoiser:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CSDIDenoiser(
            DenoiserConfig(
                n_features, channels=16, heads=4, layers=2, n_covariates=n_covariates, dropout=0.0
            )
        )
        for parameter in network.parameters():  # the last layer starts at 0
            parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def inputs(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, shown = torch.randn(2, *shape, generator=generator)
    given_mask = torch.rand(shape, generator=generator) < 0.5
    return x, shown, given_mask, torch.arange(shape[0]) * 7.0 + 3


def some_cells(shape: tuple[int, int, int], rate: float = 0.5, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    visible_mask = torch.rand(shape, generator=generator) >= rate
    visible_mask[:, 0, 0] = True
    return visible_mask


def context_of(shape: tuple[int, int, int], kind: str) -> Context:
    b, length, _ = shape
    generator = torch.Generator().manual_seed(3)
    covariates = torch.randn(b, length, 2, generator=generator) if "covariates" in kind else None
    positions = None
    if "positions" in kind:
        positions = torch.rand(b, length, generator=generator).cumsum(1)
    return Context(covariates, positions)


# ----------------------------------------------------------------------------- everything visible


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["", "covariates", "positions", "covariates positions"])
def test_with_everything_visible_it_is_the_whole_network(shape, kind):
    network = network_of(shape[2], 2 if "covariates" in kind else 0)
    context = context_of(shape, kind)
    everything = VisibleCells.of(torch.ones(shape, dtype=torch.bool))
    for training in (False, True):
        network.train(training)
        wanted = network(*inputs(shape), context=context)
        got = noise_at_visible(network, *inputs(shape), everything, context=context)
        assert wanted.std() > 0.01 or wanted.numel() < 3
        torch.testing.assert_close(got.view(shape), wanted, rtol=1e-5, atol=1e-5)


def test_rows_that_are_padding_for_the_whole_network_are_hidden_here():
    shape = (3, 7, 5)
    network, is_real = network_of(5).eval(), torch.ones(3, 7, dtype=torch.bool)
    is_real[0, 5:], is_real[2, :2] = False, False
    visible_mask = is_real[..., None].expand(shape)
    wanted = network(*inputs(shape), is_real=is_real)[visible_mask]
    got = noise_at_visible(network, *inputs(shape), VisibleCells.of(visible_mask))
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_the_whole_network():
    shape = (2, 5, 3)
    one, other = network_of(3), network_of(3)
    one(*inputs(shape)).square().sum().backward()
    everything = VisibleCells.of(torch.ones(shape, dtype=torch.bool))
    noise_at_visible(other, *inputs(shape), everything).square().sum().backward()
    wanted = dict(one.named_parameters())
    for name, parameter in other.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name].grad, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------------------- some visible


def by_brute_force(network: CSDIDenoiser, shape: tuple[int, int, int], visible: Tensor) -> Tensor:
    """The whole network with attention that is told, cell by cell, what not to look at."""
    from torch.nn import functional

    x, shown, given_mask, step = inputs(shape)
    b, length, k = shape
    h = torch.stack([shown, x * ~given_mask], -1)
    h, code = functional.relu(network.input_projection(h)), network.step_embedding(step)
    total = 0
    for block, side in zip(network.blocks, network.project_side(torch.arange(length)), strict=True):
        y = h + block.step_projection(code)[:, None, None]
        for layer, axis in ((block.time_layer, 1), (block.feature_layer, 2)):
            if y.shape[axis] == 1:
                continue
            rows = y.movedim(axis, 2).flatten(0, 1)
            keys = visible.movedim(axis, 2).flatten(0, 1)
            n_other = k if axis == 1 else length
            out = layer(rows, keys | ~keys.any(1, keepdim=True))
            y = out.unflatten(0, (b, n_other)).movedim(2, axis)
        y = block.mid_projection(y) + side.base.transpose(0, 1)
        y = y + given_mask[..., None] * side.mask_weight
        gate, content = y.chunk(2, -1)
        y = block.output_projection(gate.sigmoid() * content.tanh())
        residual, skip = y.chunk(2, -1)
        h, total = (h + residual) / 2**0.5, total + skip
    return network.read_noise(total / len(network.blocks) ** 0.5)[visible]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rate", [0.2, 0.9])
def test_visible_cells_see_each_other_and_nothing_else(shape, rate):
    network, visible_mask = network_of(shape[2]).eval(), some_cells(shape, rate)
    got = noise_at_visible(network, *inputs(shape), VisibleCells.of(visible_mask))
    wanted = by_brute_force(network, shape, visible_mask)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e30])
def test_values_in_hidden_cells_change_no_bit(value):
    shape = (3, 7, 5)
    network, visible_mask = network_of(5), some_cells(shape)
    cells = VisibleCells.of(visible_mask)
    x, shown, given_mask, step = inputs(shape)
    wanted = noise_at_visible(network, x, shown, given_mask, step, cells)
    spoilt = (torch.where(visible_mask, part, value) for part in (x, shown))
    got = noise_at_visible(network, *spoilt, given_mask ^ ~visible_mask, step, cells)
    assert torch.equal(got, wanted)


def test_a_hidden_cell_is_missed_by_the_others():
    shape = (1, 6, 3)
    network, visible_mask = network_of(3), torch.ones(shape, dtype=torch.bool)
    wanted = noise_at_visible(network, *inputs(shape), VisibleCells.of(visible_mask))
    visible_mask[0, 2, 1] = False
    got = noise_at_visible(network, *inputs(shape), VisibleCells.of(visible_mask))
    assert not torch.isclose(got, wanted.view(shape)[visible_mask]).any()


def test_a_window_does_not_depend_on_its_batch():
    shape = (3, 7, 5)
    network, visible_mask = network_of(5).eval(), some_cells(shape)
    together = noise_at_visible(network, *inputs(shape), VisibleCells.of(visible_mask))
    for i in range(3):
        alone = [part[i : i + 1] for part in inputs(shape)]
        got = noise_at_visible(network, *alone, VisibleCells.of(visible_mask[i : i + 1]))
        at_i = visible_mask.nonzero()[:, 0] == i
        torch.testing.assert_close(got, together[at_i], rtol=1e-5, atol=1e-5)


def test_windows_of_some_features_of_a_larger_network():
    """As a network that knows only these, in their order."""
    shape, chosen = (2, 6, 2), torch.tensor([3, 1])
    large, small = network_of(4).eval(), network_of(2).eval()
    weights = large.state_dict()
    weights["feature_embedding.weight"] = weights["feature_embedding.weight"][chosen]
    small.load_state_dict(weights)
    cells = VisibleCells.of(some_cells(shape))
    got = noise_at_visible(large, *inputs(shape), cells, chosen)
    torch.testing.assert_close(got, noise_at_visible(small, *inputs(shape), cells))


def test_a_cell_keeps_its_place_in_the_window():
    """The same values at another time are something else."""
    shape = (1, 8, 2)
    network = network_of(2).eval()
    early, late = torch.zeros(2, *shape, dtype=torch.bool)
    early[:, :3], late[:, 5:] = True, True
    x, shown, given_mask, step = (part.clone() for part in inputs(shape))
    for part in (x, shown, given_mask):
        part[:, 5:] = part[:, :3]
    one, other = (
        noise_at_visible(network, x, shown, given_mask, step, VisibleCells.of(visible_mask), None)
        for visible_mask in (early, late)
    )
    assert not torch.isclose(one, other).any()
    at = torch.arange(8.0)
    at[5:] = at[:3]
    context = NO_CONTEXT._replace(positions=at[None])
    moved = noise_at_visible(
        network, x, shown, given_mask, step, VisibleCells.of(late), None, context
    )
    torch.testing.assert_close(moved, one)


# ---------------------------------------------------------------------------------------- layout


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_a_layout_puts_each_cell_in_its_row_and_back(rows):
    row = torch.tensor(rows)
    layout = AxisLayout.of(row)
    wanted = [[i for i, at in enumerate(rows) if at == r] for r in sorted(set(rows))]
    assert (layout.n_rows, layout.width) == (len(wanted), max(map(len, wanted)))
    laid = layout.to_rows(torch.arange(len(rows)).float()[:, None])[..., 0]
    real = torch.ones(laid.shape, dtype=torch.bool) if layout.is_real is None else layout.is_real
    assert [line[there].tolist() for line, there in zip(laid, real, strict=True)] == wanted
    assert layout.to_cells(laid[..., None]).squeeze(1).tolist() == list(range(len(rows)))
    assert (layout.is_real is None) == (len({len(line) for line in wanted}) == 1)
    assert (layout.cells is None) == (layout.is_real is None and rows == sorted(rows))


# ------------------------------------------------------------------------------------------ cost


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rate", [0.0, 0.5, 0.9])
def test_operations_are_those_that_torch_counts(shape, rate, monkeypatch):
    monkeypatch.setattr(attention, "suits_narrow", lambda *_: False)  # it sums by products too
    network, cells = network_of(shape[2]), VisibleCells.of(some_cells(shape, rate))
    with FlopCounterMode(display=False) as side:
        network.project_side(torch.arange(shape[1]))
    with FlopCounterMode(display=False) as counter:
        noise_at_visible(network, *inputs(shape), cells)
    counted = counter.get_total_flops() - side.get_total_flops()
    assert visible_flops(network.config, cells) == counted


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_visible_costs_what_the_whole_network_costs(shape):
    config, cells = network_of(shape[2]).config, VisibleCells.of(torch.ones(shape).bool())
    assert visible_flops(config, cells) == shape[0] * evaluation_flops(config, shape[1])
