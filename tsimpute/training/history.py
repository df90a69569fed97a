"""Records of what happened in training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Attributes
    ----------
    phase : {"all steps", "search", "fixed"}
        Whether every step was trained, the mask was being learned, or the kept steps were fixed.
    train_loss, validation_loss : float
        Mean squared error of the predicted noise over target cells; validation with the averaged
        weights, NaN where there is nothing to validate on.
    expected_kept : float
        Sum of the keep-probabilities.
    n_undecided : int
        Keep-probabilities in (0.1, 0.9).
    seconds : float
        Training time since the start of the run.
    """

    epoch: int
    phase: str
    train_loss: float
    validation_loss: float
    learning_rate: float
    expected_kept: float
    n_undecided: int
    seconds: float


def history_frame(records: list[EpochRecord]) -> pd.DataFrame:
    """One row an epoch."""
    import pandas as pd

    rows: list[dict[str, Any]] = [asdict(record) for record in records]
    return pd.DataFrame(rows, columns=list(EpochRecord.__dataclass_fields__))
