"""Attention by narrow heads on processors, a few sequences at a time that stay in the cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

MOST_WIDTH = 16  # of a head, above which torch's own attention is as fast
MOST_LENGTH = 1024
CACHED_WEIGHTS = 2**18  # 1 MB of float32
LARGEST_SUM = 1e20  # of unscaled weights; its inverse is the smallest


def suits_narrow(q: Tensor, drop: float) -> bool:
    """Whether :func:`attend_narrow` is the faster way for queries (N, heads, S, D)."""
    size, width = q.shape[-2:]
    return (
        q.device.type == "cpu"
        and q.dtype in (torch.float32, torch.float64)
        and drop == 0
        and width <= MOST_WIDTH
        and size <= MOST_LENGTH
    )


def attend_narrow(q: Tensor, k: Tensor, v: Tensor, is_real: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mix v by softmax(q k / sqrt(D)); arguments as of `attend`.

    exp(q k) is not divided by its largest value first, which takes longer than all the rest; the
    sums that it is divided by come with the mixture, from a column of ones beside v.

    Returns
    -------
    mixed : Tensor of float, shape (N, heads, S, D)
    fits : Tensor of bool, shape (N,)
        False where scores are so large that exp leaves the range of float32: `mixed` means nothing
        there.
    """
    n, heads, size, width = q.shape
    v = torch.cat([v, v.new_ones(n, heads, size, 1)], dim=-1)
    if is_real is not None:
        real = is_real[:, None, :, None]
        k, v = k * real, v * real
    flat = [part.reshape(n * heads, size, -1) for part in (q, k, v)]
    mixed = _Mixed.apply(*flat).view(n, heads, size, -1)  # type: ignore[no-untyped-call]
    sums = mixed[..., width:]
    least, most = torch.aminmax(sums.detach().reshape(n, -1), dim=1)
    fits = ~((least < 1 / LARGEST_SUM) | (most > LARGEST_SUM))  # NaN passes, so that it is told
    return mixed[..., :width] / sums, fits


class _Mixed(torch.autograd.Function):
    """exp(q k / sqrt(D)) v; the backward pass computes the weights again, not to keep them."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v)
        out = torch.empty_like(v)
        for few in _pieces(q, CACHED_WEIGHTS):
            torch.bmm(_weights(q[few], k[few]), v[few], out=out[few])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = ctx.saved_tensors
        grad_q, grad_k, grad_v = (torch.empty_like(part) for part in (q, k, v))
        for few in _pieces(q, CACHED_WEIGHTS // 2):  # the weights and their gradient
            weights = _weights(q[few], k[few])
            torch.bmm(weights.transpose(1, 2), grad[few], out=grad_v[few])
            weights *= torch.bmm(grad[few], v[few].transpose(1, 2))  # now of the scores
            torch.bmm(weights, k[few], out=grad_q[few])
            torch.bmm(weights.transpose(1, 2), q[few], out=grad_k[few])
        scale = q.shape[-1] ** -0.5
        return grad_q.mul_(scale), grad_k.mul_(scale), grad_v


def _weights(q: Tensor, k: Tensor) -> Tensor:
    scale = q.shape[-1] ** -0.5
    return torch.baddbmm(q.new_zeros(()), q, k.transpose(1, 2), beta=0, alpha=scale).exp_()


def _pieces(q: Tensor, n_weights: int) -> list[slice]:
    """Sequences of q (N, S, D) whose (S, S) weights are about so many."""
    step = max(1, n_weights // q.shape[1] ** 2)
    return [slice(a, a + step) for a in range(0, len(q), step)]
