"""Scaled dot-product attention over many short sequences."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional

from tsimpute.denoiser.dropout import dropout
from tsimpute.denoiser.narrow_attention import attend_narrow, suits_narrow

MAX_BATCH = 65_535  # scaled_dot_product_attention on CUDA refuses a larger batch


def attend_by_head(qkv: Tensor, is_real: Tensor | None) -> Tensor:
    """Mix v by softmax(q k / sqrt(D)) (Vaswani et al. 2017), by narrow heads.

    Parameters
    ----------
    qkv : Tensor of float, shape (N, heads, 3 D + 1, S)
        Queries, keys, values and a row of ones, where :func:`suits_by_head`.
    is_real : Tensor of bool, shape (N, S), optional
        False where a key is padding and gets no weight.

    Returns
    -------
    Tensor of float, shape (N, heads, D, S)
    """
    mixed, fits = attend_narrow(qkv, is_real)
    if fits.all():
        return mixed
    width = qkv.shape[2] // 3
    by_sequence = qkv[:, :, : 3 * width].transpose(2, 3)
    if qkv.requires_grad:  # what is replaced would leave NaN in them
        q, k, v = by_sequence.chunk(3, dim=3)
        return attend(q, k, v, is_real, 0.0).transpose(2, 3)
    rest = ~fits
    q, k, v = by_sequence[rest].chunk(3, dim=3)
    real = None if is_real is None else is_real[rest]
    mixed[rest] = attend(q, k, v, real, 0.0).transpose(2, 3)
    return mixed


def suits_by_head(x: Tensor, size: int, width: int, drop: float) -> bool:
    """Whether :func:`attend_by_head` is the way for sequences of this size and heads this wide."""
    return suits_narrow(x, size, width, drop) and not _has_tangent(x)


def attend(q: Tensor, k: Tensor, v: Tensor, is_real: Tensor | None, drop: float) -> Tensor:
    """Mix v by softmax(q k / sqrt(D)), by what torch has.

    Parameters
    ----------
    q, k, v : Tensor of float, shape (N, heads, S, D)
    is_real : Tensor of bool, shape (N, S), optional
        False where a key is padding and gets no weight.
    drop : float
        Share of the weights that are dropped.

    Returns
    -------
    Tensor of float, shape (N, heads, S, D)
    """
    mask = None if is_real is None else is_real[:, None, None, :]
    if (q.device.type == "cpu" and q.requires_grad) or _has_tangent(q):
        return _attend_by_products(q, k, v, mask, drop)
    parts = [
        functional.scaled_dot_product_attention(
            q[rows], k[rows], v[rows], None if mask is None else mask[rows], drop
        )
        for rows in _row_chunks(len(q))
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _attend_by_products(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, drop: float
) -> Tensor:
    """Attend with all weights in memory.

    With gradients it is a fifth faster on the CPU than the fused form, which has no forward-mode
    derivative at all.
    """
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)  # (N, heads, S, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return dropout(scores.softmax(-1), drop, training=drop > 0) @ v


def _has_tangent(x: Tensor) -> bool:
    """Whether a Jacobian-vector product is being taken through x."""
    unpacked = forward_ad.unpack_dual(x)  # type: ignore[no-untyped-call]
    return unpacked.tangent is not None


def _row_chunks(n: int) -> list[slice]:
    return [slice(a, a + MAX_BATCH) for a in range(0, n, MAX_BATCH)]
