"""The network against its slow twin, on padding, and in what it refuses."""

from __future__ import annotations

import pytest
import torch

from tsimpute.denoiser import attention
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser, n_parameters
from tsimpute.denoiser.embeddings import step_code, time_code
from tsimpute.errors import InputError


def _inputs(shape, seed=0):
    """(values, noisy, given_mask, step) of shape (B, L, K)."""
    generator = torch.Generator().manual_seed(seed)
    values, noisy = (torch.randn(shape, generator=generator) for _ in range(2))
    given_mask = torch.rand(shape, generator=generator) < 0.4
    step = torch.randint(50, (shape[0],), generator=generator).float()
    return values, noisy, given_mask, step


def _run(network, values, noisy, given_mask, step, **more):
    with torch.no_grad():
        return network(noisy, values * given_mask, given_mask, step, **more)


# ------------------------------------------------------------------------------------------ twin


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((3, 7, 5), {"channels": 64, "heads": 8, "layers": 4}),
        ((2, 9, 1), {}),
        ((2, 1, 5), {}),
        ((2, 1, 1), {}),
        ((1, 12, 3), {"channels": 24, "heads": 8, "layers": 1}),
        ((2, 4, 6), {"channels": 12, "heads": 3, "layers": 3}),
        ((2, 5, 2), {"channels": 6, "heads": 1, "layers": 1}),
    ],
)
def test_predicts_what_the_twin_predicts(make_pair, shape, size):
    network, twin = make_pair(shape[2], **size)
    values, noisy, given_mask, step = _inputs(shape)
    official = (part.transpose(1, 2) for part in (values, noisy, given_mask.float()))
    with torch.no_grad():
        expected = twin(*official, step).transpose(1, 2)
    assert expected.std() > 0.01 or expected.numel() < 3
    predicted = _run(network, values, noisy, given_mask, step)
    torch.testing.assert_close(predicted, expected, rtol=0, atol=1e-5)


def test_weights_that_nothing_reads_cost_nothing():
    network = CSDIDenoiser(DenoiserConfig(n_features=5, layers=3))
    inputs = _inputs((2, 9, 5))
    expected = _run(network, *inputs)
    unread, _ = network.blocks[-1].output_projection.weight.detach().chunk(2)
    unread.fill_(torch.nan)  # of the last block's next state; subnormal once decayed
    assert torch.equal(_run(network, *inputs), expected)


def test_has_the_size_of_the_official_network():
    network = CSDIDenoiser(DenoiserConfig(n_features=35))
    assert n_parameters(network) == 414_065
    assert len(network.state_dict()) == 139


def test_counts_only_what_is_trained():
    network = CSDIDenoiser(DenoiserConfig(n_features=35))
    network.feature_embedding.weight.requires_grad_(False)
    assert n_parameters(network) == 414_065 - 35 * 16


def test_predicts_nothing_before_training():
    """The last projection starts at zero, its bias aside: the same number everywhere."""
    network = CSDIDenoiser(DenoiserConfig(n_features=3, channels=8, heads=2, layers=1)).eval()
    assert not network.output_projection.weight.any()
    predicted = _run(network, *_inputs((2, 4, 3)))
    assert torch.equal(predicted, network.output_projection.bias.expand(2, 4, 3))


# ----------------------------------------------------------------------------------------- inputs


def test_reads_noise_only_where_nothing_is_given(make_pair):
    network, _ = make_pair(3)
    values, noisy, given_mask, step = _inputs((2, 6, 3))
    expected = _run(network, values, noisy, given_mask, step)
    noisy = torch.where(given_mask, torch.full_like(noisy, 1e3), noisy)
    assert torch.equal(_run(network, values, noisy, given_mask, step), expected)


def test_a_series_does_not_depend_on_its_batch(make_pair):
    network, _ = make_pair(3)
    inputs = _inputs((4, 6, 3))
    together = _run(network, *inputs)
    for i in range(4):
        alone = _run(network, *(part[i : i + 1] for part in inputs))
        torch.testing.assert_close(alone, together[i : i + 1], rtol=0, atol=1e-6)


def test_features_without_their_names_are_interchangeable(make_pair):
    """Permuting columns and their embeddings permutes the answer, and nothing else."""
    network, _ = make_pair(4)
    order = torch.tensor([2, 0, 3, 1])
    values, noisy, given_mask, step = _inputs((2, 5, 4))
    expected = _run(network, values, noisy, given_mask, step)[..., order]
    network.feature_embedding.weight.data = network.feature_embedding.weight.data[order]
    permuted = (part[..., order] for part in (values, noisy, given_mask))
    torch.testing.assert_close(_run(network, *permuted, step), expected, rtol=0, atol=1e-5)


def test_the_side_information_may_be_projected_beforehand(make_pair):
    network, _ = make_pair(3)
    inputs = _inputs((2, 6, 3))
    side = network.project_side(torch.arange(6))
    assert torch.equal(_run(network, *inputs, side=side), _run(network, *inputs))
    elsewhere = network.project_side(torch.arange(6) + 0.5)
    assert not torch.allclose(_run(network, *inputs, side=elsewhere), _run(network, *inputs))


def test_attention_in_chunks_is_the_same(make_pair, monkeypatch):
    network, _ = make_pair(3)
    inputs, is_real = _inputs((3, 6, 3)), torch.arange(6) < torch.tensor([[6], [4], [2]])
    expected = _run(network, *inputs, is_real=is_real)
    monkeypatch.setattr(attention, "MAX_BATCH", 4)
    monkeypatch.setattr(attention, "suits_narrow", lambda *_: False)
    chunked = _run(network, *inputs, is_real=is_real)
    torch.testing.assert_close(chunked, expected, rtol=0, atol=1e-6)


# ---------------------------------------------------------------------------------------- padding


def test_what_stands_in_padding_does_not_matter(make_pair):
    network, _ = make_pair(3)
    n_real = torch.tensor([[5], [8], [2]])
    is_real = torch.arange(8) < n_real
    values, noisy, given_mask, step = _inputs((3, 8, 3))
    expected = _run(network, values, noisy, given_mask, step, is_real=is_real)
    other_values, other_noisy, other_given, _ = _inputs((3, 8, 3), seed=1)
    real = is_real[..., None]
    other = (
        torch.where(real, values, 100 * other_values),
        torch.where(real, noisy, 100 * other_noisy),
        torch.where(real, given_mask, other_given),
    )
    predicted = _run(network, *other, step, is_real=is_real)
    torch.testing.assert_close(predicted[is_real], expected[is_real], rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_padding", [1, 2, 11])
def test_how_much_padding_there_is_does_not_matter(make_pair, n_padding):
    network, _ = make_pair(3)
    values, noisy, given_mask, step = _inputs((2, 5 + n_padding, 3))
    short = (part[:, :5] for part in (values, noisy, given_mask))
    expected = _run(network, *short, step)
    is_real = (torch.arange(5 + n_padding) < 5).expand(2, -1)
    predicted = _run(network, values, noisy, given_mask, step, is_real=is_real)
    torch.testing.assert_close(predicted[:, :5], expected, rtol=0, atol=1e-5)


# --------------------------------------------------------------------------------------- training


def test_every_parameter_gets_a_gradient(make_pair):
    network, _ = make_pair(3)
    values, noisy, given_mask, step = _inputs((2, 6, 3))
    network(noisy, values * given_mask, given_mask, step).square().sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


def test_dropout_acts_in_training_only(make_pair):
    network, _ = make_pair(3)
    inputs = _inputs((2, 6, 3))
    assert torch.equal(_run(network, *inputs), _run(network, *inputs))
    network.train()
    assert not torch.equal(_run(network, *inputs), _run(network, *inputs))


def test_attention_dropout_is_a_setting_of_its_own():
    inputs = _inputs((2, 6, 3))
    for rate in (0.0, 0.5):
        config = DenoiserConfig(
            3, channels=8, heads=2, layers=1, dropout=0.0, attention_dropout=rate
        )
        network = CSDIDenoiser(config)
        torch.nn.init.ones_(network.output_projection.weight)
        same = torch.equal(_run(network, *inputs), _run(network, *inputs))
        assert same is (rate == 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_features": 0}, "at least 1"),
        ({"layers": 0}, "at least 1"),
        ({"channels": 20}, "channels=20 cannot be shared by heads=8; .* channels=16"),
        ({"channels": 4}, "for example channels=8"),
        ({"dropout": 1.0}, "dropout=1.0 must lie"),
        ({"attention_dropout": -0.1}, "attention_dropout=-0.1 must lie"),
    ],
)
def test_a_shape_that_cannot_be_built(arguments, message):
    with pytest.raises(InputError, match=message):
        DenoiserConfig(**{"n_features": 3, **arguments})


# ----------------------------------------------------------------------------------------- codes


def test_time_code_of_known_places():
    code = time_code(torch.tensor([0.0, 1.0, 2.5]), 4)
    assert code[0].tolist() == [0.0, 1.0, 0.0, 1.0]
    expected = [torch.sin(torch.tensor(2.5)), torch.cos(torch.tensor(2.5))]
    torch.testing.assert_close(code[2, :2], torch.stack(expected))
    torch.testing.assert_close(code[2, 2], torch.sin(torch.tensor(0.025)))


def test_step_code_of_known_steps():
    code = step_code(torch.tensor([0.0, 1.0, 1.5]), 128)
    assert code.shape == (3, 128)
    assert code[0].tolist() == [0.0] * 64 + [1.0] * 64
    rate = 10.0 ** (4 * torch.arange(64, dtype=torch.float64) / 63)
    for row, step in ((1, 1.0), (2, 1.5)):
        exact = torch.cat([(step * rate).sin(), (step * rate).cos()]).float()
        torch.testing.assert_close(code[row], exact, rtol=0, atol=2e-2)  # float32 at 1e4 radians
        torch.testing.assert_close(code[row, :32], exact[:32], rtol=0, atol=1e-4)
