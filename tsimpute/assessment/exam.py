"""An exam for a fitted model: observed cells are hidden, sampled, and scored."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsimpute.arguments import check_count, is_number
from tsimpute.assessment.few_windows import ends, in_few_windows, parts
from tsimpute.errors import InputError
from tsimpute.evaluation.metrics import CRPS_LEVELS, quantile_crps_from_quantiles
from tsimpute.model import FittedModel
from tsimpute.panel.core import Panel
from tsimpute.panel.gaps import distance_to_observed, gap_lengths, gap_numbers
from tsimpute.panel.hiding import PATTERNS, hide_cells, stretches_to_random_ends
from tsimpute.panel.modes import filling_starts
from tsimpute.panel.side import NO_SIDE, SideShape
from tsimpute.sampling.answers import cell_quantiles
from tsimpute.sampling.choices import Choice, Fitted, way_for
from tsimpute.sampling.inference import SamplingPlan, head_quantiles, sample_holes
from tsimpute.sampling.methods import known_name
from tsimpute.sampling.placing import hole_windows, window_stride
from tsimpute.sampling.readout import head_reader, quantile_reader, read_cells

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_FIRST_ROWS = (1, 2, 4, 9)


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
        About how many windows are sampled at most; None: all.
    pattern : str, optional
        One of `PATTERNS`; None: as `pattern_for` has it, "point" where the mode has no own.
    stream : tuple of int
        Of random numbers: exams of other streams hide other cells.
    mode : {"offline", "online", "forecast"}
        What a hole is filled from.
    """

    seed: int
    overlap: float
    hidden_fraction: float = 0.1
    max_windows: int | None = None
    pattern: str | None = None
    stream: tuple[int, ...] = (2,)
    mode: str = "offline"


@dataclass(frozen=True)
class Exam:
    """Scaled series with some observed cells hidden.

    Attributes
    ----------
    given : list of ndarray of float64, each of shape (n_times_i, K + C)
        Features, NaN where missing or hidden, then the model's side columns.
    target_masks : list of ndarray of bool, each of shape (n_times_i, K)
        True at hidden cells that are asked for.
    given_panel : Panel
        The same in the user's units, NaN where missing or hidden.
    truth : ndarray of float64, shape (n_hidden,)
        What they held.
    n_windows : int
        Windows that are sampled.
    first_rows : ndarray of int64
        Where groups of distances and of gap lengths begin, in rows.
    side : SideShape
        What the last columns of `given` are.
    past_only : bool
        Only given cells before a hidden one count as near, and gaps up to it.
    n_refused : int
        Hidden cells that are not asked for, as the imputer would not fill them.
    """

    given: list[FloatArray]
    target_masks: list[BoolArray]
    given_panel: Panel
    truth: FloatArray
    n_windows: int
    first_rows: IntArray
    side: SideShape = NO_SIDE
    past_only: bool = False
    n_refused: int = 0

    @property
    def given_features(self) -> list[FloatArray]:
        """The features of `given`, each of shape (n_times_i, K)."""
        return [self.side.features(values) for values in self.given]

    def quantiles(
        self, model: FittedModel, plan: SamplingPlan, on_steps: Callable[[int], object]
    ) -> FloatArray:
        """What a model says of the hidden cells at `CRPS_LEVELS`, (n_levels, n_hidden)."""
        for module in model.modules:
            module.to(plan.device)
        wanted = self.target_masks
        stretches = sample_holes(model, self.given, plan, on_steps, wanted)
        found = read_cells(stretches, wanted, quantile_reader(CRPS_LEVELS))
        return self.within_range(model, found)

    def head_quantiles(self, model: FittedModel, plan: SamplingPlan) -> FloatArray:
        """The same from one evaluation of the model's marginal head."""
        assert model.marginals is not None
        model.marginals.to(plan.device)
        where = plan.overlap, plan.device, self.target_masks, plan.mode
        stretches = head_quantiles(model, self.given, *where)
        read = head_reader(model.marginals.levels, CRPS_LEVELS)
        return self.within_range(model, read_cells(stretches, self.target_masks, read))

    @cached_property
    def features(self) -> IntArray:
        """Feature of each hidden cell, (n_hidden,)."""
        return np.concatenate([np.nonzero(target)[1] for target in self.target_masks])

    @cached_property
    def distances(self) -> IntArray:
        """Rows from each hidden cell to the nearest one that is given, (n_hidden,)."""
        near = [distance_to_observed(seen, self.past_only) for seen in self._observed]
        return self.at_hidden(near)

    @cached_property
    def gaps(self) -> IntArray:
        """Rows of the gap that each hidden cell lies in, (n_hidden,)."""
        return self.at_hidden([gap_lengths(seen, self.past_only) for seen in self._observed])

    @cached_property
    def gap_numbers(self) -> IntArray:
        """The same number for hidden cells of one gap, another for each other gap, (n_hidden,)."""
        first, numbers = 0, []
        for observed in self._observed:
            numbers.append(first + gap_numbers(observed))
            first += (len(observed) + 1) * observed.shape[1]
        return self.at_hidden(numbers)

    @property
    def _observed(self) -> list[BoolArray]:
        return [~np.isnan(values) for values in self.given_features]

    def at_hidden(self, numbers: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Of arrays (n_times_i, K), one per series, what stands at hidden cells, (n_hidden,)."""
        return np.concatenate([n[t] for n, t in zip(numbers, self.target_masks, strict=True)])

    def group_of(self, n_rows: IntArray) -> IntArray:
        """Group of each distance or gap length."""
        return np.asarray(np.searchsorted(self.first_rows, n_rows, side="right") - 1)

    def groupings(
        self, names: Sequence[Hashable] | None
    ) -> Iterator[tuple[str, Hashable, BoolArray]]:
        """What is grouped by, name of the group, and which hidden cells are in it."""
        yield "all", "all", np.ones(self.truth.shape, dtype=bool)
        labels = [*map(_between, self.first_rows, [*self.first_rows[1:], None])]
        kinds: dict[str, tuple[IntArray, Sequence[Hashable]]] = {
            "feature": (self.features, names or range(self.target_masks[0].shape[1])),
            "distance": (self.group_of(self.distances), labels),
            "gap length": (self.group_of(self.gaps), labels),
        }
        for by, (groups, known) in kinds.items():
            for group in np.unique(groups):
                yield by, known[group], groups == group

    def within_range(self, model: FittedModel, quantiles: FloatArray) -> FloatArray:
        """Scaled numbers (n, n_hidden), within what a sample may take."""
        low, high = (bound.numpy()[self.features] for bound in model.clamp_range())
        return quantiles.clip(low, high)

    def scores(self, quantiles: FloatArray) -> dict[str, float]:
        """`crps`, normalised, in scaled units, and `coverage_50` and `coverage_90`."""
        everywhere = np.ones(self.truth.shape, dtype=bool)
        crps = quantile_crps_from_quantiles(quantiles, CRPS_LEVELS, self.truth, everywhere)
        at = dict(zip(CRPS_LEVELS, quantiles, strict=True))
        half = (at[0.25] <= self.truth) & (self.truth <= at[0.75])
        most = (at[0.05] <= self.truth) & (self.truth <= at[0.95])
        shares = {"coverage_50": float(half.mean()), "coverage_90": float(most.mean())}
        return {"crps": crps, **shares}


def pattern_for(mode: str, named: str | None, usual: str) -> str:
    """Which cells are hidden: the ends of series for forecasts, unless a pattern is named."""
    if named is not None:
        return named
    return "last" if mode == "forecast" else usual


def make_exam(model: FittedModel, panel: Panel, plan: ExamPlan) -> Exam:
    """Hide observed cells; of too many windows, draw some and hide cells there alone.

    Everything else of the series is shown, so that cells are imputed as they would be for the user.
    With the pattern "last" series are cut at random rows, and nothing after a cut is shown.

    Raises
    ------
    InputError
        If a number or the pattern cannot be used, or no cell could be hidden.
    """
    pattern = _checked_pattern(plan)
    rng = np.random.default_rng([plan.seed, *plan.stream])
    share, steps = plan.hidden_fraction, model.window_steps
    if pattern == "last":
        lengths = [len(values) for values in panel.values]
        panel = panel.stretches(stretches_to_random_ends(lengths, share, steps, rng))
    targets = hide_cells(panel.observed_masks, pattern, share, steps, rng)
    if not any(target.any() for target in targets):
        raise InputError(
            f"{panel.name}: hidden_fraction={share} of the observed cells is not one cell; pass "
            f"more data or a larger share"
        )
    if plan.max_windows is not None:
        n = plan.max_windows
        places = ends(targets) if pattern == "last" else parts(targets, steps, n)
        targets = in_few_windows(targets, places, _filled_by(model, plan), n, rng)
    return _exam_of(model, panel, plan, targets)


def _checked_pattern(plan: ExamPlan) -> str:
    """Pattern of a plan whose numbers can be used."""
    if not (is_number(plan.hidden_fraction) and 0 < plan.hidden_fraction < 1):
        raise InputError(
            f"hidden_fraction={plan.hidden_fraction!r} cannot be used; expected a share strictly "
            f"between 0 and 1"
        )
    if plan.max_windows is not None:
        check_count("max_windows", plan.max_windows)
    return known_name("pattern", pattern_for(plan.mode, plan.pattern, "point"), PATTERNS)


def _filled_by(model: FittedModel, plan: ExamPlan) -> Callable[[int], tuple[IntArray, IntArray]]:
    """From rows of a series, first row and end of what each of its windows fills."""
    steps = model.window_steps
    stride = window_stride(steps, plan.overlap)

    def rows(n_times: int) -> tuple[IntArray, IntArray]:
        starts = filling_starts(n_times, steps, stride, plan.mode)
        return (starts + steps - 1 if plan.mode == "online" else starts), starts + steps

    return rows


def _exam_of(
    model: FittedModel, panel: Panel, plan: ExamPlan, targets: Sequence[BoolArray]
) -> Exam:
    side = model.side_shape
    pairs = list(zip(model.scaled(panel), targets, strict=True))
    given = [side.hide(series, target) for series, target in pairs]
    cells = zip(panel.values, targets, strict=True)
    shown = [np.where(target, np.nan, values) for values, target in cells]
    return Exam(
        given=given,
        target_masks=list(targets),
        given_panel=replace(panel, values=tuple(shown)),
        truth=np.concatenate([side.features(series)[target] for series, target in pairs]),
        n_windows=len(hole_windows(model, given, plan.overlap, targets, plan.mode)),
        first_rows=_first_rows(model.window_steps),
        side=side,
        past_only=plan.mode == "online",
    )


def hidden_crps(imputer: Fitted, panel: Panel, hidden_fraction: float) -> float:
    """Normalised CRPS, in scaled units, of an imputer's own quantiles of hidden cells.

    They are calibrated where the model has a calibration of the imputer's present way to make them.
    """
    model = imputer.model_
    plan = ExamPlan(imputer.seed_, imputer.overlap, hidden_fraction, mode=imputer.mode)
    exam = make_exam(model, panel, plan)
    choice = Choice(calibrated=model.calibrations.find(way_for(imputer, Choice())) is not None)
    found = cell_quantiles(imputer, exam.given, exam.target_masks, choice, CRPS_LEVELS)
    return exam.scores(exam.within_range(model, found))["crps"]


def _first_rows(window_steps: int) -> IntArray:
    """Groups of distances and gap lengths; the last is that of a whole window and more."""
    return np.array([*(n for n in _FIRST_ROWS if n < window_steps), window_steps], dtype=np.int64)


def _between(first: int, following: int | None) -> str:
    if following is None:
        return f"{first} or more"
    return str(first) if following == first + 1 else f"{first} to {following - 1}"
