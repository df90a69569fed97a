"""How training data are cut, and a run that has not begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from tsimpute.denoiser.anchor import Anchor, AnchorPlan
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.diffusion.schedule import NoiseSchedule
from tsimpute.errors import InputError
from tsimpute.panel.side import NO_SIDE, SideShape
from tsimpute.panel.windows import validation_rows
from tsimpute.training.batches import Windows, WindowSource
from tsimpute.training.config import TrainingConfig
from tsimpute.training.hiding import BY_PATTERNS, check_hides
from tsimpute.training.loop import Trainer
from tsimpute.training.search import make_search
from tsimpute.training.targets import draw_targets
from tsimpute.training.validation import Validator

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

DEFAULT_ITERATIONS = 1_300  # of training, when neither epochs nor a time budget is given
MANY_SERIES = 10  # from here on whole series are held out for validation
MAX_VALIDATION_WINDOWS = 128
MAX_ANCHOR_WINDOWS = 512
LEAST_UNSEEN_WINDOWS = 8  # fewer, which overlap, would be learned by heart


@dataclass(frozen=True)
class DataPlan:
    """How the training data are cut.

    Attributes
    ----------
    window_steps : int
    stride : int
        Rows between two training windows of one epoch.
    validation_fraction : float
        Share of the series, or of the rows of few long ones, that is held out; 0 validates on
        the training windows with other targets.
    side : SideShape
        Last columns of the series that are no features.
    """

    window_steps: int
    stride: int
    validation_fraction: float
    side: SideShape = NO_SIDE


def split_rows(
    series: Sequence[FloatArray], plan: DataPlan, rng: np.random.Generator
) -> list[BoolArray]:
    """For each series, which rows are held out for validation."""
    if plan.validation_fraction == 0:
        return [np.zeros(len(s), dtype=bool) for s in series]
    if len(series) >= MANY_SERIES:
        n_held = max(1, round(plan.validation_fraction * len(series)))
        held = set(rng.permutation(len(series))[:n_held].tolist())
        return [np.full(len(s), i in held) for i, s in enumerate(series)]
    return [
        validation_rows(len(s), plan.window_steps, plan.validation_fraction, rng) for s in series
    ]


def make_sources(
    series: Sequence[FloatArray], plan: DataPlan, rng: np.random.Generator
) -> tuple[WindowSource, Windows]:
    """Training windows and validation windows, from disjoint rows where the data allow it.

    Raises
    ------
    InputError
        If the rows that were held out hold no observed value.
    """
    held_out = split_rows(series, plan, rng)
    training = source_of(series, [~rows for rows in held_out], plan)
    any_held = any(rows.any() for rows in held_out)
    usable = held_out if any_held else [np.ones(len(s), dtype=bool) for s in series]
    if any_held and not training.places(None):
        training = all_rows(series, plan)
    held = source_of(series, usable, replace(plan, stride=1))
    places = held.places(None)
    if not places:
        raise InputError(
            f"the rows held out for validation hold no observed value "
            f"(validation_fraction={plan.validation_fraction}); pass validation_fraction=0 to "
            f"validate on the training rows, or another random_state"
        )
    chosen = rng.permutation(len(places))[:MAX_VALIDATION_WINDOWS]
    return training, held.load([places[i] for i in sorted(chosen)])


def held_out_rows(series: Sequence[FloatArray], plan: DataPlan, seed: int) -> list[BoolArray]:
    """For each series, which rows a run of `start_run` with this seed does not train on."""
    held_out = split_rows(series, plan, np.random.default_rng([seed, 1]))
    training = source_of(series, [~rows for rows in held_out], plan)
    return held_out if training.places(None) else [np.zeros_like(rows) for rows in held_out]


def training_windows(series: Sequence[FloatArray], plan: DataPlan, seed: int) -> WindowSource:
    """Windows that a run of `start_run` with this seed trains on."""
    return source_of(series, [~rows for rows in held_out_rows(series, plan, seed)], plan)


def unseen_windows(series: Sequence[FloatArray], plan: DataPlan, seed: int) -> WindowSource:
    """Windows that such a run does not train on, at every alignment; all if these are too few."""
    held = source_of(series, held_out_rows(series, plan, seed), replace(plan, stride=1))
    return held if len(held.places(None)) >= LEAST_UNSEEN_WINDOWS else all_rows(series, plan)


def pattern_windows(
    patterns: Sequence[FloatArray] | None, plan: DataPlan, source: WindowSource
) -> WindowSource:
    """Windows whose holes are laid over training windows: of `patterns`, or those of the source."""
    return source if patterns is None else all_rows(patterns, replace(plan, side=NO_SIDE))


def all_rows(series: Sequence[FloatArray], plan: DataPlan) -> WindowSource:
    """Windows from every row of the series."""
    return source_of(series, [np.ones(len(s), dtype=bool) for s in series], plan)


def source_of(
    series: Sequence[FloatArray], usable_rows: Sequence[BoolArray], plan: DataPlan
) -> WindowSource:
    """Windows from some rows of the series."""
    return WindowSource(series, usable_rows, plan.window_steps, plan.stride, plan.side)


def start_run(
    network: CSDIDenoiser,
    schedule: NoiseSchedule,
    series: Sequence[FloatArray],
    plan: DataPlan,
    config: TrainingConfig,
    device: torch.device,
    seed: int,
    anchor: Anchor | AnchorPlan,
    patterns: Sequence[FloatArray] | None = None,
) -> Trainer:
    """A training run that has not begun; an anchor that is only planned is fitted first.

    Raises
    ------
    InputError
        If nothing is left to train or to validate on, or no cell would be hidden.
    """
    rng = np.random.default_rng([seed, 1])
    source, held = make_sources(series, plan, rng)
    strategy, others = config.target_strategy, pattern_windows(patterns, plan, source)
    check_hides(strategy, source, others, config.batch_size, seed)
    if isinstance(anchor, AnchorPlan):
        anchor = fit_anchor(anchor, source, strategy, seed, others)
    validator = Validator(held, strategy, anchor, device, seed, patterns=others)
    return Trainer(
        network=network.to(device),
        search=make_search(config.mask_rule, schedule, config.mask_learning_rate),
        source=source,
        validator=validator,
        anchor=anchor.to(device),
        patterns=others,
        config=config,
        device=device,
        rng=rng,
        generator=torch.Generator().manual_seed(seed),
    )


def fit_anchor(
    plan: AnchorPlan, source: WindowSource, strategy: str, seed: int, patterns: WindowSource
) -> Anchor:
    """Scale of the distances from the anchor, on training windows with targets as in training."""
    places = source.places(None)
    rng = np.random.default_rng([seed, 3])
    chosen = rng.permutation(len(places))[:MAX_ANCHOR_WINDOWS]
    windows = source.load([places[i] for i in sorted(chosen)])
    generator = torch.Generator().manual_seed(seed)
    others = windows.observed_mask[torch.randperm(len(windows), generator=generator)]
    if strategy in BY_PATTERNS:
        others = patterns.random_patterns(len(windows), rng)
    targets = draw_targets(strategy, windows.observed_mask, others, generator)
    given, at = windows.observed_mask & ~targets, windows.context.positions
    return Anchor.fit(plan, windows.values, given, targets, windows.padding, at)


def default_epochs(n_windows: int, batch_size: int, iterations: int | None = None) -> int:
    """Epochs that give about so many iterations; None: `DEFAULT_ITERATIONS`."""
    batches = max(1, -(-n_windows // batch_size))
    return max(1, -(-(iterations or DEFAULT_ITERATIONS) // batches))
