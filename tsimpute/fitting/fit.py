"""From a panel to a training run, and from the run to a fitted model."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tsimpute.arguments import check_count
from tsimpute.denoiser.anchor import AnchorPlan
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser, n_parameters
from tsimpute.denoiser.step_widths import StepWidths
from tsimpute.diffusion.schedule import NoiseSchedule, make_schedule
from tsimpute.errors import InputError
from tsimpute.fitting.data_sets import DataSet
from tsimpute.fitting.running import own_random_numbers, run_trainer, say
from tsimpute.fitting.time_budget import training_seconds
from tsimpute.fitting.training_data import TrainingData
from tsimpute.fitting.trunk import PretrainedTrunk
from tsimpute.model import FittedModel, resolve_device
from tsimpute.panel.core import Panel
from tsimpute.panel.scaling import FeatureScaler
from tsimpute.panel.side import NO_SIDE, SideColumns, SideShape, scaled_series
from tsimpute.panel.time_step import TimeStep
from tsimpute.panel.transforms import read_kinds
from tsimpute.training.config import TrainingConfig
from tsimpute.training.loop import Trainer
from tsimpute.training.setup import DataPlan, all_rows, default_epochs, start_run

FloatArray = NDArray[np.float64]

# Share of the signal's variance at the noisiest kept step from which a start at N(0, I) is warned
# of.
MUCH_SIGNAL = 0.5


# Of the learning rate of a fit: a trained network is not to be shaken up again.
FINE_TUNING_RATE = 0.1
SCRATCH_RATE = 3e-3  # where no learning rate is given; of a network that knows nothing yet
TRAINED_RATE = 1e-3  # of one that was trained before, and of pre-training
RANDOM_WIDTHS = 2  # in each iteration, besides the narrowest and the whole one


class Settings(Protocol):
    """What fitting reads of an imputer: its parameters."""

    window_steps: int
    kept_steps: int
    epochs: int | None
    time_budget_s: float | None
    variance: str
    calibrate: bool
    diffusion_steps: int
    schedule: str
    beta_start: float
    beta_end: float
    conditioning: str
    mask_rule: str
    target_strategy: str
    mode: str
    anchor: str
    period: int | str | None
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
    scaling: Any
    mixed_precision: bool
    slimmable: bool
    device: str
    verbose: int


@dataclass(frozen=True)
class Pruning:
    """How a fitted model is brought to fewer steps; see :meth:`EDDPMImputer.prune`."""

    kept_steps: int
    epochs: int = 1
    mask_rule: str | None = None
    steps: Sequence[int] | None = None


def train_from_scratch(
    imputer: Settings,
    data: TrainingData,
    side: SideColumns | None,
    checkpoint: str | Path | None,
    trunk: PretrainedTrunk | None = None,
) -> tuple[FittedModel, Trainer]:
    """Fit a network, and the kept steps with it, by the imputer's parameters.

    It is a new one, which starts from the pre-trained weights where there are any.
    """
    device, panel, seed = resolve_device(imputer.device), data.panel, data.seed
    kinds = read_kinds(imputer.scaling, panel.feature_labels, panel.n_features)
    scaler = FeatureScaler.fit(panel.values, kinds=kinds)
    series = scaled_series(panel, scaler, side)
    planned = anchor_plan(imputer, DataSet(panel, side).time_step)
    with own_random_numbers(seed, device):
        plan = data_plan(imputer, side)
        network = CSDIDenoiser(network_shape(imputer, panel.n_features, plan.side))
        if trunk is not None:
            trunk.start(network, panel.feature_names)
        config = training_config(imputer, series, plan)
        if trunk is None:
            config = _from_scratch(imputer, config)
        trainer = start_run(
            network,
            noise_schedule(imputer),
            series,
            plan,
            config,
            device,
            seed,
            planned,
            data.pattern_values,
        )
        _announce(imputer, trainer, panel)
        run_trainer(imputer, trainer, "fit", checkpoint)
    return _fitted(trainer, scaler, panel, side, imputer.window_steps), trainer


def fine_tune(
    imputer: Settings, old: FittedModel, data: TrainingData, how: Pruning
) -> tuple[FittedModel, Trainer]:
    """Train a copy of a fitted model's network on, down to fewer steps."""
    check_count("kept_steps", how.kept_steps)
    check_count("epochs", how.epochs)
    kept_steps = len(set(how.steps)) if how.steps is not None else how.kept_steps
    if not 1 <= kept_steps <= len(old.grid):
        raise InputError(
            f"kept_steps={kept_steps} cannot be used; expected 1 to {len(old.grid)}, the steps "
            f"that the model has"
        )
    device, seed = resolve_device(imputer.device), data.seed
    series = old.scaled(data.panel)
    rule = imputer.mask_rule if how.mask_rule is None else how.mask_rule
    plan = replace(data_plan(imputer, old.side), window_steps=old.window_steps)
    config = _fine_tuning(training_config(imputer, series, plan), kept_steps, how.epochs, rule)
    config = replace(config, random_widths=None if old.widths is None else RANDOM_WIDTHS)
    with own_random_numbers(seed, device):
        network = copy.deepcopy(old.network)
        run = (network, old.schedule, series, plan, config, device, seed, old.anchor)
        trainer = start_run(*run, data.pattern_values)
        if len(old.grid) < old.schedule.n_steps:
            trainer.search.learner.keep_prob = np.zeros(old.schedule.n_steps)
            trainer.search.learner.keep_prob[old.grid.index] = 1.0
        if how.steps is not None:
            trainer.fixed_grid = old.schedule.respaced(list(how.steps))
        run_trainer(imputer, trainer, f"prune to {kept_steps}", None)
    model = _fitted(trainer, old.scaler, data.panel, old.side, old.window_steps)
    # These two know nothing of steps; variance heads, and all else, belong to the old network.
    kept = replace(model, marginals=old.marginals, spectrum=old.spectrum)
    return replace(kept, feature_names=old.feature_names, time_step=old.time_step), trainer


def anchor_plan(imputer: Settings, step: TimeStep) -> AnchorPlan:
    """The anchor that an imputer's parameters ask for on data of such a step.

    Raises
    ------
    InputError
        If a season is named that is as long as a window.
    """
    period, window = imputer.period, imputer.window_steps
    if isinstance(period, str):  # "auto"
        known = step.season is not None and step.season < window
        period = step.season if known and imputer.anchor != "none" else None
    if period is not None and period >= window:
        raise InputError(
            f"period={period} leaves no second season in window_steps={window}; expected at most "
            f"{window - 1}, best half of it; set window_steps={2 * period}, or period=None"
        )
    return AnchorPlan(imputer.anchor, period)


def data_plan(imputer: Settings, side: SideColumns | None = None) -> DataPlan:
    """How an imputer's parameters cut the data."""
    stride = imputer.train_stride or max(1, imputer.window_steps // 2)
    shape = NO_SIDE if side is None else side.shape
    return DataPlan(imputer.window_steps, stride, imputer.validation_fraction, shape)


def training_strategy(imputer: Settings) -> str:
    """Which cells training hides: "random" is made to suit the imputer's mode."""
    if imputer.target_strategy != "random":
        return imputer.target_strategy
    return {"online": "last", "forecast": "forecast"}.get(imputer.mode, "random")


def noise_schedule(imputer: Settings) -> NoiseSchedule:
    """The full chain of an imputer's parameters."""
    return make_schedule(
        imputer.schedule,
        imputer.diffusion_steps,
        imputer.beta_start,
        imputer.beta_end,
        imputer.conditioning,
    )


def network_shape(imputer: Settings, n_features: int, side: SideShape) -> DenoiserConfig:
    """Shape of the network of an imputer's parameters."""
    return DenoiserConfig(
        n_features=n_features,
        n_covariates=side.n_covariates,
        channels=imputer.channels,
        layers=imputer.layers,
        heads=imputer.heads,
        dropout=imputer.dropout,
        attention_dropout=imputer.attention_dropout,
    )


def training_config(
    imputer: Settings, series: Sequence[FloatArray], plan: DataPlan
) -> TrainingConfig:
    """What an imputer's parameters say of a run."""
    epochs = imputer.epochs
    if epochs is None and imputer.time_budget_s is None:
        n_windows = len(all_rows(series, plan).places(None))
        epochs = default_epochs(n_windows, imputer.batch_size)
    return TrainingConfig(
        kept_steps=imputer.kept_steps,
        epochs=epochs,
        time_budget_s=training_seconds(imputer),
        batch_size=imputer.batch_size,
        learning_rate=trained_rate(imputer),
        target_strategy=training_strategy(imputer),
        mask_rule=imputer.mask_rule,
        ema_decay=imputer.ema_decay,
        patience=imputer.patience,
        mixed_precision=imputer.mixed_precision,
        random_widths=RANDOM_WIDTHS if imputer.slimmable else None,
        **_PHASES.get(imputer.mask_rule, {}),  # an unknown rule is refused by the config
    )


# The printed rule learns the mask to the end; the guarded one leaves the network a rest of the
# run on the steps that were chosen.
_PHASES: dict[str, dict[str, float]] = {
    "paper": {"search_start": 0.1, "search_end": 1.0},
    "guarded": {"search_start": 0.2, "search_end": 0.6},
}


def trained_rate(imputer: Settings) -> float:
    """Learning rate for a network that was trained before, and for pre-training."""
    return TRAINED_RATE if imputer.learning_rate is None else imputer.learning_rate


def _from_scratch(imputer: Settings, config: TrainingConfig) -> TrainingConfig:
    rate = SCRATCH_RATE if imputer.learning_rate is None else imputer.learning_rate
    return replace(config, learning_rate=rate, warmup=imputer.warmup)


def _fine_tuning(config: TrainingConfig, kept_steps: int, epochs: int, rule: str) -> TrainingConfig:
    start, end = (0.0, 1.0) if rule == "paper" else (0.15, 0.4)
    return replace(
        config,
        learning_rate=config.learning_rate * FINE_TUNING_RATE,
        kept_steps=kept_steps,
        epochs=epochs,
        time_budget_s=None,
        mask_rule=rule,
        search_start=start,
        search_end=end,
    )


def _fitted(
    trainer: Trainer,
    scaler: FeatureScaler,
    panel: Panel,
    side: SideColumns | None,
    window_steps: int,
) -> FittedModel:
    assert trainer.fixed_grid is not None and isinstance(trainer.network, CSDIDenoiser)
    grid = trainer.fixed_grid
    if grid.alpha_bar[-1] > MUCH_SIGNAL:
        warnings.warn(
            f"the noisiest kept step still holds {grid.alpha_bar[-1]:.0%} of the signal's "
            f"variance, but sampling starts from pure noise; keep more steps or train "
            f"longer",
            stacklevel=5,
        )
    return FittedModel(
        network=trainer.network,
        schedule=trainer.search.schedule,
        grid=grid,
        keep_prob=trainer.search.learner.keep_prob,
        scaler=scaler,
        anchor=trainer.anchor.to(torch.device("cpu")),
        feature_names=panel.feature_names,
        window_steps=window_steps,
        widths=None if trainer.config.random_widths is None else StepWidths.whole(len(grid)),
        side=side,
        time_step=TimeStep.of(panel) if side is None or side.clock is None else None,
    )


def _announce(imputer: Settings, trainer: Trainer, panel: Panel) -> None:
    config = trainer.config
    length = (
        f"{config.epochs} epochs of {trainer.batches_per_epoch} iterations"
        if config.epochs is not None
        else f"{config.time_budget_s:.3g} s"
    )
    season = trainer.anchor.season
    lines = "" if season is None else f" with a season of {season.period} rows"
    say(
        imputer,
        f"tsimpute: {panel.n_series} series, {panel.n_features} features, "
        f"{panel.n_cells} cells; windows of {imputer.window_steps} steps{lines}; "
        f"{n_parameters(trainer.network)} parameters; {length} on {trainer.device}; "
        f"{config.kept_steps} of {imputer.diffusion_steps} diffusion steps will remain",
    )
