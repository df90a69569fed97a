"""What all parts of the estimator share: parameters, the fitted model, reading the user's data."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from tsimpute.fitting.time_budget import NEVER, OVER, Deadline
from tsimpute.panel.checks import check_forecast_panel
from tsimpute.panel.core import Panel
from tsimpute.settings import LEARNED_VARIANCES

if TYPE_CHECKING:
    import pandas as pd

    from tsimpute.fitting.training_data import TrainingData
    from tsimpute.model import FittedModel
    from tsimpute.sampling.streams import Past
    from tsimpute.training.loop import Trainer

FloatArray = NDArray[np.float64]

VARIANCE_BATCHES = 100


class FittedImputer(BaseEstimator):  # type: ignore[misc]
    """Base of `EDDPMImputer` and of its parts."""

    window_steps: int
    kept_steps: int
    n_samples: int
    epochs: int | None
    time_budget_s: float | None
    diffusion_steps: int
    schedule: str
    beta_start: float
    beta_end: float
    conditioning: str
    mask_rule: str
    target_strategy: str
    anchor: str
    period: int | str | None
    exogenous: Sequence[Hashable] | None
    calendar: Sequence[str] | None
    time: str
    channels: int
    layers: int
    heads: int
    dropout: float
    attention_dropout: float
    batch_size: int
    learning_rate: float | None
    warmup: float
    ema_decay: float
    validation_fraction: float
    patience: int | None
    train_stride: int | None
    overlap: float
    scaling: Any
    bounds: Any
    integers: Any
    order: Any
    max_gap: Any
    min_observed: float | None
    sampler: str
    variance: str
    antithetic: bool
    start: str
    method: str
    calibrate: bool
    mode: str
    mixed_precision: bool
    slimmable: bool
    device: str
    random_state: Any
    verbose: int

    model_: FittedModel
    seed_: int
    history_: pd.DataFrame
    keep_prob_history_: FloatArray
    n_features_in_: int
    stream_: dict[Hashable, Past]
    width_search_: pd.DataFrame

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def _read(self, X: Any, stacklevel: int = 4) -> Panel:
        check_is_fitted(self)
        panel = self.model_.read(X)
        # Both point at who called the public method.
        self.model_.warn_of_fill_values(panel, stacklevel + 1)
        self.model_.warn_of_other_step(panel, stacklevel)
        if self.mode == "forecast":
            check_forecast_panel(panel, self.model_.window_steps)
        return panel

    def _seed(self, random_state: Any) -> int:
        """Seed of a call; that of the fit where there is no random state."""
        from tsimpute.sampling.choices import Choice, seed_for

        return seed_for(self, Choice(random_state=random_state))

    def _read_training(self, X: Any, patterns: Any = None) -> TrainingData:
        from tsimpute.fitting.training_data import TrainingData, read_patterns

        panel, model = self._read(X, stacklevel=5), self.model_
        own = (model.input_names, model.n_inputs, model.side, model.regular)
        return TrainingData(panel, self.seed_, read_patterns(patterns, *own))

    def _fit_own_variance(self, data: TrainingData, deadline: Deadline = NEVER) -> Self:
        from tsimpute.fitting.heads import with_variance

        if self.variance in LEARNED_VARIANCES:
            how = (self.variance, VARIANCE_BATCHES, deadline)
            self.model_ = with_variance(self, self.model_, data, *how)
        return self

    def _finish_fit(
        self, data: TrainingData, held_out: Panel | None = None, deadline: Deadline = NEVER
    ) -> Self:
        """What comes after training; Ctrl-C shortens the first part and leaves out the second."""
        from tsimpute.fitting.running import say

        if not self._stopped_while_learning_variance(data, deadline):
            with suppress(KeyboardInterrupt):
                return self._calibrate_own(held_out, deadline)
        lost = "" if held_out is None else "; the intervals are not calibrated"
        say(self, f"stopped by the user; what was learned until then is kept{lost}")
        return self

    def _stopped_while_learning_variance(self, data: TrainingData, deadline: Deadline) -> bool:
        """Learn the variance, after Ctrl-C from the batches that were seen until then."""
        from tsimpute.fitting.running import ctrl_c_noted

        try:
            with ctrl_c_noted() as pressed:
                self._fit_own_variance(data, replace(deadline, called_off=pressed))
                return pressed()
        except KeyboardInterrupt:  # in a thread it can come as an exception: one batch then
            self._fit_own_variance(data, OVER)
            return True

    def _held_out(self, panel: Panel, window_steps: int, seed: int) -> Panel | None:
        """What the imputer will be calibrated on, before it is trained."""
        from tsimpute.assessment.calibration import held_out_panel

        return held_out_panel(self, panel, window_steps, seed) if self.calibrate else None

    def _warn_if_calibration_is_lost(
        self, old: FittedModel, held_out: Panel | None, stacklevel: int
    ) -> None:
        """Warn whoever called the public method, unless the new model is calibrated too."""
        if held_out is None and len(old.calibrations):
            warnings.warn(
                "quantiles are no longer calibrated: their calibration was that of the network's "
                "steps and widths before; call fit_calibration(X)",
                stacklevel=stacklevel,
            )

    def _calibrate_own(self, held_out: Panel | None, deadline: Deadline = NEVER) -> Self:
        from tsimpute.assessment.calibration import Hiding, windows_for, with_calibration

        if held_out is not None:
            hiding = Hiding(self.seed_, max_windows=windows_for(self))
            self.model_ = with_calibration(self, held_out, hiding, deadline)
        return self

    def _adopt_trained(self, model: FittedModel, seed: int, trainer: Trainer) -> Self:
        from tsimpute.training.history import history_frame

        history = np.array(trainer.keep_prob_history).reshape(-1, len(model.keep_prob))
        return self._adopt(model, seed, history_frame(trainer.records), history)

    def _adopt(
        self,
        model: FittedModel,
        seed: int,
        history: pd.DataFrame | None = None,
        keep_prob_history: FloatArray | None = None,
    ) -> Self:
        from tsimpute.training.history import history_frame

        self.model_ = model
        self.seed_ = seed
        self.stream_ = {}
        self.history_ = history_frame([]) if history is None else history
        if keep_prob_history is None:
            keep_prob_history = model.keep_prob[None]
        self.keep_prob_history_ = keep_prob_history
        self.n_features_in_ = model.n_inputs
        names = model.input_names
        if names is not None and all(isinstance(name, str) for name in names):
            self.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        if hasattr(self, "width_search_"):  # of another network
            del self.width_search_
        return self
