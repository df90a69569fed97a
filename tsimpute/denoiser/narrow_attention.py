"""Attention by narrow heads on processors, a few sequences at a time that stay in the cache.

Sequences lie along the last axis here, so that no product has to lay its factors anew.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

MOST_WIDTH = 16  # of a head, above which torch's own attention is as fast
MOST_LENGTH = 1024
CACHED_WEIGHTS = 2**17  # half a MB of float32
LARGEST_SUM = 1e20  # of unscaled weights; its inverse is the smallest


def suits_narrow(x: Tensor, size: int, width: int, drop: float) -> bool:
    """Whether :func:`attend_narrow` is the faster way for sequences and heads of this size."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and drop == 0
        and width <= MOST_WIDTH
        and size <= MOST_LENGTH
    )


def attend_narrow(qkv: Tensor, is_real: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mix v by softmax(q k / sqrt(D)).

    exp(q k) is not divided by its largest value first, which takes longer than all the rest; the
    sums that it is divided by come with the mixture, from the ones beside v.

    Parameters
    ----------
    qkv : Tensor of float, shape (N, heads, 3 D + 1, S)
        Queries, keys, values and a row of ones.
    is_real : Tensor of bool, shape (N, S), optional
        False where a key is padding and gets no weight.

    Returns
    -------
    mixed : Tensor of float, shape (N, heads, D, S)
    fits : Tensor of bool, shape (N,)
        False where scores are so large that exp leaves the range of float32: `mixed` means nothing
        there.
    """
    n, heads, rows, size = qkv.shape
    width = rows // 3
    if is_real is not None:
        q, rest = qkv.tensor_split([width], dim=2)
        qkv = torch.cat([q, rest * is_real[:, None, None]], dim=2)
    flat = qkv.reshape(n * heads, rows, size)
    mixed = _Mixed.apply(flat, width).view(n, heads, width + 1, size)  # type: ignore[no-untyped-call]
    sums = mixed[:, :, width:]
    least, most = torch.aminmax(sums.detach().reshape(n, -1), dim=1)
    fits = ~((least < 1 / LARGEST_SUM) | (most > LARGEST_SUM))  # NaN passes, so that it is told
    return mixed[:, :, :width] / sums, fits


class _Mixed(torch.autograd.Function):
    """v exp(q k / sqrt(D)); the backward pass computes the weights again, not to keep them."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, width: int) -> Tensor:
        ctx.save_for_backward(qkv)
        ctx.width = width
        q, k, v = _split(qkv, width)
        out = torch.empty_like(v, memory_format=torch.contiguous_format)
        for few in _pieces(q, CACHED_WEIGHTS):
            torch.bmm(v[few], _weights(q[few], k[few]), out=out[few])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (qkv,) = ctx.saved_tensors
        grads = torch.empty_like(qkv)
        q, k, v = _split(qkv, ctx.width)
        grad_q, grad_k, grad_v = _split(grads, ctx.width)
        for few in _pieces(q, CACHED_WEIGHTS // 2):  # the weights and their gradient
            weights = _weights(q[few], k[few])
            grad_v[few] = torch.bmm(grad[few], weights.transpose(1, 2))
            weights *= torch.bmm(v[few].transpose(1, 2), grad[few])  # now of the scores
            grad_q[few] = torch.bmm(k[few], weights)
            grad_k[few] = torch.bmm(q[few], weights.transpose(1, 2))
        grads[:, : 2 * ctx.width] *= ctx.width**-0.5
        return grads, None


def _split(qkv: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    return qkv[:, :width], qkv[:, width : 2 * width], qkv[:, 2 * width :]


def _weights(q: Tensor, k: Tensor) -> Tensor:
    """exp(k q / sqrt(D)) of sequences (N, D, S), (N, keys, queries)."""
    scale = q.shape[1] ** -0.5
    return torch.baddbmm(q.new_zeros(()), k.transpose(1, 2), q, beta=0, alpha=scale).exp_()


def _pieces(q: Tensor, n_weights: int) -> list[slice]:
    """Sequences of q (N, D, S) whose (S, S) weights are about so many."""
    step = max(1, n_weights // q.shape[2] ** 2)
    return [slice(a, a + step) for a in range(0, len(q), step)]
