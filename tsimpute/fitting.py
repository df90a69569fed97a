"""From a scaled panel to a training run, and from the run to a fitted model."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tsimpute.denoiser.anchor import Anchor
from tsimpute.denoiser.csdi import CSDIDenoiser, DenoiserConfig, n_parameters
from tsimpute.denoiser.csdi_weights import read_csdi_file, translate
from tsimpute.diffusion.schedule import NoiseSchedule, make_schedule
from tsimpute.errors import InputError, ModelFileError
from tsimpute.model import FittedModel, resolve_device
from tsimpute.panel.core import Panel
from tsimpute.panel.scaling import FeatureScaler
from tsimpute.panel.windows import validation_rows
from tsimpute.training.batches import Windows, WindowSource
from tsimpute.training.checkpoint import restore_checkpoint, save_checkpoint
from tsimpute.training.config import TrainingConfig
from tsimpute.training.loop import Trainer
from tsimpute.training.progress import TrainingBar
from tsimpute.training.search import make_search
from tsimpute.training.targets import draw_targets
from tsimpute.training.validation import Validator

if TYPE_CHECKING:
    from tsimpute.imputer import EDDPMImputer

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

DEFAULT_ITERATIONS = 2_000  # of training, when neither epochs nor a time budget is given
MANY_SERIES = 10  # from here on whole series are held out for validation
MAX_VALIDATION_WINDOWS = 128
MAX_ANCHOR_WINDOWS = 512
MUCH_SIGNAL = 0.5  # of the variance, left at the noisiest kept step: too much for a start at N(0, I)


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
    """

    window_steps: int
    stride: int
    validation_fraction: float


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
    training = WindowSource(series, [~rows for rows in held_out], plan.window_steps, plan.stride)
    any_held = any(rows.any() for rows in held_out)
    usable = held_out if any_held else [np.ones(len(s), dtype=bool) for s in series]
    if any_held and not training.places(None):
        training = _all_rows(series, plan)
    held = WindowSource(series, usable, plan.window_steps, stride=1)
    places = held.places(None)
    if not places:
        raise InputError(
            f"the rows held out for validation hold no observed value "
            f"(validation_fraction={plan.validation_fraction}); pass validation_fraction=0 to "
            f"validate on the training rows, or another random_state"
        )
    chosen = rng.permutation(len(places))[:MAX_VALIDATION_WINDOWS]
    return training, held.load([places[i] for i in sorted(chosen)])


def _all_rows(series: Sequence[FloatArray], plan: DataPlan) -> WindowSource:
    rows = [np.ones(len(s), dtype=bool) for s in series]
    return WindowSource(series, rows, plan.window_steps, plan.stride)


def start_run(
    network: CSDIDenoiser,
    schedule: NoiseSchedule,
    series: Sequence[FloatArray],
    plan: DataPlan,
    config: TrainingConfig,
    device: torch.device,
    seed: int,
    anchor: Anchor | str,
    patterns: Sequence[FloatArray] | None = None,
) -> Trainer:
    """A training run that has not begun; an anchor that is only named is fitted first."""
    rng = np.random.default_rng([seed, 1])
    source, held = make_sources(series, plan, rng)
    if isinstance(anchor, str):
        anchor = fit_anchor(anchor, source, config.target_strategy, seed)
    validator = Validator(held, config.target_strategy, anchor, device, seed)
    return Trainer(
        network=network.to(device),
        search=make_search(config.mask_rule, schedule, config.mask_learning_rate),
        source=source,
        validator=validator,
        anchor=anchor.to(device),
        patterns=None if patterns is None else _all_rows(patterns, plan),
        config=config,
        device=device,
        rng=rng,
        generator=torch.Generator().manual_seed(seed),
    )


def fit_anchor(kind: str, source: WindowSource, strategy: str, seed: int) -> Anchor:
    """Scale of the distances from the anchor, on training windows with targets as in training."""
    places = source.places(None)
    rng = np.random.default_rng([seed, 3])
    chosen = rng.permutation(len(places))[:MAX_ANCHOR_WINDOWS]
    windows = source.load([places[i] for i in sorted(chosen)])
    generator = torch.Generator().manual_seed(seed)
    patterns = windows.observed_mask[torch.randperm(len(windows), generator=generator)]
    targets = draw_targets(strategy, windows.observed_mask, patterns, generator)
    return Anchor.fit(kind, windows.values, windows.observed_mask & ~targets, targets)


def default_epochs(n_windows: int, batch_size: int) -> int:
    """Epochs that give about `DEFAULT_ITERATIONS` iterations."""
    batches = max(1, -(-n_windows // batch_size))
    return max(1, -(-DEFAULT_ITERATIONS // batches))


def train_from_scratch(
    imputer: EDDPMImputer,
    panel: Panel,
    patterns: Panel | None,
    seed: int,
    checkpoint: str | Path | None,
) -> tuple[FittedModel, Trainer]:
    """Fit a new network, and the kept steps with it, by the imputer's parameters."""
    device = resolve_device(imputer.device)
    scaler = FeatureScaler.fit(panel.values)
    schedule = make_schedule(
        imputer.schedule,
        imputer.diffusion_steps,
        imputer.beta_start,
        imputer.beta_end,
        imputer.conditioning,
    )
    series = [scaler.transform(values) for values in panel.values]
    with _own_random_numbers(seed, device):
        network = CSDIDenoiser(_network_shape(imputer, panel.n_features))
        plan = data_plan(imputer)
        config = _config(imputer, series, plan)
        trainer = start_run(
            network,
            schedule,
            series,
            plan,
            config,
            device,
            seed,
            imputer.anchor,
            None if patterns is None else patterns.values,
        )
        _announce(imputer, trainer, panel)
        _run(imputer, trainer, "fit", checkpoint)
    return _fitted(trainer, scaler, panel, imputer.window_steps), trainer


def fine_tune(
    imputer: EDDPMImputer,
    panel: Panel,
    kept_steps: int,
    epochs: int,
    mask_rule: str | None,
    steps: Sequence[int] | None,
) -> tuple[FittedModel, Trainer]:
    """Train a copy of the fitted network on, down to fewer steps."""
    old = imputer.model_
    kept_steps = len(set(steps)) if steps is not None else kept_steps
    if not 1 <= kept_steps <= len(old.grid):
        raise InputError(
            f"kept_steps={kept_steps} cannot be used; expected 1 to {len(old.grid)}, the steps "
            f"that the model has"
        )
    device = resolve_device(imputer.device)
    series = [old.scaler.transform(values) for values in panel.values]
    rule = imputer.mask_rule if mask_rule is None else mask_rule
    plan = replace(data_plan(imputer), window_steps=old.window_steps)
    config = _fine_tuning(_config(imputer, series, plan), kept_steps, epochs, rule)
    seed = imputer.seed_
    with _own_random_numbers(seed, device):
        network = copy.deepcopy(old.network)
        trainer = start_run(
            network, old.schedule, series, plan, config, device, seed, old.anchor
        )
        if len(old.grid) < old.schedule.n_steps:
            trainer.search.learner.keep_prob = imputer.step_schedule_["kept"].to_numpy(float)
        if steps is not None:
            trainer.fixed_grid = old.schedule.respaced(list(steps))
        _run(imputer, trainer, f"prune to {kept_steps}", None)
    model = _fitted(trainer, old.scaler, panel, old.window_steps)
    return replace(model, feature_names=old.feature_names), trainer


def model_from_csdi(
    path: str | Path,
    mean: ArrayLike | None,
    std: ArrayLike | None,
    feature_names: Sequence[str] | None,
    parameters: dict[str, Any],
) -> tuple[FittedModel, dict[str, int]]:
    """Fitted model from official CSDI weights, and the imputer parameters that they imply."""
    weights = translate(read_csdi_file(path))
    shape = {
        "channels": len(weights["input_projection.weight"]),
        "layers": sum(name.endswith(".step_projection.bias") for name in weights),
        "heads": int(parameters.get("heads", 8)),
    }
    k = len(weights["feature_embedding.weight"])
    network = CSDIDenoiser(DenoiserConfig(n_features=k, **shape))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelFileError(f"{path} has tensors of unknown shapes: {error}") from error
    names = {"schedule": "name", "diffusion_steps": "n_steps"}
    options = ("schedule", "diffusion_steps", "beta_start", "beta_end", "conditioning")
    chosen = {names.get(o, o): parameters[o] for o in options if o in parameters}
    schedule = make_schedule(**chosen)
    model = FittedModel(
        network=network.eval(),
        schedule=schedule,
        grid=schedule.full(),
        keep_prob=np.ones(schedule.n_steps),
        scaler=_given_scaler(mean, std, k),
        anchor=Anchor.none(k),
        feature_names=_given_names(feature_names, k),
        window_steps=int(parameters["window_steps"]),
    )
    return model, shape


def data_plan(imputer: EDDPMImputer) -> DataPlan:
    """How an imputer's parameters cut the data."""
    stride = imputer.train_stride or max(1, imputer.window_steps // 2)
    return DataPlan(imputer.window_steps, stride, imputer.validation_fraction)


# CSDI trains on standardised data, where nearly all values lie within this range.
_UNKNOWN_RANGE = 10.0


def _given_scaler(mean: ArrayLike | None, std: ArrayLike | None, k: int) -> FeatureScaler:
    center = np.zeros(k) if mean is None else np.asarray(mean, dtype=np.float64)
    scale = np.ones(k) if std is None else np.asarray(std, dtype=np.float64)
    if center.shape != (k,) or scale.shape != (k,):
        raise InputError(
            f"mean has shape {center.shape} and std {scale.shape}; expected ({k},), one number "
            f"for each feature of the checkpoint"
        )
    return FeatureScaler(center, scale, np.full(k, -_UNKNOWN_RANGE), np.full(k, _UNKNOWN_RANGE))


def _given_names(names: Sequence[str] | None, k: int) -> tuple[str, ...] | None:
    if names is not None and len(names) != k:
        raise InputError(f"feature_names has {len(names)} names; expected {k}, the checkpoint's")
    return None if names is None else tuple(names)


def _network_shape(imputer: EDDPMImputer, n_features: int) -> DenoiserConfig:
    return DenoiserConfig(
        n_features=n_features,
        channels=imputer.channels,
        layers=imputer.layers,
        heads=imputer.heads,
        dropout=imputer.dropout,
        attention_dropout=imputer.attention_dropout,
    )


def _config(
    imputer: EDDPMImputer, series: Sequence[FloatArray], plan: DataPlan
) -> TrainingConfig:
    epochs = imputer.epochs
    if epochs is None and imputer.time_budget_s is None:
        n_windows = len(_all_rows(series, plan).places(None))
        epochs = default_epochs(n_windows, imputer.batch_size)
    return TrainingConfig(
        kept_steps=imputer.kept_steps,
        epochs=epochs,
        time_budget_s=imputer.time_budget_s,
        batch_size=imputer.batch_size,
        learning_rate=imputer.learning_rate,
        target_strategy=imputer.target_strategy,
        mask_rule=imputer.mask_rule,
        ema_decay=imputer.ema_decay,
        patience=imputer.patience,
        mixed_precision=imputer.mixed_precision,
        **_PHASES[imputer.mask_rule],
    )


# The printed rule learns the mask to the end; the guarded one leaves the network a rest of the
# run on the steps that were chosen.
_PHASES: dict[str, dict[str, float]] = {
    "paper": {"search_start": 0.1, "search_end": 1.0},
    "guarded": {"search_start": 0.2, "search_end": 0.6},
}


def _fine_tuning(
    config: TrainingConfig, kept_steps: int, epochs: int, rule: str
) -> TrainingConfig:
    start, end = (0.0, 1.0) if rule == "paper" else (0.15, 0.4)
    return replace(
        config,
        kept_steps=kept_steps,
        epochs=epochs,
        time_budget_s=None,
        mask_rule=rule,
        search_start=start,
        search_end=end,
    )


def _run(
    imputer: EDDPMImputer, trainer: Trainer, label: str, checkpoint: str | Path | None
) -> None:
    if checkpoint is not None:
        restore_checkpoint(trainer, checkpoint)
    with TrainingBar(label, silent=imputer.verbose == 0) as bar:

        def after_epoch(running: Trainer) -> None:
            bar.on_epoch(running)
            if checkpoint is not None:
                save_checkpoint(running, checkpoint)

        try:
            trainer.fit(after_epoch, bar.on_step)
        except KeyboardInterrupt:
            imputer._say("stopped by the user; the best model so far is kept")
            return
    if checkpoint is not None:
        Path(checkpoint).unlink(missing_ok=True)


def _fitted(
    trainer: Trainer, scaler: FeatureScaler, panel: Panel, window_steps: int
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
    )


def _announce(imputer: EDDPMImputer, trainer: Trainer, panel: Panel) -> None:
    config = trainer.config
    length = (
        f"{config.epochs} epochs of {trainer.batches_per_epoch} iterations"
        if config.epochs is not None
        else f"{config.time_budget_s:g} s"
    )
    imputer._say(
        f"tsimpute: {panel.n_series} series, {panel.n_features} features, "
        f"{panel.n_cells} cells; windows of {imputer.window_steps} steps; "
        f"{n_parameters(trainer.network)} parameters; {length} on {trainer.device}; "
        f"{config.kept_steps} of {imputer.diffusion_steps} diffusion steps will remain"
    )


@contextmanager
def _own_random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generator (dropout, initial weights) and give it back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
