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


def attend_narrow(q: Tensor, k: Tensor, v: Tensor, is_real: Tensor | None) -> Tensor | None:
    """Mix v by softmax(q k / sqrt(D)); arguments and result as of `attend`.

    exp(q k) is not scaled by its largest value first, which takes longer than all the rest; the
    sums that it is divided by come with the mixture, from a column of ones beside v.

    Returns
    -------
    Tensor or None
        None where the scores are so large that exp leaves the range of float32.
    """
    mixed, sums = _Narrow.apply(q, k, v, is_real)  # type: ignore[no-untyped-call]
    least, most = sums.aminmax()
    if least < 1 / LARGEST_SUM or most > LARGEST_SUM:  # not so for NaN, which is told
        return None
    return mixed  # type: ignore[no-any-return]


class _Narrow(torch.autograd.Function):
    """With a backward pass that computes the weights again, in place of keeping them."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, is_real: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        n, heads, size, width = q.shape
        q, k = (q * width**-0.5).reshape(-1, size, width), k.reshape(-1, size, width)
        v = torch.cat([v, v.new_ones(n, heads, size, 1)], dim=-1)
        if is_real is not None:
            v = v * is_real[:, None, :, None]
        v = v.reshape(-1, size, width + 1)
        out = torch.empty_like(v)
        for few in _pieces(q, CACHED_WEIGHTS):
            weights = torch.bmm(q[few], k[few].transpose(1, 2)).exp_()
            torch.bmm(weights, v[few], out=out[few])
        sums = out[..., width:]
        mixed = out[..., :width] / sums
        ctx.save_for_backward(q, k, v, mixed, sums, is_real)
        ctx.mark_non_differentiable(sums)
        return mixed.view(n, heads, size, width), sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mixed, sums, is_real = ctx.saved_tensors
        n, heads, size, width = grad.shape
        grad = grad.reshape(-1, size, width) / sums
        # With w = exp(q k): d w = grad v' - grad . mixed, which is one product beside the ones.
        grad_of_weights = torch.cat([grad, -(grad * mixed).sum(-1, keepdim=True)], dim=-1)
        grad_q, grad_k, grad_v = (torch.empty_like(part) for part in (q, k, k))
        for few in _pieces(q, CACHED_WEIGHTS // 2):  # the weights and their gradient
            weights = torch.bmm(q[few], k[few].transpose(1, 2)).exp_()
            torch.bmm(weights.transpose(1, 2), grad[few], out=grad_v[few])
            weights *= torch.bmm(grad_of_weights[few], v[few].transpose(1, 2))
            torch.bmm(weights, k[few], out=grad_q[few])
            torch.bmm(weights.transpose(1, 2), q[few], out=grad_k[few])
        shape = (n, heads, size, width)
        grad_v = grad_v.view(shape)
        if is_real is not None:
            grad_v = grad_v * is_real[:, None, :, None]
        return (grad_q * width**-0.5).view(shape), grad_k.view(shape), grad_v, None


def _pieces(q: Tensor, n_weights: int) -> list[slice]:
    """Sequences of q (N, S, D) whose (S, S) weights are about so many."""
    step = max(1, n_weights // q.shape[1] ** 2)
    return [slice(a, a + step) for a in range(0, len(q), step)]
