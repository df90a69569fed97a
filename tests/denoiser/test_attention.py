"""All ways to attend mix the same values with the same weights."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.denoiser import blocks, narrow_attention
from tsimpute.denoiser.attention import attend, attend_by_head, suits_by_head
from tsimpute.denoiser.blocks import AxisTransformer
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.layout import AxisLayout
from tsimpute.denoiser.narrow_attention import attend_narrow


def _drawn(n, heads, size, width, padded=False, seed=0, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    shape = (3, n, heads, size, width)
    q, k, v = torch.randn(shape, generator=rng, dtype=dtype)
    n_real = torch.randint(1, size + 1, (n, 1), generator=rng)
    return q, k, v, (torch.arange(size) < n_real) if padded else None


def _by_definition(q, k, v, is_real):
    scores = torch.einsum("nhid,nhjd->nhij", q, k) / math.sqrt(q.shape[-1])
    if is_real is not None:
        scores = scores.masked_fill(~is_real[:, None, None], -torch.inf)
    return torch.einsum("nhij,nhjd->nhid", scores.softmax(-1), v)


def _by_head(q, k, v):
    ones = torch.ones_like(q[..., :1])
    return torch.cat([q, k, v, ones], dim=-1).transpose(2, 3)  # (N, heads, 3 D + 1, S)


def _fitting(q, k, v, is_real):
    mixed, fits = attend_narrow(_by_head(q, k, v), is_real)
    assert fits.all()
    return mixed.transpose(2, 3)


sizes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 8))


@settings(deadline=None)
@given(sizes, st.booleans(), st.integers(0, 99))
def test_narrow_heads_mix_as_defined(shape, padded, seed):
    drawn = _drawn(*shape, padded, seed)
    torch.testing.assert_close(_fitting(*drawn), _by_definition(*drawn))


@settings(deadline=None)
@given(sizes, st.booleans(), st.integers(0, 99))
def test_narrow_heads_have_the_gradient_of_the_definition(shape, padded, seed):
    *drawn, is_real = _drawn(*shape, padded, seed)
    found, expected = ([part.clone().requires_grad_() for part in drawn] for _ in range(2))
    wanted = torch.randn(shape, dtype=torch.float64)
    (_fitting(*found, is_real) * wanted).sum().backward()
    (_by_definition(*expected, is_real) * wanted).sum().backward()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_pieces_do_not_show(monkeypatch):
    *drawn, is_real = _drawn(5, 3, 4, 2, padded=True)
    parts = [part.clone().requires_grad_() for part in drawn]
    whole = _fitting(*parts, is_real)
    grads = torch.autograd.grad(whole.square().sum(), parts)
    monkeypatch.setattr(narrow_attention, "CACHED_WEIGHTS", 4 * 16)  # 15 sequences by 4 and by 2
    again = _fitting(*parts, is_real)
    torch.testing.assert_close(again, whole)
    torch.testing.assert_close(torch.autograd.grad(again.square().sum(), parts), grads)


@pytest.mark.parametrize("factor", [100.0, -100.0])
@pytest.mark.parametrize("with_gradient", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_scores_beyond_exp_are_mixed_another_way(factor, with_gradient, padded):
    q, k, v, is_real = _drawn(3, 2, 5, 4, padded)
    k[1] = factor * q[1]
    expected = _by_definition(q, k, v, is_real)
    assert attend_narrow(_by_head(q, k, v), is_real)[1].tolist() == [True, False, True]
    found = attend_by_head(_by_head(q.requires_grad_(with_gradient), k, v), is_real)
    torch.testing.assert_close(found.detach().transpose(2, 3), expected)
    if with_gradient:
        found.sum().backward()
        assert q.grad.isfinite().all()


@pytest.mark.parametrize("with_gradient", [False, True])
def test_padding_does_not_matter_however_large(with_gradient):
    q, k, v, _ = _drawn(1, 2, 4, 3)
    is_real = torch.tensor([[True, True, False, True]])
    expected = _by_definition(q, k, v, is_real)
    k[:, :, 2], v[:, :, 2] = 1e6, -1e6
    found = _fitting(q.requires_grad_(with_gradient), k, v, is_real)
    torch.testing.assert_close(found.detach(), expected)


def test_what_is_not_a_number_stays_so():
    q, k, v, _ = _drawn(1, 1, 3, 2)
    assert attend_by_head(_by_head(q * torch.nan, k, v), None).isnan().all()


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("with_gradient", [False, True])
def test_wide_heads_mix_as_defined(padded, with_gradient):
    q, k, v, is_real = _drawn(4, 2, 5, 24, padded)
    assert not suits_by_head(q, 5, 24, 0.0)
    found = attend(q.requires_grad_(with_gradient), k, v, is_real, 0.0)
    torch.testing.assert_close(found.detach(), _by_definition(q.detach(), k, v, is_real))


def test_dropped_weights_are_not_those_of_narrow_heads():
    q, *_ = _drawn(2, 2, 5, 4)
    assert suits_by_head(q, 5, 4, 0.0)
    assert not suits_by_head(q, 5, 4, 0.1)
    assert not suits_by_head(q.half(), 5, 4, 0.0)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("laid", [False, True])
@pytest.mark.parametrize("with_gradient", [False, True])
def test_a_layer_gives_the_same_by_head_and_by_torch(padded, laid, with_gradient, monkeypatch):
    config = DenoiserConfig(n_features=3, channels=16, heads=2, attention_dropout=0.0, dropout=0.0)
    torch.manual_seed(0)
    layer = AxisTransformer(config).double().requires_grad_(with_gradient)
    torch.nn.init.normal_(layer.qkv.bias)
    x = torch.randn(4, 5, 16, dtype=torch.float64)
    is_real = _drawn(4, 2, 5, 8, padded)[3]
    seen = torch.ones(4, 5, dtype=torch.bool) if is_real is None else is_real
    layout = None
    if laid:
        layout = AxisLayout.of(seen.nonzero()[:, 0])
        x, is_real = x[seen], layout.is_real
    by_head = layer(x, is_real, layout)
    monkeypatch.setattr(blocks, "suits_by_head", lambda *_: False)
    by_torch = layer(x, is_real, layout)
    real = slice(None) if laid else seen
    torch.testing.assert_close(by_head[real], by_torch[real])
    if with_gradient:
        weights = list(layer.parameters())
        found, expected = (
            torch.autograd.grad(out[real].square().sum(), weights) for out in (by_head, by_torch)
        )
        torch.testing.assert_close(found, expected)
