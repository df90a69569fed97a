"""A fitted model whose network works at every width."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

from tsimpute.arguments import check_count, check_number
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.slimmable import check_slimmable
from tsimpute.denoiser.step_widths import StepWidths
from tsimpute.evaluation.calibrations import NO_CALIBRATIONS
from tsimpute.fitting.fit import (
    RANDOM_WIDTHS,
    Settings,
    data_plan,
    training_config,
)
from tsimpute.fitting.running import own_random_numbers, run_trainer
from tsimpute.fitting.training_data import TrainingData
from tsimpute.model import FittedModel, resolve_device
from tsimpute.training.config import TrainingConfig
from tsimpute.training.loop import Trainer
from tsimpute.training.setup import start_run


@dataclass(frozen=True)
class WidthTraining:
    """How widths are trained.

    Attributes
    ----------
    epochs : int, optional
        Passes over the training windows.
    time_budget_s : float, optional
        Seconds; whichever of the two ends first counts. Without both, as long as a fit.
    n_random : int
        Widths drawn in each iteration besides the narrowest and the whole one.
    learning_rate : float, optional
        Default: the imputer's own; narrow networks have much to learn.
    checkpoint : str or Path, optional
        File that holds the state of training.
    """

    epochs: int | None = None
    time_budget_s: float | None = None
    n_random: int = RANDOM_WIDTHS
    learning_rate: float | None = None
    checkpoint: str | Path | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None:
            check_count("epochs", self.epochs)
        check_count("n_random", self.n_random, least=0)
        for name in ("time_budget_s", "learning_rate"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)


def train_widths(
    imputer: Settings, old: FittedModel, data: TrainingData, how: WidthTraining
) -> tuple[FittedModel, Trainer]:
    """Train a copy of a fitted model's network on, at its kept steps, by the sandwich rule.

    Raises
    ------
    InputError
        If the network has no narrower width, a setting cannot be used, or no cell would be hidden.
    """
    check_slimmable(old.network.config)
    device, seed = resolve_device(imputer.device), data.seed
    series = old.scaled(data.panel)
    plan = replace(data_plan(imputer, old.side), window_steps=old.window_steps)
    config = _configured(training_config(imputer, series, plan), how, len(old.grid))
    with own_random_numbers(seed, device):
        network = copy.deepcopy(old.network).requires_grad_(True)
        run = (network, old.schedule, series, plan, config, device, seed, old.anchor)
        trainer = start_run(*run, data.pattern_values)
        trainer.search.learner.keep_prob = old.keep_prob.copy()
        trainer.fixed_grid = old.grid
        run_trainer(imputer, trainer, "train widths", how.checkpoint)
    widths = StepWidths.whole(len(old.grid))
    return replace(without_readings(old), network=_trained(trainer), widths=widths), trainer


def without_readings(model: FittedModel) -> FittedModel:
    """The model without what was learned from the outputs of its network as it was."""
    return replace(model, heads={}, noise_power=None, ggdm=None, calibrations=NO_CALIBRATIONS)


def _configured(config: TrainingConfig, how: WidthTraining, n_steps: int) -> TrainingConfig:
    own = how.epochs is None and how.time_budget_s is None
    return replace(
        config,
        kept_steps=n_steps,
        epochs=config.epochs if own else how.epochs,
        time_budget_s=config.time_budget_s if own else how.time_budget_s,
        learning_rate=config.learning_rate if how.learning_rate is None else how.learning_rate,
        random_widths=how.n_random,
    )


def _trained(trainer: Trainer) -> CSDIDenoiser:
    assert isinstance(trainer.network, CSDIDenoiser)
    return trainer.network
