"""Several callers' series in one batch of the network, each with its own noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tsimpute.model import FittedModel, resolve_device
from tsimpute.panel.checks import check_forecast_panel
from tsimpute.panel.core import Panel
from tsimpute.samplers.protocol import DrawNoise
from tsimpute.sampling.answers import in_user_units, on_device, reader_for
from tsimpute.sampling.choices import Choice, Fitted, mode_for, plan_for, seed_for, uses_head
from tsimpute.sampling.finishing import finish_for
from tsimpute.sampling.inference import (
    SamplingPlan,
    Stretch,
    block_noise,
    head_quantiles,
    sample_windows,
    stitched,
)
from tsimpute.sampling.placing import Place, hole_windows
from tsimpute.sampling.readout import lay_out
from tsimpute.settings import checked_quantiles

FloatArray = NDArray[np.float64]


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Question:
    """What one caller wants to know.

    Attributes
    ----------
    data : DataFrame, array, DataArray or Dataset
        Any series with the columns of the fitted model; NaN is missing.
    quantiles : sequence of float
        Levels in (0, 1), in any order.
    random_state : int, RandomState or None
        As in :meth:`EDDPMImputer.predict_quantiles`.
    wanted : callable
        Asked after every diffusion step. Once it says False the question is dropped: no
        further window of it is begun, and sampling stops if no other question needs it.
    """

    data: Any
    quantiles: Sequence[float]
    random_state: Any = None
    wanted: Callable[[], bool] = _always


class _Unwanted(Exception):
    """Nobody waits for any window of the chunk."""


def quantiles_together(
    imputer: Fitted,
    questions: Sequence[Question],
    *,
    n_samples: int | None = None,
    method: str | None = None,
    on_step: Callable[[], object] | None = None,
) -> list[list[Any] | None]:
    """Quantiles of every cell for several questions at once.

    Each question gets the numbers that :meth:`EDDPMImputer.predict_quantiles` gives it alone, up
    to the rounding of float32: noise belongs to a question's seed, series and rows, not to the
    batch.

    Parameters
    ----------
    imputer : EDDPMImputer
        Fitted.
    questions : sequence of Question
    n_samples : int, optional
        Samples behind the quantiles of all questions; default: the imputer's own.
    method : {"samples", "head"}, optional
        Default: the imputer's own.
    on_step : callable, optional
        Called after every diffusion step; may raise to stop everything.

    Returns
    -------
    list of (list of containers, or None)
        For each question one filled container a level, of the type of its data, observed cells
        bit for bit; None where the answer was no longer wanted.

    Raises
    ------
    InputError
        If data, levels, `n_samples` or the method cannot be used.
    """
    model = on_device(imputer)
    choice = Choice(n_samples, method=method)
    levels = [checked_quantiles(question.quantiles) for question in questions]
    panels = [_read(imputer, question.data) for question in questions]
    finishes = [finish_for(imputer, panel) for panel in panels]
    series = [scaled for panel in panels for scaled in model.scaled(panel)]
    fillable = [holes for finish in finishes for holes in finish.fillable]
    owners = [(j, i) for j, panel in enumerate(panels) for i in range(panel.n_series)]
    readers = [
        reader_for(imputer, choice, wanted, panel.values)
        for wanted, panel in zip(levels, panels, strict=True)
    ]
    if uses_head(imputer, choice):
        where = imputer.overlap, resolve_device(imputer.device), fillable, mode_for(imputer, choice)
        stretches = head_quantiles(model, series, *where)
    else:
        seeds = [seed_for(imputer, Choice(random_state=q.random_state)) for q in questions]
        plan = plan_for(imputer, choice)
        batch = _Batch(model, series, fillable, owners, seeds, questions, plan, on_step)
        stretches = batch.stretches()
    found: dict[int, list[FloatArray]] = {}
    unscale = in_user_units(model)
    for j, parts in groupby(stretches, lambda part: owners[part.series][0]):
        local = (replace(part, series=owners[part.series][1]) for part in parts)
        arrays = lay_out(panels[j].values, local, len(levels[j]), readers[j], unscale)
        found[j] = finishes[j].apply(arrays)
    return [
        _filled(panel, found.get(j), len(levels[j])) if questions[j].wanted() else None
        for j, panel in enumerate(panels)
    ]


def _read(imputer: Fitted, data: Any) -> Panel:
    panel = imputer.model_.read(data)
    if imputer.mode == "forecast":
        check_forecast_panel(panel, imputer.model_.window_steps)
    return panel


def _filled(panel: Panel, arrays: list[FloatArray] | None, n_levels: int) -> list[Any]:
    """One container a level; a panel without holes to fill is its own answer."""
    if arrays is None:
        return [panel.fill(panel.values) for _ in range(n_levels)]
    return [panel.fill([array[level] for array in arrays]) for level in range(n_levels)]


@dataclass(frozen=True)
class _Batch:
    """Scaled series of all questions, one after the other, and whose they are."""

    model: FittedModel
    series: Sequence[FloatArray]
    fillable: Sequence[NDArray[np.bool_]]  # holes that are not refused
    owners: Sequence[tuple[int, int]]  # (question, its series)
    seeds: Sequence[int]
    questions: Sequence[Question]
    plan: SamplingPlan
    on_step: Callable[[], object] | None

    def stretches(self) -> Iterator[Stretch]:
        """What was sampled, in order of questions, series and rows."""
        plan = self.plan
        places = hole_windows(self.model, self.series, plan.overlap, self.fillable, plan.mode)
        return stitched(self.model, self.series, places, plan, self._answers)

    def _answers(self, chunk: list[Place]) -> NDArray[np.float32]:
        """Samples of windows; zeros for those that nobody wants any more."""
        kept = [k for k, (i, _) in enumerate(chunk) if self._wanted(i)]
        n = self.plan.n_samples * (2 if self.plan.mixture else 1)
        shape = (len(chunk), n, self.model.window_steps, self.model.n_features)
        answers = np.zeros(shape, dtype=np.float32)
        if kept:
            with suppress(_Unwanted):
                answers[kept] = self._sampled([chunk[k] for k in kept])
        return answers

    def _wanted(self, series: int) -> bool:
        return self.questions[self.owners[series][0]].wanted()

    def _sampled(self, places: list[Place]) -> NDArray[np.float32]:
        def after_step(n_windows: int) -> None:
            if self.on_step is not None:
                self.on_step()
            if not any(self._wanted(i) for i, _ in places):
                raise _Unwanted

        draw = self._noise(places)
        return sample_windows(self.model, self.series, places, self.plan, draw, after_step)

    def _noise(self, places: list[Place]) -> DrawNoise:
        """Each question's own noise, joined."""
        sources = []
        for j, group in groupby(places, lambda place: self.owners[place[0]][0]):
            own = [(self.owners[i][1], start) for i, start in group]
            sources.append(block_noise(self.model, self.plan, own, self.seeds[j]))
        return lambda: torch.cat([draw() for draw in sources])
