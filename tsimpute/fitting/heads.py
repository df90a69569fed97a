"""Further outputs of a fitted model, trained on the imputer's data: variances and marginals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from tsimpute.denoiser.slimmable import allowed_widths
from tsimpute.denoiser.step_widths import StepWidths
from tsimpute.errors import InputError
from tsimpute.fitting.fit import Settings, data_plan, training_strategy
from tsimpute.fitting.running import own_random_numbers, say
from tsimpute.fitting.time_budget import NEVER, Deadline
from tsimpute.fitting.training_data import TrainingData
from tsimpute.model import FittedModel, resolve_device
from tsimpute.samplers.tdas import temporal_spectrum
from tsimpute.sampling.methods import FITTED_SAMPLERS, FREE_VARIANCES, VARIANCES, known_name
from tsimpute.training.derivative_head import fit_derivative_head
from tsimpute.training.examples import ExampleSource
from tsimpute.training.ggdm import fit_ggdm
from tsimpute.training.marginals import fit_marginals
from tsimpute.training.setup import (
    DataPlan,
    pattern_windows,
    training_windows,
    unseen_windows,
)
from tsimpute.training.variance_heads import (
    HiddenCells,
    collect_cells,
    fit_variance_head,
    joined,
    noise_power,
)

FloatArray = NDArray[np.float64]

SPECTRUM_BATCHES = 16  # of windows behind a temporal spectrum


def with_variance(
    imputer: Settings,
    model: FittedModel,
    data: TrainingData,
    kind: str,
    n_batches: int,
    deadline: Deadline = NEVER,
) -> FittedModel:
    """The model with what a reverse variance needs; the network stays as it is.

    After the deadline no batch is begun, if a cell was seen.
    """
    known_name("kind", kind, [v for v in VARIANCES if v not in FREE_VARIANCES])
    source = training_examples(imputer, model, data)
    network = model.network.to(source.device)
    with _bar(imputer, f"fit variance {kind!r}", n_batches) as bar:

        def enough() -> bool:
            bar.update()
            return deadline.is_over()

        cells = collect_cells(network, model.grid, source, n_batches, enough, model.widths)
    return with_variance_of(model, cells, kind, data.seed)


def with_variance_at_all_widths(
    imputer: Settings,
    model: FittedModel,
    data: TrainingData,
    kind: str,
    n_batches: int,
    after_batch: Callable[[], object] | None = None,
) -> FittedModel:
    """The model with what a reverse variance needs whatever the widths of its steps."""

    def never_enough() -> bool:
        if after_batch is not None:
            after_batch()
        return False

    source = training_examples(imputer, model, data)
    network, parts = model.network.to(source.device), []
    widths = allowed_widths(network.config)
    for number, width in enumerate(widths):
        own = replace(source, seed=data.seed + number)
        everywhere = StepWidths((width,) * len(model.grid))
        n = max(1, n_batches // len(widths))
        parts.append(collect_cells(network, model.grid, own, n, never_enough, everywhere))
    return with_variance_of(model, joined(parts), kind, data.seed)


def with_variance_of(model: FittedModel, cells: HiddenCells, kind: str, seed: int) -> FittedModel:
    """The model with what a reverse variance needs, from what its network said of hidden cells."""
    if kind == "analytic":
        power = np.full(model.schedule.n_steps, np.nan)
        power[model.grid.index] = noise_power(cells, model.grid)
        return _updated(model, {"variance": kind}, noise_power=power)
    with own_random_numbers(seed, cells.trunk.device):
        head = fit_variance_head(kind, cells, seed)
    return _updated(model, {"variance": kind}, heads={**model.heads, kind: head})


def with_sampler(
    imputer: Settings, model: FittedModel, data: TrainingData, kind: str, iterations: int
) -> FittedModel:
    """The model with what a fitted sampler needs: coefficients, a spectrum or a head."""
    known_name("kind", kind, FITTED_SAMPLERS)
    if kind == "ggdm":
        return _with_ggdm(imputer, model, unseen_examples(imputer, model, data), iterations)
    source = training_examples(imputer, model, data)
    if kind == "genie-distilled":
        progress = _bar(imputer, f"fit sampler {kind!r}", iterations)
        with progress as bar, own_random_numbers(data.seed, source.device):
            head = fit_derivative_head(
                model.network, model.grid, source, iterations, bar.update, model.widths
            )
        return _updated(model, {"sampler": kind}, heads={**model.heads, kind: head})
    examples = list(islice(source.draw(), SPECTRUM_BATCHES))
    away = torch.cat([example.away for example in examples])
    observed = torch.cat([example.given_mask | example.target_mask for example in examples])
    spectrum = temporal_spectrum(away, observed).numpy()
    return _updated(model, {"sampler": kind}, spectrum=spectrum)


def _with_ggdm(
    imputer: Settings, model: FittedModel, source: ExampleSource, iterations: int
) -> FittedModel:
    with _Steps(imputer, "fit sampler 'ggdm'", iterations) as steps:
        learned = (model.network, model.grid, source, iterations)
        found = fit_ggdm(*learned, on_step=steps.count, widths=model.widths)
    return _updated(model, {"sampler": "ggdm"}, ggdm=found)


def with_marginals(
    imputer: Settings,
    model: FittedModel,
    data: TrainingData,
    iterations: int,
    freeze_trunk: bool,
) -> FittedModel:
    """The model with a marginal head, trained from its network; the network stays as it is."""
    source = training_examples(imputer, model, data)
    progress = _Steps(imputer, "fit marginals", iterations)
    with progress as steps, own_random_numbers(data.seed, source.device):
        marginals = fit_marginals(
            model.network,
            float(model.schedule.n_steps - 1),
            source,
            iterations,
            freeze_trunk=freeze_trunk,
            on_step=steps.count,
        )
    return _updated(model, {"method": "head", "start": "marginals"}, marginals=marginals)


def _updated(model: FittedModel, learned: dict[str, str], **parts: Any) -> FittedModel:
    """The model with new parts, and without calibrations of quantiles that the old ones made."""
    return replace(model, calibrations=model.calibrations.without(learned), **parts)


def training_examples(imputer: Settings, model: FittedModel, data: TrainingData) -> ExampleSource:
    """Windows of the training rows with hidden cells, as fitting would cut and hide them.

    Raises
    ------
    InputError
        If nothing was observed, or no cell is ever hidden.
    """
    series, plan = _cut(imputer, model, data)
    training = training_windows(series, plan, data.seed)
    if not training.places(None):
        raise InputError(f"{data.panel.name}: got no observed value, expected data to learn from")
    patterns = pattern_windows(data.pattern_values, plan, training)
    device = resolve_device(imputer.device)
    how = (training_strategy(imputer), model.anchor, imputer.batch_size, device, data.seed)
    return ExampleSource(training, *how, patterns).checked()


def unseen_examples(imputer: Settings, model: FittedModel, data: TrainingData) -> ExampleSource:
    """The same of rows that training held out, of which the network remembers nothing.

    Of all rows, where there are too few of them.
    """
    source = training_examples(imputer, model, data)
    return replace(source, windows=unseen_windows(*_cut(imputer, model, data), data.seed)).checked()


def _cut(
    imputer: Settings, model: FittedModel, data: TrainingData
) -> tuple[Sequence[FloatArray], DataPlan]:
    """Scaled series, and how they are cut into windows."""
    plan = replace(data_plan(imputer, model.side), window_steps=model.window_steps)
    return model.scaled(data.panel), plan


def _bar(imputer: Settings, label: str, total: int) -> Any:
    return tqdm(total=total, desc=label, disable=imputer.verbose == 0)


class _Steps:
    """Iterations on a bar; says so if they end before their time, as Ctrl-C makes them."""

    def __init__(self, imputer: Settings, label: str, total: int) -> None:
        self.imputer, self.label, self.total, self.n_done = imputer, label, total, 0
        self.bar = _bar(imputer, label, total)

    def __enter__(self) -> Self:
        return self

    def count(self, loss: float) -> None:
        """One more iteration."""
        self.n_done += 1
        self.bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
        self.bar.update()

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        self.bar.close()
        if failed is None and self.n_done < self.total:
            say(
                self.imputer,
                f"{self.label}: stopped by the user after {self.n_done} of {self.total} "
                f"iterations; what was learned until then is kept",
            )
