"""The last step of every answer, in the user's units: constraints, then refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tsimpute.model import FittedModel
from tsimpute.panel.constraint_rules import read_constraints
from tsimpute.panel.constraints import Constraints, check_obeyed
from tsimpute.panel.core import Panel
from tsimpute.panel.refusal import Refusal
from tsimpute.sampling.placing import window_stride

FloatArray = NDArray[np.float64]


class Rules(Protocol):
    """What is read of an imputer's parameters."""

    window_steps: int
    bounds: Any
    integers: Any
    order: Any
    max_gap: Any
    min_observed: Any
    overlap: float
    mode: str


class FittedRules(Rules, Protocol):
    """A fitted imputer's."""

    model_: FittedModel


@dataclass(frozen=True, eq=False)
class Finish:
    """What happens to the imputed values of one panel.

    Attributes
    ----------
    panel : Panel
    constraints : Constraints, optional
    reasons : list of ndarray of object, each of shape (n_times_i, K), optional
        Why each cell is refused, empty text where it is not; None if nothing can be.
    """

    panel: Panel
    constraints: Constraints | None
    reasons: list[NDArray[np.object_]] | None

    @property
    def fillable(self) -> list[NDArray[np.bool_]]:
        """True at missing cells that are not refused, one array (n_times_i, K) a series."""
        holes = [~seen for seen in self.panel.observed_masks]
        if self.reasons is None:
            return holes
        return [hole & (why == "") for hole, why in zip(holes, self.reasons, strict=True)]

    def apply(self, arrays: Sequence[FloatArray]) -> list[FloatArray]:
        """Arrays (n, n_times_i, K) in the user's units: obeying, and NaN where refused."""
        finished = list(arrays)
        if self.constraints is not None:
            observed = self.panel.observed_masks
            obey = self.constraints.apply
            finished = [obey(a, seen) for a, seen in zip(finished, observed, strict=True)]
        if self.reasons is not None:
            both = zip(finished, self.reasons, strict=True)
            finished = [np.where(reasons != "", np.nan, values) for values, reasons in both]
        return finished


def finish_for(imputer: FittedRules, panel: Panel, mode: str | None = None) -> Finish:
    """What a fitted imputer does to the answers for a panel; checks the parameters behind it.

    Parameters
    ----------
    mode : {"offline", "online", "forecast"}, optional
        Which windows fill a hole; default: the imputer's own.

    Raises
    ------
    InputError
        If a parameter cannot be used; the message names it.
    """
    model = imputer.model_
    constraints = _constraints(imputer, model.feature_labels, model.n_features)
    refusal = Refusal.read(imputer.max_gap, imputer.min_observed)
    refusal.check(panel, model.window_steps)
    if not refusal.refuses:
        return Finish(panel, constraints, None)
    stride = window_stride(model.window_steps, imputer.overlap)
    mode = imputer.mode if mode is None else mode
    return Finish(panel, constraints, refusal.reasons(panel, model.window_steps, stride, mode))


def check_rules(imputer: Rules, panel: Panel) -> None:
    """Check constraints and refusal before a model is trained on a panel.

    Raises
    ------
    InputError
        If a parameter cannot be used, or the panel breaks the bounds; the message names the
        parameter or the column.
    """
    constraints = _constraints(imputer, panel.feature_labels, panel.n_features)
    if constraints is not None:
        check_obeyed(panel, constraints)
    Refusal.read(imputer.max_gap, imputer.min_observed).check(panel, imputer.window_steps)


def _constraints(imputer: Rules, names: Any, n_features: int) -> Constraints | None:
    return read_constraints(imputer.bounds, imputer.integers, imputer.order, names, n_features)
