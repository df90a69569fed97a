"""Samplers and variances by name, for the model at hand."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from tsimpute.denoiser.heads import OutputHead
from tsimpute.errors import InputError
from tsimpute.model import FittedModel
from tsimpute.samplers.catalogue import SAMPLERS
from tsimpute.samplers.ddim import ddim
from tsimpute.samplers.genie import genie_distilled
from tsimpute.samplers.ggdm import ggdm
from tsimpute.samplers.protocol import ReverseVariance, Sampler
from tsimpute.samplers.tdas import tdas
from tsimpute.samplers.variance import analytic, fixed, large, noise_residual, squared_noise

FREE_VARIANCES: dict[str, ReverseVariance] = {"fixed": fixed, "large": large}
HEAD_VARIANCES: dict[str, ReverseVariance] = {
    "crps": noise_residual,
    "npr": noise_residual,
    "sn": squared_noise,
}
FITTED_SAMPLERS = ("genie-distilled", "ggdm", "tdas")
# Samplers for which a variance has no place, and why.
OWN_READING = {
    "genie-distilled": "reads a derivative from the network's second output",
    "ggdm": "has learned its own noise",
}
SAMPLER_NAMES = (*SAMPLERS, *FITTED_SAMPLERS)
VARIANCES = (*FREE_VARIANCES, "analytic", *HEAD_VARIANCES)


@dataclass(frozen=True)
class Method:
    """How a chain is walked: sampler, variance, and the head that the variance reads, if any."""

    sampler: Sampler
    variance: ReverseVariance
    head: OutputHead | None = None


DEFAULT_METHOD = Method(SAMPLERS["ddpm"], fixed)


def method_for(model: FittedModel, sampler: str, variance: str) -> Method:
    """Find a sampler and a variance by their names.

    Raises
    ------
    InputError
        If a name is unknown, or the model lacks what the variance needs; the message says how
        to get it.
    """
    sampler = known_sampler(sampler)
    check_together(sampler, variance)
    if sampler in OWN_READING:
        return _fitted_method(model, sampler)
    walk = _fitted_tdas(model) if sampler == "tdas" else _plain_walk(sampler)
    if variance in FREE_VARIANCES:
        return Method(walk, FREE_VARIANCES[variance])
    if variance == "analytic":
        return Method(walk, analytic(_noise_power(model)))
    if variance not in model.heads:
        raise InputError(f"variance={variance!r} needs a head that {_how_to_get(variance)}")
    return Method(walk, HEAD_VARIANCES[variance], model.heads[variance])


def known_name(parameter: str, name: object, names: Iterable[str]) -> str:
    """The name, if it is one of the names.

    Raises
    ------
    InputError
        If it is not; the message proposes the nearest one and lists all.
    """
    known = list(names)
    if isinstance(name, str) and name in known:
        return name
    folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(str(name).strip().casefold(), folded, n=1)
    proposal = f"; did you mean {folded[near[0]]!r}?" if near else ""
    raise InputError(f"{parameter}={name!r} is unknown; expected one of {known}{proposal}")


def known_sampler(name: object) -> str:
    """The name of a sampler as it is written everywhere: "ddim(.50)" is "ddim(0.5)".

    Raises
    ------
    InputError
        If it is unknown, or an eta lies outside [0, 1].
    """
    eta = _eta(name)
    if eta is None:
        return known_name("sampler", name, [*SAMPLERS, *FITTED_SAMPLERS])
    return f"ddim({eta!r})" if eta else "ddim"


def known_variance(name: object) -> str:
    """The name of a variance; InputError if it is unknown."""
    return known_name("variance", name, VARIANCES)


def check_together(sampler: str, variance: str) -> None:
    """Check a variance, and whether a sampler can be told of it.

    Raises
    ------
    InputError
        If it is unknown, or the sampler has no use for it.
    """
    known_variance(variance)
    if sampler in OWN_READING and variance != "fixed":
        raise InputError(
            f"variance={variance!r} cannot be used with sampler={sampler!r}, which "
            f"{OWN_READING[sampler]}; set variance='fixed'"
        )


def _eta(name: object) -> float | None:
    """Eta of a name such as "ddim(0.5)"; None of any other name."""
    if not (isinstance(name, str) and name.startswith("ddim(") and name.endswith(")")):
        return None
    try:
        eta = float(name[len("ddim(") : -1])
    except ValueError:
        eta = math.nan
    if not 0 <= eta <= 1:
        raise InputError(
            f"sampler={name!r} cannot be used; expected 'ddim(eta)' with an eta from 0 (no noise, "
            f"as 'ddim') to 1 (as much as 'ddpm'), for example 'ddim(0.5)'"
        )
    return eta


def _plain_walk(sampler: str) -> Sampler:
    eta = _eta(sampler)
    return SAMPLERS[sampler] if eta is None else partial(ddim, eta=eta)


def _fitted_method(model: FittedModel, sampler: str) -> Method:
    if sampler == "genie-distilled":
        if sampler not in model.heads:
            raise InputError(_sampler_missing(sampler, "a head for its present network and steps"))
        return Method(genie_distilled, fixed, model.heads[sampler])
    found = model.ggdm
    if found is None or not np.array_equal(found.alpha_bar, model.grid.alpha_bar):
        raise InputError(_sampler_missing(sampler, "coefficients for its present steps"))
    return Method(ggdm(found), fixed)


def _fitted_tdas(model: FittedModel) -> Sampler:
    if model.spectrum is None:
        raise InputError(_sampler_missing("tdas", "a temporal spectrum"))
    return tdas(torch.from_numpy(model.spectrum))


def _sampler_missing(name: str, what: str) -> str:
    return (
        f"sampler={name!r} needs {what}, which this model does not have; call "
        f"fit_sampler(X, {name!r}) on the fitted imputer"
    )


def _noise_power(model: FittedModel) -> dict[int, float]:
    power = model.noise_power
    if power is None or np.isnan(power[model.grid.index]).any():
        raise InputError(f"variance='analytic' needs numbers that {_how_to_get('analytic')}")
    return {int(step): float(power[step]) for step in model.grid.index}


def _how_to_get(kind: str) -> str:
    return (
        f"this model does not have for its present steps; call fit_variance(X, {kind!r}) on the "
        f"fitted imputer, or fit with variance={kind!r}"
    )
