"""A strategy of widths put to use: one width for each kept step of a model, 0 to leave it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.flops import evaluation_flops
from tsimpute.denoiser.slimmable import WHOLE, allowed_widths, narrow_config
from tsimpute.denoiser.step_widths import StepWidths
from tsimpute.errors import InputError
from tsimpute.model import FittedModel
from tsimpute.respacing import with_steps

SKIP = 0


def with_strategy(model: FittedModel, strategy: Sequence[int]) -> FittedModel:
    """The model with a width for each of its steps, without those of width 0.

    Steps that are left out are jumped over: the others keep the noise level that they have. Heads
    and measured numbers stay as they are.

    Parameters
    ----------
    model : FittedModel
        Trained for widths.
    strategy : sequence of int, length K
        In eighths, the cleanest step first.

    Raises
    ------
    InputError
        If the model was not trained for widths, there is not one width for each step, one would
        cut a head, or all are 0.
    """
    check_trained(model)
    choices = (SKIP, *allowed_widths(model.network.config))
    n_steps, given = len(model.grid), list(strategy)
    if len(given) != n_steps:
        raise InputError(
            f"widths: got {len(given)} of them, expected {n_steps}, one for each kept step, the "
            f"cleanest first; the kept steps are {model.grid.index.tolist()}"
        )
    for position, width in enumerate(given):
        whole_number = isinstance(width, int | np.integer) and not isinstance(width, bool)
        if not whole_number or width not in choices:
            raise InputError(
                f"widths[{position}]={width!r} cannot be used: it is no width or would cut one of "
                f"the heads={model.network.config.heads}; expected one of {list(choices)}, in "
                f"eighths of the channels, 0 to leave the step out"
            )
    kept = np.flatnonzero(given)
    if not len(kept):
        raise InputError("widths: got 0 for every step, expected at least one step to stay")
    widths = StepWidths(tuple(int(given[position]) for position in kept))
    return replace(with_steps(replace(model, widths=None), kept), widths=widths)


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
