"""A progress bar for a training run."""

from __future__ import annotations

from types import TracebackType

from tqdm.auto import tqdm

from tsimpute.training.loop import Trainer


class TrainingBar:
    """Bar over the whole run, in per cent, with time left, losses and kept steps."""

    def __init__(self, label: str, silent: bool) -> None:
        self._bar = tqdm(
            total=100,
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
        ahead = 100 * trainer.progress - self._bar.n
        if ahead >= 0.1:
            self._bar.update(round(ahead, 3))

    def on_epoch(self, trainer: Trainer) -> None:
        """Show what the epoch brought."""
        record = trainer.records[-1]
        self._bar.set_postfix_str(
            f"epoch {record.epoch + 1}, {record.phase}, loss {record.train_loss:.4f}, "
            f"validation {record.validation_loss:.4f}, steps {record.expected_kept:.1f}"
        )
