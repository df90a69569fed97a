"""Keep-probabilities of the diffusion steps, learned by policy gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsimpute.diffusion.projection import project_capped_simplex
from tsimpute.errors import InputError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def score_gradient(step_mask: BoolArray, keep_prob: FloatArray) -> FloatArray:
    """Gradient of ln p(mask | keep_prob): m / s - (1 - m) / (1 - s) (EDDPM, Eq. 11).

    Parameters
    ----------
    step_mask : ndarray of bool, shape (T,)
    keep_prob : ndarray of float64, shape (T,)

    Returns
    -------
    ndarray of float64, shape (T,)
    """
    tiny = 1e-12  # a kept step with s = 0, or a dropped one with s = 1, cannot be drawn
    kept = step_mask / np.maximum(keep_prob, tiny)
    dropped = ~step_mask / np.maximum(1 - keep_prob, tiny)
    return np.asarray(kept - dropped, dtype=np.float64)


def leave_one_out_gradient(
    step_masks: BoolArray, costs: FloatArray, keep_prob: FloatArray
) -> FloatArray:
    """Policy gradient in the logits, each mask judged against the ones drawn beside it.

    1 / (R - 1) sum_r (F_r - mean F) (m_r - s), which has none of the 1 / (s (1 - s)) variance of
    the gradient in s. A mask with more steps is always cheaper, and the projection onto the
    budget undoes that in any case, so the share of the cost that the size explains is taken out
    first. Costs are brought to unit variance: the step size does not depend on their unit.

    Parameters
    ----------
    step_masks : ndarray of bool, shape (R, T)
    costs : ndarray of float64, shape (R,)
    keep_prob : ndarray of float64, shape (T,)
        With which the masks were drawn.

    Returns
    -------
    ndarray of float64, shape (T,)
    """
    size = step_masks.sum(axis=1)
    terms = np.stack([np.ones(len(size)), size, np.log(size)], axis=1)
    advantage = costs - terms @ np.linalg.lstsq(terms, costs, rcond=None)[0]
    spread = advantage.std()
    if spread <= 1e-12 * max(1.0, float(np.abs(costs).max())):
        return np.zeros_like(keep_prob)
    gradient: FloatArray = (advantage / spread) @ (step_masks - keep_prob) / (len(costs) - 1)
    return gradient


@dataclass
class StepMaskLearner:
    """Keep-probability of every step, moved against the cost of drawn masks.

    Attributes
    ----------
    keep_prob : ndarray of float64, shape (T,)
        Starts at 1: every step kept.
    learning_rate : float
        Step size of the keep-probabilities.
    floor : float
        0 for the printed rule of EDDPM. Above 0, draws use keep-probabilities within
        [floor, 1 - floor], so that no step is ever decided beyond recall.
    """

    keep_prob: FloatArray
    learning_rate: float
    floor: float = 0.0

    @classmethod
    def all_kept(cls, n_steps: int, learning_rate: float, floor: float = 0.0) -> StepMaskLearner:
        """Learner at its start, s = 1 (EDDPM, Section 4.2)."""
        return cls(np.ones(n_steps), learning_rate, floor)

    def draw(self, n_masks: int, rng: np.random.Generator) -> BoolArray:
        """Draw masks (n_masks, T) from Bernoulli(keep_prob); an empty one keeps its likeliest."""
        masks = rng.random((n_masks, len(self.keep_prob))) < self._draw_prob
        empty = ~masks.any(axis=1)
        masks[empty, int(np.argmax(self.keep_prob))] = True
        return masks

    @property
    def _draw_prob(self) -> FloatArray:
        return np.clip(self.keep_prob, self.floor, 1 - self.floor)

    def update(self, step_masks: BoolArray, costs: FloatArray, budget: float) -> None:
        """One gradient step and the projection onto the budget (EDDPM, Eq. 13).

        One mask: the printed rule, its loss times the score. Several: leave-one-out.

        Raises
        ------
        InputError
            If a cost is not finite.
        """
        if not np.isfinite(costs).all():
            raise InputError(f"the cost of a step mask must be finite; got {costs}")
        if len(costs) == 1:
            gradient = costs[0] * score_gradient(step_masks[0], self.keep_prob)
        else:
            gradient = leave_one_out_gradient(step_masks, costs, self._draw_prob)
        moved = self.keep_prob - self.learning_rate * gradient
        self.keep_prob = project_capped_simplex(moved, budget)

    def best_mask(self, kept_steps: int) -> BoolArray:
        """Mask (T,) of the `kept_steps` largest keep-probabilities; ties go to earlier steps."""
        order = np.argsort(-self.keep_prob, kind="stable")
        mask = np.zeros(len(self.keep_prob), dtype=bool)
        mask[order[:kept_steps]] = True
        return mask

    def n_undecided(self, low: float = 0.1, high: float = 0.9) -> int:
        """How many keep-probabilities lie strictly between `low` and `high`."""
        return int(((self.keep_prob > low) & (self.keep_prob < high)).sum())


def exchange_steps(
    step_mask: BoolArray, price: Callable[[BoolArray], FloatArray], least_gain: float = 0.01
) -> BoolArray:
    """Swap a kept step for a dropped one as long as that makes the mask clearly cheaper.

    Parameters
    ----------
    step_mask : ndarray of bool, shape (T,)
    price : callable
        Costs (R,) of masks (R, T).
    least_gain : float, default=0.01
        An exchange that saves less is not worth overruling the keep-probabilities for.

    Returns
    -------
    ndarray of bool, shape (T,)
        With as many steps; no single exchange saves `least_gain` or more.
    """
    best, best_cost = step_mask, float(price(step_mask[None])[0])
    while not best.all():
        kept, dropped = np.flatnonzero(best), np.flatnonzero(~best)
        swapped = np.repeat(best[None], len(kept) * len(dropped), axis=0)
        rows = np.arange(len(swapped))
        swapped[rows, np.repeat(kept, len(dropped))] = False
        swapped[rows, np.tile(dropped, len(kept))] = True
        costs = price(swapped)
        cheapest = int(np.argmin(costs))
        if not costs[cheapest] < best_cost - least_gain:  # also where a cost is NaN
            break
        best, best_cost = swapped[cheapest], float(costs[cheapest])
    return best
