"""A progress bar for a training run."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

from tqdm.auto import tqdm

from tsimpute.training.history import EpochRecord, PretrainingRecord

PARTS = 1000  # of a run


class Run(Protocol):
    """A run in progress."""

    @property
    def progress(self) -> float:
        """Share of the run that is over."""

    @property
    def records(self) -> Sequence[EpochRecord | PretrainingRecord]:
        """One for each epoch that is over."""


class TrainingBar:
    """Bar over the whole run, in per cent, with time left and what the last epoch brought."""

    def __init__(self, label: str, silent: bool) -> None:
        self._bar = tqdm(
            total=PARTS,
            desc=label,
            disable=silent,
            bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed}<{remaining}{postfix}",
        )

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def on_step(self, run: Run) -> None:
        """Move the bar to the run's progress."""
        ahead = int(PARTS * run.progress) - self._bar.n
        if ahead > 0:
            self._bar.update(ahead)

    def on_epoch(self, run: Run) -> None:
        """Show what the epoch brought."""
        self.on_step(run)
        self._bar.set_postfix_str(run.records[-1].summary)
