"""Calibrated intervals: learned on hidden cells, and a report of how true they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.assessment.exam import Exam, ExamPlan, make_exam, pattern_for
from tsimpute.assessment.hidden_answers import answered_quantiles, without_refused
from tsimpute.errors import InputError
from tsimpute.evaluation.conformal import GRID, Calibration, fit_factors
from tsimpute.fitting.fit import Settings, data_plan
from tsimpute.fitting.time_budget import NEVER, Deadline
from tsimpute.model import FittedModel
from tsimpute.panel.core import Panel
from tsimpute.panel.windows import runs
from tsimpute.sampling.answers import cell_quantiles
from tsimpute.sampling.choices import Choice, Fitted, uses_head, way_for
from tsimpute.training.setup import held_out_rows

FloatArray = NDArray[np.float64]

MOST_ROUNDS = 8  # in each of which other cells are hidden
MAX_WINDOWS = 256
MAX_WINDOWS_OF_HEAD = 1024


@dataclass(frozen=True)
class Hiding:
    """Which cells are hidden, and how much may be sampled for them.

    Attributes
    ----------
    seed : int
    pattern : str, optional
        One of :data:`tsimpute.panel.hiding.PATTERNS`; None: "last" with mode "forecast", else
        "mixed".
    fraction : float
        Share of the observed cells.
    max_windows : int
        About how many windows are sampled at most.
    """

    seed: int
    pattern: str | None = None
    fraction: float = 0.1
    max_windows: int = MAX_WINDOWS

    def exam(self, imputer: Fitted, panel: Panel, *stream: int) -> Exam:
        """The panel with cells hidden; other streams of random numbers hide other ones.

        Cells that the imputer would refuse to fill are not asked for.
        """
        size = self.fraction, self.max_windows
        pattern = pattern_for(imputer.mode, self.pattern, "mixed")
        plan = ExamPlan(self.seed, imputer.overlap, *size, pattern, stream, imputer.mode)
        return without_refused(imputer, make_exam(imputer.model_, panel, plan))


def windows_for(imputer: Fitted) -> int:
    """How many windows to calibrate on where nobody says: more where each is cheap."""
    return MAX_WINDOWS_OF_HEAD if uses_head(imputer, Choice()) else MAX_WINDOWS


def with_calibration(
    imputer: Fitted, panel: Panel, hiding: Hiding, deadline: Deadline = NEVER
) -> FittedModel:
    """The model with a calibration of the imputer's own way to make quantiles.

    Cells are hidden in several rounds, other ones each time, until enough windows were sampled.
    With a deadline rounds are as short as can be, and after the first none is begun that would end
    too late.
    """
    model = imputer.model_
    rounds = list(_rounds(imputer, panel, hiding, deadline))
    exams, raw = [exam for exam, _ in rounds], [found for _, found in rounds]
    factors, n_cells = fit_factors(
        np.concatenate(raw, axis=1),
        np.concatenate([exam.truth for exam in exams]),
        np.concatenate([exam.features for exam in exams]),
        np.concatenate([exam.group_of(exam.distances) for exam in exams]),
        np.concatenate([n * 2**40 + exam.gap_numbers for n, exam in enumerate(exams)]),
        (model.n_features, len(exams[0].first_rows)),
    )
    way = way_for(imputer, Choice())
    n_samples = 0 if way["method"] == "head" else imputer.n_samples
    calibration = Calibration(factors, n_cells, exams[0].first_rows, way, n_samples)
    return replace(model, calibrations=model.calibrations.updated(calibration))


def _rounds(
    imputer: Fitted, panel: Panel, hiding: Hiding, deadline: Deadline
) -> Iterator[tuple[Exam, FloatArray]]:
    """Exams, and quantiles (n_levels, n_hidden) of their hidden cells."""
    left = hiding.max_windows
    n_rounds, at_once = (left, 1) if deadline.is_set else (MOST_ROUNDS, left)
    for n in range(n_rounds):
        before_s = deadline.left_s
        try:
            exam = replace(hiding, max_windows=min(left, at_once)).exam(imputer, panel, 4, n)
        except InputError:  # of few cells, chance may hide none
            if n + 1 < n_rounds or left < hiding.max_windows:
                continue
            raise
        choice = Choice(random_state=(hiding.seed + n) % 2**32, calibrated=False)
        yield exam, cell_quantiles(imputer, exam.given, exam.target_masks, choice, GRID)
        left -= exam.n_windows
        if left < 1 or (deadline.is_set and 2 * deadline.left_s < before_s):
            return


def held_out_panel(imputer: Settings, panel: Panel, window_steps: int, seed: int) -> Panel:
    """The rows that training with this seed holds out for validation, each stretch as a series.

    Raises
    ------
    InputError
        If there are none, or nothing was observed there.
    """
    plan = replace(data_plan(imputer), window_steps=window_steps)
    held = held_out_rows(panel.values, plan, seed)
    places = [(i, run) for i, rows in enumerate(held) for run in runs(rows)]
    stretches = panel.stretches(places)
    if not any(seen.any() for seen in stretches.observed_masks):
        raise InputError(
            f"calibrate=True needs rows that training does not see, and "
            f"validation_fraction={imputer.validation_fraction} of these data leaves none that "
            f"were observed; raise validation_fraction, or fit with calibrate=False and call "
            f"fit_calibration(X) with other data"
        )
    return stretches


def report(
    imputer: Fitted, panel: Panel, hiding: Hiding, levels: Sequence[float], calibrated: bool
) -> pd.DataFrame:
    """Coverage and width of central intervals; see :meth:`EDDPMImputer.calibration_report`."""
    exam = hiding.exam(imputer, panel, 5)
    ends = [round((1 + sign * level) / 2, 12) for level in levels for sign in (-1, 1)]
    both = calibrated and len(imputer.model_.calibrations) > 0
    kinds = (False, True) if both else (False,)
    rows = []
    for is_calibrated, quantiles in zip(
        kinds, answered_quantiles(imputer, exam, ends, kinds), strict=True
    ):
        pairs = quantiles.reshape(len(levels), 2, -1)
        for by, group, cells in exam.groupings(panel.feature_labels):
            for level, (low, high) in zip(levels, pairs[..., cells], strict=True):
                names = {"by": by, "group": group, "level": level, "calibrated": is_calibrated}
                rows.append(names | _interval(low, high, exam.truth[cells]))
    table = pd.DataFrame(rows)
    table.attrs["n_refused"] = exam.n_refused
    return table


def _interval(low: FloatArray, high: FloatArray, truth: FloatArray) -> dict[str, float]:
    inside = (low <= truth) & (truth <= high)
    return {
        "coverage": float(inside.mean()),
        "width": float((high - low).mean()),
        "n": truth.size,
    }
