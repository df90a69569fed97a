"""What the network is told of the rows of a window, besides the values."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Context(NamedTuple):
    """Side information that differs from window to window; nothing by default.

    Attributes
    ----------
    covariates : Tensor of float32, shape (B, L, C), or None
        Complete, in units of the order of 1; 0 on padding rows.
    positions : Tensor of float32, shape (B, L), or None
        Time of each row, in steps from the first; None: 0, 1, ….
    """

    covariates: Tensor | None = None
    positions: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> Context:
        """The same with every tensor that is there changed: moved, taken from, repeated."""
        return Context(*(None if part is None else change(part) for part in self))


NO_CONTEXT = Context()
