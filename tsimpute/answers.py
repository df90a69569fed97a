"""What a fitted imputer answers: medians, samples and quantiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from tsimpute.errors import InputError
from tsimpute.evaluation.conformal import Calibration
from tsimpute.finishing import FittedRules, finish_for
from tsimpute.inference import (
    SamplingPlan,
    Stretch,
    head_quantiles,
    hole_windows,
    sample_holes,
)
from tsimpute.methods import FITTED_SAMPLERS, SAMPLER_NAMES, VARIANCES, known_name, method_for
from tsimpute.model import FittedModel, resolve_device
from tsimpute.panel.core import Panel
from tsimpute.readout import (
    Read,
    calibrated_reader,
    head_reader,
    lay_out,
    quantile_reader,
    read_cells,
    read_median,
    read_samples,
)

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
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
    calibrate: bool
    device: str
    verbose: int


@dataclass(frozen=True)
class Choice:
    """What one call asks for; None stands for the imputer's own setting.

    Unless `calibrated` is False, quantiles of a calibrated model are calibrated.
    """

    n_samples: int | None = None
    random_state: Any = None
    method: str | None = None
    sampler: str | None = None
    variance: str | None = None
    calibrated: bool = True


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
    names = {"method": imputer.method, "start": imputer.start, "sampler": imputer.sampler}
    for name, later in (
        ("method", ["head"]),
        ("start", ["marginals"]),
        ("sampler", FITTED_SAMPLERS),
    ):
        if imputer.calibrate and names[name] in later:
            raise InputError(
                f"calibrate=True cannot be used with {name}={names[name]!r}, which is learned "
                f"after fit; fit with calibrate=False, and call fit_calibration(X) at last"
            )


def medians(imputer: Fitted, panel: Panel, choice: Choice) -> list[FloatArray]:
    """Filled series (n_times_i, K)."""
    if uses_head(imputer, choice):
        arrays = _head_arrays(imputer, panel, 1, _marginal_reader(imputer, [0.5]))
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
        read_all = reader_for(imputer, choice, [0.5, *levels], panel.values)
        return _head_arrays(imputer, panel, 1 + len(levels), read_all)
    read_quantiles = reader_for(imputer, choice, levels, panel.values)

    def read(part: Stretch) -> NDArray[np.floating]:
        return np.concatenate([read_median(part), read_quantiles(part)])

    return _sampled_arrays(imputer, panel, plan, 1 + len(levels), read)


def quantiles(
    imputer: Fitted, panel: Panel, choice: Choice, levels: Sequence[float]
) -> list[FloatArray]:
    """Quantiles (n_levels, n_times_i, K)."""
    read = reader_for(imputer, choice, levels, panel.values)
    if uses_head(imputer, choice):
        return _head_arrays(imputer, panel, len(levels), read)
    return _sampled_arrays(imputer, panel, plan_for(imputer, choice), len(levels), read)


def cell_quantiles(
    imputer: Fitted,
    series: Sequence[FloatArray],
    wanted: Sequence[BoolArray],
    choice: Choice,
    levels: Sequence[float],
) -> FloatArray:
    """Quantiles (n_levels, n_wanted) of wanted holes of scaled series, in scaled units."""
    if uses_head(imputer, choice):
        stretches = _head_stretches(imputer, series, wanted)
    else:
        stretches = _stretches(imputer, series, plan_for(imputer, choice), wanted)
    values = [imputer.model_.side_shape.features(part) for part in series]
    return read_cells(stretches, wanted, reader_for(imputer, choice, levels, values))


def reader_for(
    imputer: Fitted, choice: Choice, levels: Sequence[float], series: Sequence[FloatArray]
) -> Read:
    """How quantiles of holes are read, calibrated where the model and the call want it.

    Parameters
    ----------
    series : sequence of ndarray (n_times_i, K)
        What the stretches to be read belong to, NaN where missing.
    """
    raw = quantile_reader
    if uses_head(imputer, choice):
        raw = partial(_marginal_reader, imputer)
    calibration = calibration_for(imputer, choice)
    if calibration is None:
        return raw(levels)
    return calibrated_reader(raw, calibration, levels, series)


def way_for(imputer: Fitted, choice: Choice) -> dict[str, str]:
    """How a call's quantiles are made: what a calibration of them depends on."""
    if uses_head(imputer, choice):
        return {"method": "head"}
    sampler, variance = choice.sampler or imputer.sampler, choice.variance or imputer.variance
    return {"method": "samples", "sampler": sampler, "variance": variance, "start": imputer.start}


def calibration_for(imputer: Fitted, choice: Choice) -> Calibration | None:
    """The model's calibration, if it has one and the call does not do without.

    Raises
    ------
    InputError
        If the calibration is that of another way to make quantiles.
    """
    calibration = imputer.model_.calibration if choice.calibrated else None
    if calibration is not None:
        calibration.check_way(way_for(imputer, choice))
    return calibration


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
    finish, model = finish_for(imputer, panel), imputer.model_
    stretches = _stretches(imputer, model.scaled(panel), plan)
    return finish.apply(lay_out(panel.values, stretches, n, read, in_user_units(model)))


def in_user_units(model: FittedModel) -> Callable[[NDArray[np.floating]], FloatArray]:
    """Inverse of the scaling, within the range that a sample may take."""
    low, high = (bound.numpy() for bound in model.clamp_range())
    return lambda scaled: model.scaler.inverse(scaled.clip(low, high))


def _head_arrays(imputer: Fitted, panel: Panel, n: int, read: Read) -> list[FloatArray]:
    finish, model = finish_for(imputer, panel), imputer.model_
    stretches, unscale = _head_stretches(imputer, model.scaled(panel)), in_user_units(model)
    return finish.apply(lay_out(panel.values, stretches, n, read, unscale))


def _stretches(
    imputer: Fitted,
    series: Sequence[FloatArray],
    plan: SamplingPlan,
    wanted: Sequence[BoolArray] | None = None,
) -> Iterator[Stretch]:
    from tqdm.auto import tqdm

    model = on_device(imputer)
    n_steps = len(hole_windows(model, series, imputer.overlap, wanted)) * len(model.grid)
    silent = imputer.verbose == 0 or n_steps == 0
    with tqdm(total=n_steps, desc="impute", unit="step", disable=silent) as bar:
        yield from sample_holes(model, series, plan, bar.update, wanted)


def _head_stretches(
    imputer: Fitted, series: Sequence[FloatArray], wanted: Sequence[BoolArray] | None = None
) -> Iterator[Stretch]:
    model, device = on_device(imputer), resolve_device(imputer.device)
    return head_quantiles(model, series, imputer.overlap, device, wanted)


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
