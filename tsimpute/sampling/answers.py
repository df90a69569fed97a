"""What a fitted imputer answers: medians, samples and quantiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tsimpute.evaluation.conformal import Calibration
from tsimpute.model import FittedModel, resolve_device
from tsimpute.panel.core import Panel
from tsimpute.sampling.choices import (
    METHODS,
    Choice,
    Fitted,
    check_joint,
    mode_for,
    need_marginals,
    plan_for,
    uses_head,
    way_for,
)
from tsimpute.sampling.coupling import couple, even_levels
from tsimpute.sampling.finishing import Finish, finish_for
from tsimpute.sampling.inference import (
    SamplingPlan,
    Stretch,
    head_quantiles,
    sample_holes,
)
from tsimpute.sampling.methods import known_name
from tsimpute.sampling.placing import hole_windows
from tsimpute.sampling.readout import (
    Read,
    calibrated_reader,
    gathered,
    head_reader,
    lay_out,
    quantile_reader,
    read_median,
    read_samples,
)

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def medians(imputer: Fitted, panel: Panel, choice: Choice) -> list[FloatArray]:
    """Filled series (n_times_i, K)."""
    if uses_head(imputer, choice):
        arrays = _head_arrays(imputer, panel, choice, 1, _marginal_reader(imputer, [0.5]))
    else:
        arrays = _sampled_arrays(imputer, panel, plan_for(imputer, choice), 1, read_median)
    return [values[0] for values in arrays]


def samples(imputer: Fitted, panel: Panel, choice: Choice, marginals: str) -> list[FloatArray]:
    """Samples (S, n_times_i, K)."""
    check_joint(choice)
    coupled = known_name("marginals", marginals, METHODS) == "head"
    if coupled:
        need_marginals(imputer.model_, "marginals='head'")
    plan = replace(plan_for(imputer, choice), mixture=False, antithetic=False)
    finish = finish_for(imputer, panel, plan.mode)
    series = imputer.model_.scaled(panel)
    stretches = _stretches(imputer, series, plan, finish.fillable)
    if coupled:
        heads = _head_stretches(imputer, series, choice, finish.fillable)
        stretches = _coupled(imputer, stretches, heads)
    return _arrays(imputer, finish, stretches, plan.n_samples, read_samples)


def bands(
    imputer: Fitted, panel: Panel, choice: Choice, levels: Sequence[float]
) -> list[FloatArray]:
    """The median that fills a hole, then quantiles: (1 + n_levels, n_times_i, K)."""
    if uses_head(imputer, choice):
        read_all = reader_for(imputer, choice, [0.5, *levels], panel.values)
        return _head_arrays(imputer, panel, choice, 1 + len(levels), read_all)
    read_quantiles = reader_for(imputer, choice, levels, panel.values)

    def read(part: Stretch) -> NDArray[np.floating]:
        return np.concatenate([read_median(part), read_quantiles(part)])

    return _sampled_arrays(imputer, panel, plan_for(imputer, choice), 1 + len(levels), read)


def quantiles(
    imputer: Fitted, panel: Panel, choice: Choice, levels: Sequence[float]
) -> list[FloatArray]:
    """Quantiles (n_levels, n_times_i, K)."""
    read = reader_for(imputer, choice, levels, panel.values)
    if uses_head(imputer, choice):
        return _head_arrays(imputer, panel, choice, len(levels), read)
    return _sampled_arrays(imputer, panel, plan_for(imputer, choice), len(levels), read)


def cell_quantiles(
    imputer: Fitted,
    series: Sequence[FloatArray],
    wanted: Sequence[BoolArray],
    choice: Choice,
    levels: Sequence[float],
) -> FloatArray:
    """Quantiles (n_levels, n_wanted) of wanted holes of scaled series, in scaled units."""
    values = [imputer.model_.side_shape.features(part) for part in series]
    read = reader_for(imputer, choice, levels, values)
    return np.asarray(read(wanted_cells(imputer, series, wanted, choice)), dtype=np.float64)


def wanted_cells(
    imputer: Fitted,
    series: Sequence[FloatArray],
    wanted: Sequence[BoolArray],
    choice: Choice,
) -> Stretch:
    """What a reader of `reader_for` reads: (S, n_wanted), of wanted holes of scaled series."""
    if uses_head(imputer, choice):
        return gathered(_head_stretches(imputer, series, choice, wanted), wanted)
    return gathered(_stretches(imputer, series, plan_for(imputer, choice), wanted), wanted)


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


def calibration_for(imputer: Fitted, choice: Choice) -> Calibration | None:
    """That of the call's way, if the model has any and the call does not do without.

    Raises
    ------
    InputError
        If all calibrations are of other ways to make quantiles.
    """
    known = imputer.model_.calibrations
    return known.needed(way_for(imputer, choice)) if known and choice.calibrated else None


def _sampled_arrays(
    imputer: Fitted, panel: Panel, plan: SamplingPlan, n: int, read: Read
) -> list[FloatArray]:
    finish = finish_for(imputer, panel, plan.mode)
    stretches = _stretches(imputer, imputer.model_.scaled(panel), plan, finish.fillable)
    return _arrays(imputer, finish, stretches, n, read)


def _arrays(
    imputer: Fitted, finish: Finish, stretches: Iterable[Stretch], n: int, read: Read
) -> list[FloatArray]:
    unscale = in_user_units(imputer.model_)
    return finish.apply(lay_out(finish.panel.values, stretches, n, read, unscale))


def in_user_units(model: FittedModel) -> Callable[[NDArray[np.floating]], FloatArray]:
    """Inverse of the scaling, within the range that a sample may take."""
    low, high = (bound.numpy() for bound in model.clamp_range())
    return lambda scaled: model.scaler.inverse(scaled.clip(low, high))


def _head_arrays(
    imputer: Fitted, panel: Panel, choice: Choice, n: int, read: Read
) -> list[FloatArray]:
    finish = finish_for(imputer, panel, mode_for(imputer, choice))
    stretches = _head_stretches(imputer, imputer.model_.scaled(panel), choice, finish.fillable)
    return _arrays(imputer, finish, stretches, n, read)


def _stretches(
    imputer: Fitted,
    series: Sequence[FloatArray],
    plan: SamplingPlan,
    wanted: Sequence[BoolArray],
) -> Iterator[Stretch]:
    from tqdm.auto import tqdm

    model = on_device(imputer)
    wanted = wanted if plan.origin is None else _last_rows(wanted)
    places = hole_windows(model, series, plan.overlap, wanted, plan.mode)
    n_steps = len(places) * len(model.grid)
    silent = imputer.verbose == 0 or n_steps == 0 or plan.origin is not None
    with tqdm(total=n_steps, desc="impute", unit="step", disable=silent) as bar:
        yield from sample_holes(model, series, plan, bar.update, wanted)


def _head_stretches(
    imputer: Fitted,
    series: Sequence[FloatArray],
    choice: Choice,
    wanted: Sequence[BoolArray],
) -> Iterator[Stretch]:
    model, device = on_device(imputer), resolve_device(imputer.device)
    wanted = wanted if choice.origin is None else _last_rows(wanted)
    mode = mode_for(imputer, choice)
    return head_quantiles(model, series, imputer.overlap, device, wanted, mode)


def _coupled(
    imputer: Fitted, stretches: Iterable[Stretch], heads: Iterable[Stretch]
) -> Iterator[Stretch]:
    """Samples of stretches with the marginals that the head has for the same stretches.

    Both are blended where windows overlap already: blending coupled samples would mix ranks.
    """
    for part, marginal in zip(stretches, heads, strict=True):
        read = _marginal_reader(imputer, even_levels(len(part.samples)))
        yield replace(part, samples=couple(part.samples, read(marginal)))


def _last_rows(wanted: Sequence[BoolArray]) -> list[BoolArray]:
    """What is wanted of the last row of each series."""
    return [cells & (np.arange(len(cells)) == len(cells) - 1)[:, None] for cells in wanted]


def on_device(imputer: Fitted) -> FittedModel:
    """The imputer's model, all of it on the imputer's device."""
    device = resolve_device(imputer.device)
    for module in imputer.model_.modules:
        module.to(device)
    return imputer.model_


def _marginal_reader(imputer: Fitted, levels: Sequence[float]) -> Read:
    marginals = imputer.model_.marginals
    assert marginals is not None
    return head_reader(marginals.levels, levels)
