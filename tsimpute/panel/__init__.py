"""The data side of tsimpute: containers, scaling, windows and gaps. No torch in here."""

from __future__ import annotations

from tsimpute.panel.checks import check_fit_panel
from tsimpute.panel.containers import read_panel
from tsimpute.panel.core import Layout, Panel, Source
from tsimpute.panel.missingness import hide_blocks, hide_features, hide_like, hide_points
from tsimpute.panel.scaling import FeatureScaler
from tsimpute.panel.windows import (
    blend_weights,
    cut,
    stitch,
    training_starts,
    validation_rows,
    window_starts,
)

__all__ = [
    "FeatureScaler",
    "Layout",
    "Panel",
    "Source",
    "blend_weights",
    "check_fit_panel",
    "cut",
    "hide_blocks",
    "hide_features",
    "hide_like",
    "hide_points",
    "read_panel",
    "stitch",
    "training_starts",
    "validation_rows",
    "window_starts",
]
