"""Further outputs of a trained network: small heads on its trunk."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class OutputHead(nn.Module):
    """Two layers from the trunk (B, K, L, C) to outputs of each cell.

    Parameters
    ----------
    channels : int
        C of the trunk.
    n_outputs : int
        Numbers for each cell.
    positive : bool
        Whether the outputs are kept above 0, by softplus.
    """

    def __init__(self, channels: int, n_outputs: int = 1, positive: bool = False) -> None:
        super().__init__()
        self.n_outputs, self.positive = n_outputs, positive
        self.hidden = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, n_outputs)
        nn.init.zeros_(self.out.weight)

    def forward(self, trunk: Tensor) -> Tensor:
        """Outputs; shape (B, L, K, n_outputs), or (B, L, K) where there is one."""
        out = self.read(trunk).transpose(1, 2)
        return out.squeeze(-1) if self.n_outputs == 1 else out

    def read(self, trunk: Tensor) -> Tensor:
        """Outputs (..., n_outputs) of cells (..., C)."""
        out: Tensor = self.out(functional.relu(self.hidden(trunk)))
        return functional.softplus(out) if self.positive else out
