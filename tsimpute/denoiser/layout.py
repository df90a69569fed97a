"""Cells in any order, laid in rows for attention."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class AxisLayout(NamedTuple):
    """Which cells attend to each other.

    Attributes
    ----------
    n_rows, width : int
        R, the rows that hold any cell, and W, the cells of the fullest one.
    cells : Tensor of int64, shape (R, W), or None
        The cell at each place of the rows, any cell where there is none; None: they are in
        order, and every row is full.
    place : Tensor of int64, shape (N,), or None
        Place of each cell among the R * W.
    is_real : Tensor of bool, shape (R, W), or None
        False at places without a cell; None: every row is full.
    """

    n_rows: int
    width: int
    cells: Tensor | None
    place: Tensor | None
    is_real: Tensor | None

    @classmethod
    def of(cls, row: Tensor) -> AxisLayout:
        """Cells whose numbers of rows (N,), in any order, are these."""
        order = row.argsort(stable=True)
        counts = row.bincount()
        counts = counts[counts > 0]
        n_rows, width = len(counts), int(counts.max())
        if n_rows * width == len(row) and bool((order[1:] > order[:-1]).all()):
            return cls(n_rows, width, None, None, None)
        is_real = torch.arange(width, device=row.device) < counts[:, None]  # (R, W)
        cells = torch.zeros_like(is_real, dtype=torch.int64)
        cells[is_real] = order
        place = torch.empty_like(row)
        place[order] = is_real.flatten().nonzero().squeeze(1)
        full = n_rows * width == len(row)
        return cls(n_rows, width, cells, place, None if full else is_real)

    def to_rows(self, x: Tensor) -> Tensor:
        """Cells (N, D) as rows (R, W, D)."""
        if self.cells is not None:
            x = functional.embedding(self.cells.flatten(), x)
        return x.view(self.n_rows, self.width, x.shape[-1])

    def to_cells(self, x: Tensor) -> Tensor:
        """Rows (R, W, D) as cells (N, D)."""
        x = x.flatten(0, 1)
        return x if self.place is None else functional.embedding(self.place, x)
