"""An exam for a fitted model: observed cells are hidden, sampled, and scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tsimpute.errors import InputError
from tsimpute.evaluation.metrics import CRPS_LEVELS, quantile_crps_from_quantiles
from tsimpute.inference import SamplingPlan, Stretch, head_quantiles, hole_windows, sample_holes
from tsimpute.model import FittedModel
from tsimpute.panel.core import Panel
from tsimpute.panel.missingness import hide_points
from tsimpute.readout import Read, at_cells, head_reader, joined, quantile_reader

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class ExamPlan:
    """Which cells are hidden.

    Attributes
    ----------
    seed : int
    overlap : float
        Share of a window in common with the next.
    hidden_fraction : float
        Share of the observed cells that is hidden.
    max_windows : int, optional
        Windows that are sampled at most; None: all.
    """

    seed: int
    overlap: float
    hidden_fraction: float = 0.1
    max_windows: int | None = None


@dataclass(frozen=True)
class Exam:
    """Scaled series with some observed cells hidden.

    Attributes
    ----------
    given : list of ndarray of float64, each of shape (n_times_i, K)
        NaN where missing or hidden.
    target_masks : list of ndarray of bool, each of shape (n_times_i, K)
        True at hidden cells.
    truth : ndarray of float64, shape (n_hidden,)
        What they held.
    n_windows : int
        Windows that are sampled.
    """

    given: list[FloatArray]
    target_masks: list[BoolArray]
    truth: FloatArray
    n_windows: int

    def quantiles(
        self, model: FittedModel, plan: SamplingPlan, on_steps: Callable[[int], object]
    ) -> FloatArray:
        """What a model says of the hidden cells at `CRPS_LEVELS`, (n_levels, n_hidden)."""
        for module in model.modules:
            module.to(plan.device)
        stretches = sample_holes(model, self.given, plan, on_steps)
        return self._read(model, stretches, quantile_reader(CRPS_LEVELS))

    def head_quantiles(
        self, model: FittedModel, overlap: float, device: torch.device
    ) -> FloatArray:
        """The same from one evaluation of the model's marginal head."""
        assert model.marginals is not None
        model.marginals.to(device)
        stretches = head_quantiles(model, self.given, overlap, device)
        return self._read(model, stretches, head_reader(model.marginals.levels, CRPS_LEVELS))

    def _read(self, model: FittedModel, stretches: Iterable[Stretch], read: Read) -> FloatArray:
        """Read all hidden cells at once, and no other cell: reading takes longer than sampling."""
        bounds = [bound.numpy() for bound in model.clamp_range()]
        parts, limits = [], []
        for part in stretches:
            hidden = self.target_masks[part.series][part.start : part.stop]
            parts.append(at_cells(part, hidden))
            limits.append([np.broadcast_to(bound, hidden.shape)[hidden] for bound in bounds])
        low, high = (np.concatenate(limit) for limit in zip(*limits, strict=True))
        return np.asarray(read(joined(parts))).clip(low, high)

    def scores(self, quantiles: FloatArray) -> dict[str, float]:
        """`crps`, normalised, in scaled units, and `coverage_50` and `coverage_90`."""
        everywhere = np.ones(self.truth.shape, dtype=bool)
        crps = quantile_crps_from_quantiles(quantiles, CRPS_LEVELS, self.truth, everywhere)
        at = dict(zip(CRPS_LEVELS, quantiles, strict=True))
        half = (at[0.25] <= self.truth) & (self.truth <= at[0.75])
        most = (at[0.05] <= self.truth) & (self.truth <= at[0.95])
        shares = {"coverage_50": float(half.mean()), "coverage_90": float(most.mean())}
        return {"crps": crps, **shares}


def make_exam(model: FittedModel, panel: Panel, plan: ExamPlan) -> Exam:
    """Hide the cells that the imputer's `score` hides; of too many windows, draw some.

    Raises
    ------
    InputError
        If a number cannot be used, or no cell could be hidden.
    """
    if plan.max_windows is not None and plan.max_windows < 1:
        raise InputError(f"max_windows={plan.max_windows} cannot be used; expected 1 or more")
    rng = np.random.default_rng([plan.seed, 2])
    targets = [hide_points(seen, plan.hidden_fraction, rng) for seen in panel.observed_masks]
    truth = [model.scaler.transform(values) for values in panel.values]
    if not any(target.any() for target in targets):
        raise InputError(
            f"{panel.name}: hidden_fraction={plan.hidden_fraction} of the observed cells is not "
            f"one cell; pass more data or a larger share"
        )
    n_windows = len(hole_windows(model, _without(truth, targets), plan.overlap))
    if plan.max_windows is not None and n_windows > plan.max_windows:
        places = _some_places(targets, model.window_steps, plan.max_windows, rng)
        truth = [truth[i][rows] for i, rows in places]
        targets = [targets[i][rows] for i, rows in places]
        n_windows = len(places)
    hidden = np.concatenate([t[h] for t, h in zip(truth, targets, strict=True)])
    return Exam(_without(truth, targets), targets, hidden, n_windows)


def _some_places(
    targets: Sequence[BoolArray], window_steps: int, n: int, rng: np.random.Generator
) -> list[tuple[int, slice]]:
    """Series and rows of n windows side by side that hold hidden cells, or of all such."""
    places = [
        (i, slice(start, start + window_steps))
        for i, target in enumerate(targets)
        for start in range(0, len(target), window_steps)
        if target[start : start + window_steps].any()
    ]
    return [places[k] for k in sorted(rng.permutation(len(places))[:n])]


def _without(truth: Sequence[FloatArray], targets: Sequence[BoolArray]) -> list[FloatArray]:
    return [np.where(h, np.nan, t) for h, t in zip(targets, truth, strict=True)]
