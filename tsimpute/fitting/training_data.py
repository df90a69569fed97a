"""What a network and its heads learn from: data, and data whose holes are laid over them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from tsimpute.errors import InputError
from tsimpute.panel.cells import FloatArray
from tsimpute.panel.containers import read_panel
from tsimpute.panel.core import Panel
from tsimpute.panel.side import SideColumns


@dataclass(frozen=True)
class TrainingData:
    """Data to learn from.

    Attributes
    ----------
    panel : Panel
    seed : int
        Of all draws, and of the split into rows for training and for validation.
    patterns : Panel or None
        Data whose holes are laid over the panel; None: the panel itself.
    """

    panel: Panel
    seed: int
    patterns: Panel | None = None

    @property
    def pattern_values(self) -> Sequence[FloatArray] | None:
        """Series (n_times_i, K) of the patterns, NaN in their holes."""
        return None if self.patterns is None else self.patterns.values


def read_patterns(
    data: Any,
    names: Sequence[Hashable] | None,
    n_inputs: int,
    side: SideColumns | None,
    regular: bool,
) -> Panel | None:
    """The user's `patterns` with the features of a model in its order; None stays None.

    Exogenous columns are set apart; they may have holes here.

    Raises
    ------
    InputError
        If the data do not fit the model, or nothing was observed.
    """
    if data is None:
        return None
    panel = read_panel(data, name="patterns", regular=regular).aligned_to(names, n_inputs)
    panel = panel if side is None else panel.with_covariates(side.places)
    if not any(seen.any() for seen in panel.observed_masks):
        raise InputError(
            "patterns: got data without an observed value, expected holes between observed "
            "values; pass data as they are recorded, or leave patterns out"
        )
    return panel
