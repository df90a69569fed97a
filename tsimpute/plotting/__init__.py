"""Pictures of imputations, schedules, training and quality (extra ``plot``: matplotlib).

No function touches pyplot or any global state: each makes a figure of its own, or draws on the
``ax`` that it is given, writes the picture to ``path`` if that is given, and returns the ``Axes``.
The colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

from tsimpute.plotting.curves import plot_loss_curves, plot_quality
from tsimpute.plotting.exploration import plot_speed_quality, plot_step_importance
from tsimpute.plotting.imputation import plot_imputation
from tsimpute.plotting.missingness import plot_missingness
from tsimpute.plotting.reliability import plot_reliability
from tsimpute.plotting.series import plot_series
from tsimpute.plotting.steps import plot_keep_prob_history, plot_step_schedule
from tsimpute.plotting.widths import plot_step_widths

__all__ = [
    "plot_imputation",
    "plot_keep_prob_history",
    "plot_loss_curves",
    "plot_missingness",
    "plot_quality",
    "plot_reliability",
    "plot_series",
    "plot_speed_quality",
    "plot_step_importance",
    "plot_step_schedule",
    "plot_step_widths",
]
