"""Dropout that does not wait for its random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.nn import functional

_generator: ContextVar[torch.Generator | None] = ContextVar("_generator", default=None)


@contextmanager
def drawn_from(generator: torch.Generator | None) -> Iterator[None]:
    """Let dropout on the CPU draw from a generator, in this thread; None: from torch's own."""
    token = _generator.set(generator)
    try:
        yield
    finally:
        _generator.reset(token)


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Zero each entry with probability `rate` and scale the others up (Srivastava et al. 2014).

    On the CPU one 64-bit random number decides eight entries, and `rate` is rounded to a multiple
    of 1/256: drawing a number for each entry takes a seventh of a training step there.
    """
    if not training or rate == 0:
        return x
    if x.device.type != "cpu":
        return functional.dropout(x, rate)
    threshold = max(1, min(255, round(256 * rate)))
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64)
    words.random_(-(2**63), None, generator=_generator.get())
    kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= threshold
    return x * (kept * (256 / (256 - threshold)))
