"""A progress bar for a training run."""

from __future__ import annotations

from types import TracebackType

from tqdm.auto import tqdm

from tsimpute.training.loop import Trainer

PARTS = 1000  # of a run


class TrainingBar:
    """Bar over the whole run, in per cent, with time left, losses and kept steps."""

    def __init__(self, label: str, silent: bool) -> None:
        self._bar = tqdm(
            total=PARTS,
            desc=label,
            disable=silent,
            bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed}<{remaining}{postfix}",
        )
        self._loss = float("nan")

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def on_step(self, trainer: Trainer) -> None:
        """Move the bar to the run's progress."""
        ahead = int(PARTS * trainer.progress) - self._bar.n
        if ahead > 0:
            self._bar.update(ahead)

    def on_epoch(self, trainer: Trainer) -> None:
        """Show what the epoch brought."""
        self.on_step(trainer)
        record = trainer.records[-1]
        self._bar.set_postfix_str(
            f"epoch {record.epoch + 1}, {record.phase}, loss {record.train_loss:.4f}, "
            f"validation {record.validation_loss:.4f}, steps {record.expected_kept:.1f}"
        )
