"""What the user would get at the hidden cells of an exam: rules kept, refused holes left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsimpute.assessment.exam import Exam
from tsimpute.errors import InputError
from tsimpute.model import FittedModel
from tsimpute.panel.constraints import Constraints
from tsimpute.sampling.answers import in_user_units, reader_for, wanted_cells
from tsimpute.sampling.choices import Choice, Fitted
from tsimpute.sampling.finishing import finish_for
from tsimpute.sampling.placing import hole_windows

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def without_refused(imputer: Fitted, exam: Exam) -> Exam:
    """The exam without hidden cells that `max_gap` or `min_observed` refuse; these stay hidden.

    Raises
    ------
    InputError
        If no hidden cell is left.
    """
    finish = finish_for(imputer, exam.given_panel)
    if finish.reasons is None:
        return exam
    pairs = list(zip(exam.target_masks, finish.fillable, strict=True))
    kept = np.concatenate([fillable[target] for target, fillable in pairs])
    if not kept.any():
        raise InputError(
            f"max_gap={imputer.max_gap!r} and min_observed={imputer.min_observed!r} refuse all "
            f"{len(kept)} hidden cells; hide others with pattern='point' or a smaller "
            f"hidden_fraction, or loosen these parameters"
        )
    targets = [target & fillable for target, fillable in pairs]
    places = hole_windows(imputer.model_, exam.given, imputer.overlap, targets, imputer.mode)
    return replace(
        exam,
        target_masks=targets,
        truth=exam.truth[kept],
        n_windows=len(places),
        n_refused=int((~kept).sum()),
    )


def answered_quantiles(
    imputer: Fitted, exam: Exam, levels: Sequence[float], calibrated: Sequence[bool]
) -> list[FloatArray]:
    """Quantiles that the user would get at hidden cells, in scaled units.

    Calibrated or not, within the model's range, and moved to where `bounds`, `integers` and
    `order` want them.

    Parameters
    ----------
    levels : sequence of float
    calibrated : sequence of bool
        What is asked for; the cells are sampled once.

    Returns
    -------
    list of ndarray of float64, each of shape (n_levels, n_hidden)

    Raises
    ------
    InputError
        If the model's calibration is wanted and is that of another way to make quantiles.
    """
    model, series = imputer.model_, exam.given_features
    choices = [Choice(calibrated=wanted) for wanted in calibrated]
    readers = [reader_for(imputer, choice, levels, series) for choice in choices]
    constraints = finish_for(imputer, exam.given_panel).constraints
    wanted = exam.target_masks if constraints is None else _holes_beside(exam)
    cells = wanted_cells(imputer, exam.given, wanted, Choice())
    found = [np.asarray(read(cells), dtype=np.float64) for read in readers]
    if constraints is None:
        return [exam.within_range(model, quantiles) for quantiles in found]
    return [_obeying(constraints, model, exam, quantiles) for quantiles in found]


def _holes_beside(exam: Exam) -> list[BoolArray]:
    """All holes of rows with a hidden cell, (n_times_i, K): an order is kept among them."""
    both = zip(exam.given_features, exam.target_masks, strict=True)
    return [np.isnan(values) & target.any(axis=1, keepdims=True) for values, target in both]


def _obeying(
    constraints: Constraints, model: FittedModel, exam: Exam, found: FloatArray
) -> FloatArray:
    """Hidden cells (n, n_hidden) of scaled holes (n, n_holes) that were moved to obey."""
    rows = [np.asarray(target.any(axis=1)) for target in exam.target_masks]
    given = _rows_of(exam.given_panel.values, rows)  # (n_rows, K)
    hole = np.isnan(given)
    scaled = np.zeros((len(found), *given.shape))
    scaled[:, hole] = found
    moved = constraints.apply(np.where(hole, in_user_units(model)(scaled), given), ~hole)
    hidden_mask: BoolArray = _rows_of(exam.target_masks, rows)
    return model.scaler.transform(moved)[:, hidden_mask]


def _rows_of(arrays: Sequence[NDArray[Any]], rows: Sequence[BoolArray]) -> NDArray[Any]:
    return np.concatenate([array[kept] for array, kept in zip(arrays, rows, strict=True)])
