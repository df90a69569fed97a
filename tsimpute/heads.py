"""Further outputs of a fitted model, trained on the imputer's data: variances and marginals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from tsimpute.denoiser.slimmable import allowed_widths
from tsimpute.denoiser.step_widths import StepWidths
from tsimpute.fitting import Settings, data_plan, training_strategy
from tsimpute.methods import FITTED_SAMPLERS, FREE_VARIANCES, VARIANCES, known_name
from tsimpute.model import FittedModel, resolve_device
from tsimpute.panel.core import Panel
from tsimpute.running import own_random_numbers
from tsimpute.samplers.tdas import temporal_spectrum
from tsimpute.time_budget import NEVER, Deadline
from tsimpute.training.derivative_head import fit_derivative_head
from tsimpute.training.examples import ExampleSource
from tsimpute.training.ggdm import fit_ggdm
from tsimpute.training.marginals import fit_marginals
from tsimpute.training.setup import make_sources
from tsimpute.training.variance_heads import (
    HiddenCells,
    collect_cells,
    fit_variance_head,
    joined,
    noise_power,
)

SPECTRUM_BATCHES = 16  # of windows behind a temporal spectrum


def with_variance(
    imputer: Settings,
    model: FittedModel,
    panel: Panel,
    seed: int,
    kind: str,
    n_batches: int,
    deadline: Deadline = NEVER,
) -> FittedModel:
    """The model with what a reverse variance needs; the network stays as it is.

    After the deadline, no batch but the first is begun.
    """
    known_name("kind", kind, [v for v in VARIANCES if v not in FREE_VARIANCES])
    source = training_examples(imputer, model, panel, seed)
    network = model.network.to(source.device)
    with _bar(imputer, f"fit variance {kind!r}", n_batches) as bar:

        def enough() -> bool:
            bar.update()
            return deadline.is_over()

        cells = collect_cells(network, model.grid, source, n_batches, enough, model.widths)
    return with_variance_of(model, cells, kind, seed)


def with_variance_at_all_widths(
    imputer: Settings,
    model: FittedModel,
    panel: Panel,
    seed: int,
    kind: str,
    n_batches: int,
    after_batch: Callable[[], object] | None = None,
) -> FittedModel:
    """The model with what a reverse variance needs whatever the widths of its steps."""

    def never_enough() -> bool:
        if after_batch is not None:
            after_batch()
        return False

    source = training_examples(imputer, model, panel, seed)
    network, parts = model.network.to(source.device), []
    widths = allowed_widths(network.config)
    for number, width in enumerate(widths):
        own = replace(source, seed=seed + number)
        everywhere = StepWidths((width,) * len(model.grid))
        n = max(1, n_batches // len(widths))
        parts.append(collect_cells(network, model.grid, own, n, never_enough, everywhere))
    return with_variance_of(model, joined(parts), kind, seed)


def with_variance_of(model: FittedModel, cells: HiddenCells, kind: str, seed: int) -> FittedModel:
    """The model with what a reverse variance needs, from what its network said of hidden cells."""
    if kind == "analytic":
        power = np.full(model.schedule.n_steps, np.nan)
        power[model.grid.index] = noise_power(cells, len(model.grid))
        return _updated(model, {"variance": kind}, noise_power=power)
    with own_random_numbers(seed, cells.trunk.device):
        head = fit_variance_head(kind, cells, seed)
    return _updated(model, {"variance": kind}, heads={**model.heads, kind: head})


def with_sampler(
    imputer: Settings, model: FittedModel, panel: Panel, seed: int, kind: str, iterations: int
) -> FittedModel:
    """The model with what a fitted sampler needs: coefficients, a spectrum or a head."""
    known_name("kind", kind, FITTED_SAMPLERS)
    source = training_examples(imputer, model, panel, seed)
    if kind == "genie-distilled":
        progress = _bar(imputer, f"fit sampler {kind!r}", iterations)
        with progress as bar, own_random_numbers(seed, source.device):
            head = fit_derivative_head(
                model.network, model.grid, source, iterations, bar.update, model.widths
            )
        return _updated(model, {"sampler": kind}, heads={**model.heads, kind: head})
    if kind == "tdas":
        examples = list(islice(source.draw(), SPECTRUM_BATCHES))
        away = torch.cat([example.away for example in examples])
        observed = torch.cat([example.given_mask | example.target_mask for example in examples])
        spectrum = temporal_spectrum(away, observed).numpy()
        return _updated(model, {"sampler": kind}, spectrum=spectrum)
    with _bar(imputer, "fit sampler 'ggdm'", iterations) as bar:
        found = fit_ggdm(
            model.network,
            model.grid,
            source,
            iterations,
            on_step=lambda loss: bar.update(),
            widths=model.widths,
        )
    return _updated(model, {"sampler": kind}, ggdm=found)


def with_marginals(
    imputer: Settings,
    model: FittedModel,
    panel: Panel,
    seed: int,
    iterations: int,
    freeze_trunk: bool,
) -> FittedModel:
    """The model with a marginal head, trained from its network; the network stays as it is."""
    source = training_examples(imputer, model, panel, seed)
    bar = _bar(imputer, "fit marginals", iterations)
    with bar, own_random_numbers(seed, source.device):

        def on_step(loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            bar.update()

        marginals = fit_marginals(
            model.network,
            float(model.schedule.n_steps - 1),
            source,
            iterations,
            freeze_trunk=freeze_trunk,
            on_step=on_step,
        )
    return _updated(model, {"method": "head", "start": "marginals"}, marginals=marginals)


def _updated(model: FittedModel, learned: dict[str, str], **parts: Any) -> FittedModel:
    """The model with new parts, and without a calibration of quantiles that the old ones made."""
    calibration = model.calibration
    if calibration is not None and not calibration.way.items().isdisjoint(learned.items()):
        calibration = None
    return replace(model, calibration=calibration, **parts)


def training_examples(
    imputer: Settings, model: FittedModel, panel: Panel, seed: int
) -> ExampleSource:
    """Windows of the training rows with hidden cells, as fitting would cut and hide them."""
    plan = replace(data_plan(imputer, model.side), window_steps=model.window_steps)
    training, _ = make_sources(model.scaled(panel), plan, np.random.default_rng([seed, 1]))
    device = resolve_device(imputer.device)
    return ExampleSource(
        training, training_strategy(imputer), model.anchor, imputer.batch_size, device, seed
    )


def _bar(imputer: Settings, label: str, total: int) -> Any:
    return tqdm(total=total, desc=label, disable=imputer.verbose == 0)
