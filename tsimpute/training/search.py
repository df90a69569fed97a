"""Which diffusion steps to keep: the printed rule of EDDPM, and a guarded one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tsimpute.diffusion.schedule import NoiseSchedule, TimeGrid
from tsimpute.diffusion.step_mask import StepMaskLearner, exchange_steps
from tsimpute.training.level_errors import LevelErrors

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PAPER_LEARNING_RATE = 1e-3
GUARDED_LEARNING_RATE = 0.25
GUARDED_FLOOR = 0.02
GUARDED_MASKS = 64
GUARDED_UPDATES = 8  # of the mask for one of the weights: pricing a mask costs next to nothing


class StepSearch(Protocol):
    """How masks are drawn, what they are told after a training step, and how they move."""

    schedule: NoiseSchedule
    learner: StepMaskLearner

    @property
    def n_steps(self) -> int:
        """T, the number of diffusion steps."""
        ...

    def draw_grid(self, masked: bool, rng: np.random.Generator) -> TimeGrid:
        """Grid for one training step: all steps, or a drawn mask."""
        ...

    @property
    def measures_levels(self) -> bool:
        """Whether the search wants `measured` now and then."""
        ...

    def observe(self, error: FloatArray, n_cells: FloatArray) -> None:
        """Take note of the summed squared noise errors of a training batch."""
        ...

    def measured(self, steps: IntArray, error: FloatArray, n_cells: FloatArray) -> None:
        """Take note of errors of held-out windows at their diffusion steps."""
        ...

    def update(self, budget: float, rng: np.random.Generator) -> None:
        """Move the keep-probabilities within the budget."""
        ...

    def best_grid(self, kept_steps: int) -> TimeGrid:
        """The most probable chain of that many steps."""
        ...


@dataclass
class PaperSearch:
    """EDDPM as printed (Zhang et al. 2024, Algorithm 1).

    A dropped step is the identity; one mask an iteration; its loss times the score moves the
    keep-probabilities (Eq. 11, 13).
    """

    schedule: NoiseSchedule
    learner: StepMaskLearner
    _mask: NDArray[np.bool_] | None = None
    _loss: float = 0.0

    @property
    def n_steps(self) -> int:
        """T, the number of diffusion steps."""
        return self.schedule.n_steps

    def draw_grid(self, masked: bool, rng: np.random.Generator) -> TimeGrid:
        """All steps, or the steps of one drawn mask."""
        self._mask = self.learner.draw(1, rng)[0] if masked else None
        return self.schedule.full() if self._mask is None else self.schedule.masked(self._mask)

    @property
    def measures_levels(self) -> bool:
        """The printed rule looks at nothing but the loss of the batch."""
        return False

    def observe(self, error: FloatArray, n_cells: FloatArray) -> None:
        """Keep the loss of the batch, which is the cost of the mask that was drawn for it."""
        self._loss = float(error.sum() / max(n_cells.sum(), 1))

    def measured(self, steps: IntArray, error: FloatArray, n_cells: FloatArray) -> None:
        """Nothing is done with it."""

    def update(self, budget: float, rng: np.random.Generator) -> None:
        """Loss times score, projected onto the budget."""
        if self._mask is not None:
            self.learner.update(self._mask[None], np.array([self._loss]), budget)

    def best_grid(self, kept_steps: int) -> TimeGrid:
        """Products over the most probable steps only (Eq. 7)."""
        return self.schedule.masked(self.learner.best_mask(kept_steps))


@dataclass
class GuardedSearch:
    """Step masks that learn from the price of a whole chain.

    A dropped step's noise goes into the next kept one, so that the last level stays noisy and
    each step keeps the noise level that the network knows it by. The errors of held-out windows
    fill a table, measured a few times in the search; many masks an iteration are priced from it
    without another evaluation, and each mask's baseline is the mean price of the others.
    """

    schedule: NoiseSchedule
    learner: StepMaskLearner
    errors: LevelErrors = field(init=False)
    n_masks: int = GUARDED_MASKS

    def __post_init__(self) -> None:
        self.errors = LevelErrors.unknown(self.schedule.alpha_bar)

    @property
    def n_steps(self) -> int:
        """T, the number of diffusion steps."""
        return self.schedule.n_steps

    def draw_grid(self, masked: bool, rng: np.random.Generator) -> TimeGrid:
        """All steps, or the steps of one drawn mask."""
        if not masked:
            return self.schedule.full()
        return self.schedule.respaced(np.flatnonzero(self.learner.draw(1, rng)[0]))

    @property
    def measures_levels(self) -> bool:
        """Masks are priced from the errors of held-out windows."""
        return True

    def observe(self, error: FloatArray, n_cells: FloatArray) -> None:
        """Nothing: dropout makes the errors of training too large, most so at high noise."""

    def measured(self, steps: IntArray, error: FloatArray, n_cells: FloatArray) -> None:
        """Make the table of errors by step anew."""
        self.errors = LevelErrors.unknown(self.schedule.alpha_bar)
        self.errors.add(steps, error, n_cells)

    def update(self, budget: float, rng: np.random.Generator) -> None:
        """Leave-one-out policy gradient over many masks, projected onto the budget."""
        for _ in range(GUARDED_UPDATES):
            masks = self.learner.draw(self.n_masks, rng)
            self.learner.update(masks, self.errors.price(masks), budget)

    def best_grid(self, kept_steps: int) -> TimeGrid:
        """Respaced chain over the most probable steps, improved by single exchanges."""
        likeliest = self.learner.best_mask(kept_steps)
        return self.schedule.respaced(np.flatnonzero(exchange_steps(likeliest, self.errors.price)))


def make_search(
    rule: str, schedule: NoiseSchedule, learning_rate: float | None = None
) -> StepSearch:
    """Build a search by rule, "guarded" or "paper", with every step kept at first."""
    if rule == "paper":
        rate = PAPER_LEARNING_RATE if learning_rate is None else learning_rate
        return PaperSearch(schedule, StepMaskLearner.all_kept(schedule.n_steps, rate))
    rate = GUARDED_LEARNING_RATE if learning_rate is None else learning_rate
    learner = StepMaskLearner.all_kept(schedule.n_steps, rate, floor=GUARDED_FLOOR)
    return GuardedSearch(schedule, learner)
