"""One network of many widths."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tsimpute.denoiser import attention
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.flops import evaluation_flops
from tsimpute.denoiser.heads import OutputHead
from tsimpute.denoiser.slimmable import (
    AtWidth,
    allowed_widths,
    check_slimmable,
    narrow_config,
    narrowed,
    narrowed_head,
    padded_trunk,
    sliced,
)
from tsimpute.denoiser.step_widths import StepWidths, step_networks
from tsimpute.errors import InputError

CONFIG = DenoiserConfig(n_features=3, channels=16, heads=8, layers=2, feed_width=20)
WIDTHS = allowed_widths(CONFIG)


@pytest.fixture(scope="module")
def network() -> CSDIDenoiser:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = CSDIDenoiser(CONFIG)
        for parameter in made.parameters():  # the last layer starts at 0
            parameter.data += 0.1 * torch.randn_like(parameter)
    return made.eval()


def inputs(n_features: int = 3, length: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, shown = torch.randn(2, 2, length, n_features, generator=generator)
    given_mask = torch.rand(x.shape, generator=generator) < 0.5
    return x, shown * given_mask, given_mask, torch.tensor([3.0, 17.0])


def outside(name: str, tensor: Tensor, width: int) -> Tensor:
    """True where a weight is no business of a width, written out by the layers' own meaning."""
    c, feed = 16 * width // 8, -(-20 * width // 8)
    layer = name.split(".")[-2]
    rows, columns = [*range(tensor.shape[0])], [*range(tensor.shape[-1])]
    blocks = {"qkv": 3, "mid_projection": 2, "side_projection": 2}
    if layer in blocks or (layer == "output_projection" and "blocks" in name):
        rows = [16 * part + i for part in range(blocks.get(layer, 2)) for i in range(c)]
    elif layer == "feed_in":
        rows = [*range(feed)]
    elif layer not in ("first", "second", "feature_embedding", "output_projection"):
        rows = [*range(c)]
    if layer == "feed_out":
        columns = [*range(feed)]
    elif layer in ("qkv", "attention_out", "feed_in", "mid_projection", "skip_projection") or (
        layer == "output_projection"
    ):
        columns = [*range(c)]
    inside = torch.zeros(tensor.shape, dtype=torch.bool)
    if tensor.ndim == 1:
        inside[rows] = True
    else:
        inside[torch.tensor(rows)[:, None], torch.tensor(columns)] = True
    return ~inside


# ------------------------------------------------------------------------------------- slices


@pytest.mark.parametrize("width", WIDTHS)
def test_the_output_of_a_width_depends_on_no_weight_outside_its_slice(network, width):
    wanted = narrowed(network, width)(*inputs())
    spoilt = copy.deepcopy(network)
    for name, parameter in spoilt.named_parameters():
        parameter.data[outside(name, parameter, width)] = torch.nan
    torch.testing.assert_close(narrowed(spoilt, width)(*inputs()), wanted, rtol=0, atol=0)
    torch.testing.assert_close(AtWidth(spoilt, width)(*inputs()), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [2, 5, 8])
def test_training_a_width_moves_all_weights_of_its_slice_and_no_other(network, width):
    whole = copy.deepcopy(network)
    AtWidth(whole, width)(*inputs()).square().sum().backward()
    for name, parameter in whole.named_parameters():
        assert parameter.grad is not None
        assert not parameter.grad[outside(name, parameter, width)].any(), name
        assert parameter.grad.any() or "qkv.bias" in name, name


def test_a_narrow_network_is_trained_as_it_is_evaluated(network):
    for width in WIDTHS:
        trained = AtWidth(network, width)(*inputs())
        torch.testing.assert_close(trained, narrowed(network, width)(*inputs()))


def test_at_its_whole_width_it_is_the_ordinary_network(network):
    assert narrowed(network, 8) is network
    slices = sliced(network.state_dict(), CONFIG, 8)
    assert list(slices) == list(network.state_dict())
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(slices[name], tensor, rtol=0, atol=0)
    torch.testing.assert_close(AtWidth(network, 8)(*inputs()), network(*inputs()), rtol=0, atol=0)


def test_official_weights_can_be_sliced(make_pair):
    network, twin = make_pair(3, channels=16, heads=8)
    x, shown, given_mask, step = inputs()
    by_feature = [part.transpose(1, 2) for part in (shown, x, given_mask.float())]
    wanted = twin(*by_feature, step).transpose(1, 2)
    torch.testing.assert_close(narrowed(network, 8)(x, shown, given_mask, step), wanted)
    assert narrowed(network, 2)(x, shown, given_mask, step).isfinite().all()


@pytest.mark.parametrize("width", WIDTHS)
def test_norms_work_over_the_channels_that_are_there(network, width):
    plain = copy.deepcopy(network)
    for module in plain.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    narrow, seen = narrowed(plain, width), []
    for module in narrow.modules():
        if isinstance(module, nn.LayerNorm):
            module.register_forward_hook(lambda module, ins, out: seen.append(out))
    narrow(*inputs())
    assert len(seen) == 8
    for out in seen:
        assert out.shape[-1] == 2 * width
        torch.testing.assert_close(out.mean(-1), torch.zeros(out.shape[:-1]), atol=1e-5, rtol=0)
        spread = out.var(-1, correction=0)
        torch.testing.assert_close(spread, torch.ones(out.shape[:-1]), atol=5e-3, rtol=0)


def test_the_global_random_numbers_stay_as_they_are(network):
    before = torch.get_rng_state()
    narrowed(network, 3)
    AtWidth(network, 3)
    assert torch.equal(before, torch.get_rng_state())


# ------------------------------------------------------------------------------------- widths


@given(st.integers(1, 24))
def test_a_width_has_whole_heads_of_the_same_size(heads):
    config = DenoiserConfig(n_features=2, channels=5 * heads, heads=heads)
    for width in range(2, 9):
        if heads * width % 8 == 0:
            narrow = narrow_config(config, width)
            assert narrow.channels / narrow.heads == 5
            assert narrow.heads / heads == width / 8
        else:
            with pytest.raises(InputError, match="cut one of the heads"):
                narrow_config(config, width)


def test_a_width_that_cuts_a_head_is_answered_with_those_that_do_not():
    config = DenoiserConfig(n_features=2, channels=16, heads=4)
    with pytest.raises(InputError, match=r"width=5 .*heads=4; expected one of \[2, 4, 6, 8\]"):
        narrow_config(config, 5)
    for width in (1, 9, True, 2.5):
        with pytest.raises(InputError, match=r"expected one of \[2, 4, 6, 8\]"):
            narrow_config(config, width)
    with pytest.raises(InputError, match="heads=3: got a network that has no narrower width"):
        check_slimmable(DenoiserConfig(n_features=2, channels=12, heads=3))


def test_steps_of_equal_width_share_a_network(network):
    networks = step_networks(network, 4, StepWidths((8, 2, 8, 2)))
    assert networks[0] is networks[2] is network
    assert networks[1] is networks[3]
    assert networks[1].config.channels == 4
    assert step_networks(network, 2, None) == [network, network]


def test_widths_of_steps_are_checked_and_pass_through_plain_data():
    widths = StepWidths((8, 2, 5))
    assert StepWidths.from_dict(widths.to_dict()) == widths
    assert widths.take([0, 2]) == StepWidths((8, 5))
    with pytest.raises(InputError, match="expected 2 to 8"):
        StepWidths((8, 0))


# ----------------------------------------------------------------------------- heads and cost


@pytest.mark.parametrize("width", WIDTHS)
def test_a_head_reads_a_narrow_trunk_as_one_without_the_other_channels(network, width):
    torch.manual_seed(2)
    head = OutputHead(16, n_outputs=2, positive=True).requires_grad_(False)
    nn.init.normal_(head.out.weight)
    trunk = narrowed(network, width).trunk(*inputs())
    read = narrowed_head(head, trunk.shape[-1])(trunk)
    torch.testing.assert_close(read, head(padded_trunk(trunk, 16)))
    assert narrowed_head(head, 16) is head


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("n_features", "length"), [(3, 6), (1, 6), (3, 1), (5, 9)])
def test_operations_are_those_that_torch_counts(width, n_features, length, monkeypatch):
    monkeypatch.setattr(attention, "suits_narrow", lambda *_: False)  # it sums by products too
    whole = DenoiserConfig(n_features, channels=16, heads=8, layers=2, feed_width=20)
    config = narrow_config(whole, width)
    network = CSDIDenoiser(config)  # with gradients attention is a product of matrices
    side = network.project_side(torch.arange(length))
    with FlopCounterMode(display=False) as counter:
        network(*inputs(n_features, length), side=side)
    assert 2 * evaluation_flops(config, length) == counter.get_total_flops()  # of two windows
