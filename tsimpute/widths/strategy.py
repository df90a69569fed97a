"""A strategy of widths put to use: one width for each kept step of a model, 0 to leave it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tsimpute.arguments import is_whole
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.flops import evaluation_flops
from tsimpute.denoiser.slimmable import WHOLE, allowed_widths, narrow_config
from tsimpute.denoiser.step_widths import Level, StepWidths
from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.errors import InputError
from tsimpute.evaluation.calibrations import NO_CALIBRATIONS
from tsimpute.fitting.respacing import with_steps
from tsimpute.model import FittedModel

SKIP = 0


def with_strategy(model: FittedModel, strategy: Sequence[int]) -> FittedModel:
    """The model with a width for each of its steps, without those of width 0.

    Steps that are left out are jumped over: the others keep the noise level that they have. Those
    that an earlier strategy left out are there again. Heads and measured numbers stay as they are.

    Parameters
    ----------
    model : FittedModel
        Trained for widths.
    strategy : sequence of int, length K
        In eighths, the cleanest step first; one for each step of ``with_all_steps(model)``.

    Raises
    ------
    InputError
        If the model was not trained for widths, there is not one width for each step, one would
        cut a head, or all are 0.
    """
    check_trained(model)
    model = with_all_steps(model)
    given = _checked(strategy, model)
    kept = np.flatnonzero(given)
    skipped = [level for level, width in zip(_levels(model.grid), given, strict=True) if not width]
    widths = StepWidths(tuple(given[position] for position in kept), tuple(skipped))
    return replace(with_steps(replace(model, widths=None), kept), widths=widths)


def with_all_steps(model: FittedModel) -> FittedModel:
    """The model as it was before a strategy left steps out; the network is whole at each then."""
    if model.widths is None or not model.widths.skipped:
        return model
    levels = sorted([*_levels(model.grid), *model.widths.skipped])
    grid = model.schedule.grid(*map(np.array, zip(*levels, strict=True)))
    return replace(
        model, grid=grid, widths=StepWidths.whole(len(grid)), calibrations=NO_CALIBRATIONS
    )


def _levels(grid: TimeGrid) -> list[Level]:
    columns = grid.index.tolist(), grid.alpha_bar.tolist(), grid.network_step.tolist()
    return list(zip(*columns, strict=True))


def _checked(strategy: Any, model: FittedModel) -> list[int]:
    """A strategy for all steps of a model, in plain numbers."""
    steps = model.grid.index.tolist()
    expected = f"expected {len(steps)}, one for each kept step, the cleanest first"
    try:
        given = list(strategy)
    except TypeError:
        raise InputError(f"widths={strategy!r} cannot be used; {expected}, as a list") from None
    if len(given) != len(steps):
        raise InputError(
            f"widths: got {len(given)} of them, {expected}; the kept steps are {steps}"
        )
    choices = (SKIP, *allowed_widths(model.network.config))
    for position, width in enumerate(given):
        if not is_whole(width) or width not in choices:
            raise InputError(
                f"widths[{position}]={width!r} cannot be used: it is no width or would cut one of "
                f"the heads={model.network.config.heads}; expected one of {list(choices)}, in "
                f"eighths of the channels, 0 to leave the step out"
            )
    if not any(given):
        raise InputError("widths: got 0 for every step, expected at least one step to stay")
    return [int(width) for width in given]


def check_trained(model: FittedModel) -> None:
    """Refuse a model whose network was trained as a whole only.

    Raises
    ------
    InputError
        Saying how to train it.
    """
    if model.widths is None:
        raise InputError(
            "widths: got a model whose network was trained at its whole width only, expected one "
            "that was trained at every width; call train_widths(X) on it, or fit with "
            "slimmable=True"
        )


def flops_share(config: DenoiserConfig, length: int, strategy: Sequence[int]) -> float:
    """Operations of one sample by a strategy, as a share of those with the whole network.

    Parameters
    ----------
    config : DenoiserConfig
        Of the whole network.
    length : int
        Rows of a window.
    strategy : sequence of int
        In eighths; 0 costs nothing.
    """
    each = [evaluation_flops(narrow_config(config, width), length) for width in strategy if width]
    return sum(each) / (len(strategy) * evaluation_flops(narrow_config(config, WHOLE), length))
