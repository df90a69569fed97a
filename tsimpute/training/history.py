"""Records of what happened in training."""

from __future__ import annotations

from collections.abc import Sequence
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

    @property
    def summary(self) -> str:
        """A few words for the progress bar."""
        return (
            f"epoch {self.epoch + 1}, {self.phase}, loss {self.train_loss:.4f}, "
            f"validation {self.validation_loss:.4f}, steps {self.expected_kept:.1f}"
        )


@dataclass(frozen=True)
class PretrainingRecord:
    """One epoch of pre-training.

    Attributes
    ----------
    train_loss : float
        Mean squared error of the predicted noise over target cells.
    visible_share : float
        Share of the observed cells that the network was run on.
    n_iterations : int
        Since the start of the run.
    seconds : float
        Training time since the start of the run.
    """

    epoch: int
    train_loss: float
    learning_rate: float
    visible_share: float
    n_iterations: int
    seconds: float

    @property
    def summary(self) -> str:
        """A few words for the progress bar."""
        return (
            f"epoch {self.epoch + 1}, loss {self.train_loss:.4f}, visible {self.visible_share:.0%}"
        )


def history_frame(
    records: Sequence[EpochRecord | PretrainingRecord],
    kind: type[EpochRecord | PretrainingRecord] = EpochRecord,
) -> pd.DataFrame:
    """One row an epoch, with the columns of a kind of record."""
    import pandas as pd

    rows: list[dict[str, Any]] = [asdict(record) for record in records]
    return pd.DataFrame(rows, columns=list(kind.__dataclass_fields__))
