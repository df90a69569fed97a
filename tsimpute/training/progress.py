"""A progress bar for a training run, or for anything else that is long."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

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


class ShareBar:
    """Bar over something long, in per cent, with time left."""

    def __init__(self, label: str, silent: bool) -> None:
        self._bar = tqdm(
            total=PARTS,
            desc=label,
            disable=silent,
            bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed}<{remaining}{postfix}",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def reach(self, share: float) -> None:
        """Move the bar on to a share of the whole; never back."""
        ahead = int(PARTS * share) - self._bar.n
        if ahead > 0:
            self._bar.update(ahead)

    def note(self, text: str) -> None:
        """Say something behind the bar."""
        self._bar.set_postfix_str(text)


class TrainingBar(ShareBar):
    """Bar over a whole run, with what the last epoch brought."""

    def on_step(self, run: Run) -> None:
        """Move the bar to the run's progress."""
        self.reach(run.progress)

    def on_epoch(self, run: Run) -> None:
        """Show what the epoch brought."""
        self.on_step(run)
        self.note(run.records[-1].summary)
