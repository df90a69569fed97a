"""What a training run is told."""

from __future__ import annotations

from dataclasses import dataclass

from tsimpute.errors import InputError
from tsimpute.training.targets import STRATEGIES

MASK_RULES = ("guarded", "paper")
FIRST_RATE = 0.05  # of a warm-up, in shares of the learning rate


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one run, from scratch or as a fine-tuning.

    Attributes
    ----------
    kept_steps : int
        K. Equal to the number of diffusion steps: no step is pruned, which is plain CSDI.
    epochs : int, optional
        Passes over the training windows; None: as long as `time_budget_s` lasts.
    time_budget_s : float, optional
        Seconds of training; whichever of the two ends first counts.
    mask_rule : {"guarded", "paper"}
        How the steps to keep are searched; see :mod:`tsimpute.training.search`.
    mask_learning_rate : float, optional
        Step size of the keep-probabilities; None: the rule's own.
    search_start, search_end : float
        Shares of the run between which the mask is learned. After the end the kept steps are
        fixed and only the network goes on.
    warmup : float
        Share of the run in which the learning rate rises to its full height.
    ema_decay : float
        Of the exponential moving average of the weights that validation and sampling use; 0
        switches it off.
    patience : int, optional
        Epochs without a better validation loss, once the kept steps are fixed, before the run
        ends early; None: never.
    mixed_precision : bool
        bfloat16 autocast while training, on CUDA only.
    random_widths : int, optional
        Train all widths of the network by the sandwich rule, with so many random ones in each
        iteration; None: the whole network alone.
    """

    kept_steps: int
    epochs: int | None = 200
    time_budget_s: float | None = None
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup: float = 0.0
    weight_decay: float = 1e-6
    target_strategy: str = "random"
    mask_rule: str = "guarded"
    mask_learning_rate: float | None = None
    search_start: float = 0.2
    search_end: float = 0.7
    ema_decay: float = 0.999
    patience: int | None = None
    mixed_precision: bool = True
    random_widths: int | None = None

    def __post_init__(self) -> None:
        _check(self.kept_steps >= 1, "kept_steps", self.kept_steps, "at least 1")
        _check(self.epochs is None or self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _check(
            self.time_budget_s is None or self.time_budget_s > 0,
            "time_budget_s",
            self.time_budget_s,
            "a positive number of seconds",
        )
        _check(
            not (self.epochs is None and self.time_budget_s is None),
            "epochs",
            None,
            "a number, or time_budget_s must be one",
        )
        _check(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        _check(self.learning_rate > 0, "learning_rate", self.learning_rate, "positive")
        _check(0 <= self.warmup < 1, "warmup", self.warmup, "in [0, 1)")
        _check(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "in [0, 1)")
        n_widths = self.random_widths
        _check(n_widths is None or n_widths >= 0, "random_widths", n_widths, "0 or more")
        _check(self.mask_rule in MASK_RULES, "mask_rule", self.mask_rule, f"one of {MASK_RULES}")
        _check(
            self.target_strategy in STRATEGIES,
            "target_strategy",
            self.target_strategy,
            f"one of {STRATEGIES}",
        )

    def progress(self, epochs_done: float, seconds: float) -> float:
        """Share of the run that is over, by epochs or by the clock, whichever is further."""
        shares = [0.0]
        if self.epochs is not None:
            shares.append(epochs_done / self.epochs)
        if self.time_budget_s is not None:
            shares.append(seconds / self.time_budget_s)
        return min(1.0, max(shares))


def _check(holds: bool, name: str, got: object, expected: str) -> None:
    if not holds:
        raise InputError(f"{name}={got!r} cannot be used; expected {expected}")


def learning_rate_at(progress: float, base: float, warmup: float = 0.0) -> float:
    """CSDI's schedule: a tenth from 75 % of the run on, a hundredth from 90 %.

    In the share `warmup` of the run, which CSDI does not have, it rises from a twentieth.
    """
    risen = 1.0 if progress >= warmup else max(FIRST_RATE, progress / warmup)
    return base * risen * (0.1 if progress >= 0.75 else 1.0) * (0.1 if progress >= 0.9 else 1.0)
