"""From data sets to a pre-trained network (MaskDM, Lei et al. 2023)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tsimpute.denoiser.anchor import AnchorPlan
from tsimpute.denoiser.csdi import CSDIDenoiser, n_parameters
from tsimpute.fitting.data_sets import DataSet
from tsimpute.fitting.fit import (
    Settings,
    anchor_plan,
    data_plan,
    network_shape,
    noise_schedule,
    trained_rate,
    training_strategy,
)
from tsimpute.fitting.running import own_random_numbers, run_to_end, say
from tsimpute.fitting.trunk import CARRIED, PretrainedTrunk, feature_numbers
from tsimpute.model import resolve_device
from tsimpute.panel.core import Panel
from tsimpute.panel.side import SideColumns
from tsimpute.panel.time_step import TimeStep
from tsimpute.training.batches import WindowSource
from tsimpute.training.cell_masks import Masking
from tsimpute.training.config import TrainingConfig
from tsimpute.training.hidden_share import checked_hidden_share
from tsimpute.training.history import PretrainingRecord, history_frame
from tsimpute.training.pretraining import (
    WEIGHT_DECAY,
    Pretrainer,
    PretrainingSet,
    fit_sparse_anchor,
)
from tsimpute.training.pretraining_checkpoint import restore_pretraining, save_pretraining
from tsimpute.training.setup import all_rows, default_epochs

DEFAULT_ITERATIONS = 2_000  # when neither epochs nor a time budget is given
OTHER_CLOCK = 0.1  # of the usual step: from here on a fit by another clock is warned of


@dataclass(frozen=True)
class Pretraining:
    """How long and on what the network is pre-trained.

    Attributes
    ----------
    masking : Masking
        Which cells are hidden from it.
    epochs : int, optional
        Passes over the windows of all data sets.
    time_budget_s : float, optional
        Seconds; whichever of the two ends first counts. Without both about 2,000 iterations.
    checkpoint : str or Path, optional
        File that holds the state of the run.
    """

    masking: Masking
    epochs: int | None = None
    time_budget_s: float | None = None
    checkpoint: str | Path | None = None


def pretrain(
    imputer: Settings, sets: Sequence[DataSet], how: Pretraining, seed: int
) -> PretrainedTrunk:
    """Train a new network on the visible cells of all data sets, by the imputer's parameters."""
    device = resolve_device(imputer.device)
    labels = [each.panel.feature_names or each.panel.n_features for each in sets]
    names, numbers = feature_numbers(labels)
    named = {
        each.panel.name: all_rows(each.scaled(imputer.scaling), data_plan(imputer, each.side))
        for each in sets
    }
    step = next((s.time_step for s in sets if s.time_step.is_known), sets[0].time_step)
    plan = anchor_plan(imputer, step)
    hidden_share, sources = checked_hidden_share(named, how.masking, seed), [*named.values()]
    with own_random_numbers(seed, device):
        shape = network_shape(imputer, len(names), sources[0].side)
        run = Pretrainer(
            network=CSDIDenoiser(shape).to(device),
            sets=_prepared(imputer, plan, sources, numbers, how.masking, device, seed),
            grid=noise_schedule(imputer).full(),
            config=_config(imputer, how, sources),
            masking=how.masking,
            device=device,
            rng=np.random.default_rng([seed, 1]),
            generator=torch.Generator().manual_seed(seed),
        )
        _announce(imputer, run, hidden_share)
        files = (restore_pretraining, save_pretraining)
        run_to_end(imputer, run, "pre-train", how.checkpoint, files)
    return PretrainedTrunk(
        config=shape,
        weights={name: w.detach().cpu() for name, w in run.network.state_dict().items()},
        feature_names=names,
        time_step=step,
        parameters={name: getattr(imputer, name) for name in CARRIED},
        history=history_frame(run.records, PretrainingRecord),
    )


def _prepared(
    imputer: Settings,
    plan: AnchorPlan,
    sources: Sequence[WindowSource],
    numbers: Sequence[Tensor],
    masking: Masking,
    device: torch.device,
    seed: int,
) -> list[PretrainingSet]:
    strategy = training_strategy(imputer)
    anchors = [fit_sparse_anchor(plan, source, masking, strategy, seed) for source in sources]
    return [
        PretrainingSet(source, number.to(device), anchor.to(device))
        for source, number, anchor in zip(sources, numbers, anchors, strict=True)
    ]


def _config(imputer: Settings, how: Pretraining, sources: Sequence[WindowSource]) -> TrainingConfig:
    epochs = how.epochs
    if epochs is None and how.time_budget_s is None:
        n_windows = sum(len(source.places(None)) for source in sources)
        epochs = default_epochs(n_windows, imputer.batch_size, DEFAULT_ITERATIONS)
    return TrainingConfig(
        kept_steps=imputer.diffusion_steps,
        epochs=epochs,
        time_budget_s=how.time_budget_s,
        batch_size=imputer.batch_size,
        learning_rate=trained_rate(imputer),
        weight_decay=WEIGHT_DECAY,
        target_strategy=training_strategy(imputer),
        ema_decay=imputer.ema_decay,
        mixed_precision=imputer.mixed_precision,
    )


def _announce(imputer: Settings, run: Pretrainer, hidden_share: float) -> None:
    config, n_sets = run.config, len(run.sets)
    n_batches = sum(data.source.n_batches(config.batch_size) for data in run.sets)
    length = (
        f"{config.epochs} epochs of {n_batches} iterations"
        if config.epochs is not None
        else f"{config.time_budget_s:g} s"
    )
    say(
        imputer,
        f"tsimpute: pre-training on {n_sets} data set{'s' if n_sets > 1 else ''} of "
        f"{run.network.config.n_features} features in all; {hidden_share:.0%} hidden by "
        f"{run.masking.kind}; {n_parameters(run.network)} parameters; {length} on {run.device}",
    )


def check_start(
    imputer: Settings, trunk: PretrainedTrunk, panel: Panel, side: SideColumns | None
) -> None:
    """Refuse a fit that cannot start from a pre-trained network; warn of another time step.

    Raises
    ------
    InputError
        Naming the parameters that differ.
    """
    trunk.check(imputer, 0 if side is None else side.shape.n_covariates)
    clock = None if side is None else side.clock
    step = TimeStep.of(panel, clock)
    if not step.agrees_with(trunk.time_step, OTHER_CLOCK if clock else TimeStep.ROUNDING):
        warnings.warn(
            f"the network was pre-trained on data with {trunk.time_step}, but {panel.name} has "
            f"{step}: what it learned of how series move may not hold; resample one to the other",
            stacklevel=3,
        )
