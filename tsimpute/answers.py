"""What a fitted imputer answers: medians, samples, quantiles, and its own score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from tsimpute.errors import InputError
from tsimpute.evaluation.metrics import CRPS_LEVELS, quantile_crps_from_quantiles
from tsimpute.finishing import FittedRules, finish_for
from tsimpute.inference import (
    SamplingPlan,
    Stretch,
    head_quantiles,
    hole_windows,
    sample_holes,
)
from tsimpute.methods import SAMPLER_NAMES, VARIANCES, known_name, method_for
from tsimpute.model import FittedModel, resolve_device
from tsimpute.panel.core import Panel
from tsimpute.panel.missingness import hide_points
from tsimpute.readout import (
    Read,
    head_reader,
    lay_out,
    quantile_reader,
    read_median,
    read_samples,
)

FloatArray = NDArray[np.float64]
METHODS = ("samples", "head")
STARTS = ("noise", "marginals")


class Fitted(FittedRules, Protocol):
    """What answering reads of an imputer."""

    seed_: int
    n_samples: int
    sampler: str
    variance: str
    antithetic: bool
    start: str
    method: str
    device: str
    verbose: int


@dataclass(frozen=True)
class Choice:
    """What one call asks for; None stands for the imputer's own setting."""

    n_samples: int | None = None
    random_state: Any = None
    method: str | None = None
    sampler: str | None = None
    variance: str | None = None


def check_choices(imputer: Fitted) -> None:
    """Check the names that an imputer was given, before it is trained.

    Raises
    ------
    InputError
        Naming the parameter and the names that it knows.
    """
    known_name("sampler", imputer.sampler, SAMPLER_NAMES)
    known_name("variance", imputer.variance, VARIANCES)
    known_name("start", imputer.start, STARTS)
    known_name("method", imputer.method, METHODS)


def medians(imputer: Fitted, panel: Panel, choice: Choice) -> list[FloatArray]:
    """Filled series (n_times_i, K)."""
    if uses_head(imputer, choice):
        arrays = _head_arrays(imputer, panel, [0.5])
    else:
        arrays = _sampled_arrays(imputer, panel, plan_for(imputer, choice), 1, read_median)
    return [values[0] for values in arrays]


def samples(imputer: Fitted, panel: Panel, choice: Choice, marginals: str) -> list[FloatArray]:
    """Samples (S, n_times_i, K)."""
    coupled = known_name("marginals", marginals, METHODS) == "head"
    if coupled:
        _need_marginals(imputer.model_, "marginals='head'")
    plan = plan_for(imputer, choice)
    plan = replace(plan, mixture=False, antithetic=False, coupled=coupled)
    return _sampled_arrays(imputer, panel, plan, plan.n_samples, read_samples)


def bands(
    imputer: Fitted, panel: Panel, choice: Choice, plan: SamplingPlan, levels: Sequence[float]
) -> list[FloatArray]:
    """The median that fills a hole, then quantiles: (1 + n_levels, n_times_i, K)."""
    if uses_head(imputer, choice):
        return _head_arrays(imputer, panel, [0.5, *levels])
    read_quantiles = quantile_reader(levels)

    def read(part: Stretch) -> NDArray[np.floating]:
        return np.concatenate([read_median(part), read_quantiles(part)])

    return _sampled_arrays(imputer, panel, plan, 1 + len(levels), read)


def quantiles(
    imputer: Fitted, panel: Panel, choice: Choice, levels: Sequence[float]
) -> list[FloatArray]:
    """Quantiles (n_levels, n_times_i, K)."""
    if uses_head(imputer, choice):
        return _head_arrays(imputer, panel, levels)
    plan = plan_for(imputer, choice)
    return _sampled_arrays(imputer, panel, plan, len(levels), quantile_reader(levels))


def hidden_crps(imputer: Fitted, panel: Panel, hidden_fraction: float) -> float:
    """Normalised CRPS, in scaled units, on observed cells that are hidden for it."""
    rng = np.random.default_rng([imputer.seed_, 2])
    hidden = [hide_points(seen, hidden_fraction, rng) for seen in panel.observed_masks]
    truth = [imputer.model_.scaler.transform(values) for values in panel.values]
    given = [np.where(h, np.nan, t) for h, t in zip(hidden, truth, strict=True)]
    found = scaled_quantiles(imputer, given, Choice(), CRPS_LEVELS)
    marks = np.concatenate([q.reshape(len(CRPS_LEVELS), -1) for q in found], axis=1)
    target = np.concatenate([h.ravel() for h in hidden])
    flat_truth = np.concatenate([t.ravel() for t in truth])
    return quantile_crps_from_quantiles(marks, CRPS_LEVELS, flat_truth, target)


def scaled_quantiles(
    imputer: Fitted, series: Sequence[FloatArray], choice: Choice, levels: Sequence[float]
) -> list[FloatArray]:
    """Quantiles (n_levels, n_times_i, K) of scaled series, in scaled units."""
    if uses_head(imputer, choice):
        stretches, read = _head_stretches(imputer, series), _marginal_reader(imputer, levels)
    else:
        stretches = _stretches(imputer, series, plan_for(imputer, choice))
        read = quantile_reader(levels)
    low, high = (bound.numpy() for bound in imputer.model_.clamp_range())
    return lay_out(series, stretches, len(levels), read, lambda scaled: scaled.clip(low, high))


def plan_for(imputer: Fitted, choice: Choice) -> SamplingPlan:
    """How an imputer samples for one call."""
    n = imputer.n_samples if choice.n_samples is None else choice.n_samples
    if not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"n_samples={n!r} cannot be used; expected at least 1")
    seed = imputer.seed_
    if choice.random_state is not None:
        seed = int(check_random_state(choice.random_state).randint(2**31 - 1))
    sampler, variance = choice.sampler or imputer.sampler, choice.variance or imputer.variance
    corrected = known_name("start", imputer.start, STARTS) == "marginals"
    if corrected:
        _need_marginals(imputer.model_, "start='marginals'")
    return SamplingPlan(
        int(n),
        seed,
        imputer.overlap,
        resolve_device(imputer.device),
        method_for(imputer.model_, sampler, variance),
        mixture=variance != "fixed" or sampler == "ggdm",
        antithetic=imputer.antithetic,
        corrected_start=corrected,
    )


def _sampled_arrays(
    imputer: Fitted, panel: Panel, plan: SamplingPlan, n: int, read: Read
) -> list[FloatArray]:
    finish, scaler = finish_for(imputer, panel), imputer.model_.scaler
    scaled = [scaler.transform(values) for values in panel.values]
    stretches = _stretches(imputer, scaled, plan)
    arrays = lay_out(panel.values, stretches, n, read, in_user_units(imputer.model_))
    return finish.apply(arrays)


def in_user_units(model: FittedModel) -> Callable[[NDArray[np.floating]], FloatArray]:
    """Inverse of the scaling, within the range that a sample may take."""
    low, high = (bound.numpy() for bound in model.clamp_range())
    return lambda scaled: model.scaler.inverse(scaled.clip(low, high))


def _head_arrays(imputer: Fitted, panel: Panel, levels: Sequence[float]) -> list[FloatArray]:
    finish, scaler = finish_for(imputer, panel), imputer.model_.scaler
    scaled = [scaler.transform(values) for values in panel.values]
    read = _marginal_reader(imputer, levels)
    stretches = _head_stretches(imputer, scaled)
    unscale = in_user_units(imputer.model_)
    return finish.apply(lay_out(panel.values, stretches, len(levels), read, unscale))


def _stretches(
    imputer: Fitted, series: Sequence[FloatArray], plan: SamplingPlan
) -> Iterator[Stretch]:
    from tqdm.auto import tqdm

    model = on_device(imputer)
    n_steps = len(hole_windows(model, series, imputer.overlap)) * len(model.grid)
    silent = imputer.verbose == 0 or n_steps == 0
    with tqdm(total=n_steps, desc="impute", unit="step", disable=silent) as bar:
        yield from sample_holes(model, series, plan, bar.update)


def _head_stretches(imputer: Fitted, series: Sequence[FloatArray]) -> Iterator[Stretch]:
    model = on_device(imputer)
    return head_quantiles(model, series, imputer.overlap, resolve_device(imputer.device))


def on_device(imputer: Fitted) -> FittedModel:
    """The imputer's model, all of it on the imputer's device."""
    device = resolve_device(imputer.device)
    for module in imputer.model_.modules:
        module.to(device)
    return imputer.model_


def uses_head(imputer: Fitted, choice: Choice) -> bool:
    """Whether a call asks the marginal head; it must be there then."""
    name = imputer.method if choice.method is None else choice.method
    if known_name("method", name, METHODS) == "samples":
        return False
    _need_marginals(imputer.model_, "method='head'")
    return True


def _marginal_reader(imputer: Fitted, levels: Sequence[float]) -> Read:
    marginals = imputer.model_.marginals
    assert marginals is not None
    return head_reader(marginals.levels, levels)


def _need_marginals(model: FittedModel, what: str) -> None:
    if model.marginals is None:
        raise InputError(
            f"{what} needs a marginal head, which this model does not have; call "
            f"fit_marginals(X) on the fitted imputer"
        )
