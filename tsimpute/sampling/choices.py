"""How one call to a fitted imputer is answered: its own settings, and what the call asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sklearn.utils import check_random_state

from tsimpute.arguments import check_count
from tsimpute.errors import InputError
from tsimpute.model import FittedModel, resolve_device
from tsimpute.panel.modes import MODES
from tsimpute.sampling.finishing import FittedRules
from tsimpute.sampling.inference import SamplingPlan
from tsimpute.sampling.methods import (
    OWN_READING,
    check_together,
    known_name,
    known_sampler,
    known_variance,
    method_for,
)
from tsimpute.sampling.placing import Place
from tsimpute.settings import DEFAULT_VARIANCE

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
    mode: str
    calibrate: bool
    device: str
    verbose: int


@dataclass(frozen=True)
class Choice:
    """What one call asks for; None stands for the imputer's own setting.

    Unless `calibrated` is False, quantiles of a calibrated model are calibrated. With an
    `origin`, only the last row of each series is answered, from the past alone, and the first
    row of the first series stands for that (series, row).
    """

    n_samples: int | None = None
    random_state: Any = None
    method: str | None = None
    sampler: str | None = None
    variance: str | None = None
    calibrated: bool = True
    origin: Place | None = None


def check_choices(imputer: Fitted, old: FittedModel | None = None) -> None:
    """Check the names that an imputer was given, before it is trained.

    Parameters
    ----------
    imputer : Fitted
        Need not be fitted yet.
    old : FittedModel, optional
        What is trained on; its marginal head and its temporal spectrum stay.

    Raises
    ------
    InputError
        Naming the parameter and the names that it knows, or the two that do not go together.
    """
    check_together(*walk_for(imputer, Choice()))
    known_name("start", imputer.start, STARTS)
    known_name("method", imputer.method, METHODS)
    known_name("mode", imputer.mode, MODES)
    if imputer.calibrate:
        _check_calibrated(imputer, old)


def _check_calibrated(imputer: Fitted, old: FittedModel | None) -> None:
    """Raise InputError if what a calibration reads will not be there when training ends."""
    later = [("sampler", name) for name in OWN_READING]
    if old is None or old.marginals is None:
        later += [("method", "head"), ("start", "marginals")]
    if old is None or old.spectrum is None:
        later += [("sampler", "tdas")]
    for name, value in later:
        if getattr(imputer, name) == value:
            raise InputError(
                f"calibrate=True cannot be used with {name}={value!r}, which is learned after "
                f"training; set calibrate=False, and call fit_calibration(X) at last"
            )


def plan_for(imputer: Fitted, choice: Choice) -> SamplingPlan:
    """How an imputer samples for one call."""
    n = imputer.n_samples if choice.n_samples is None else choice.n_samples
    check_count("n_samples", n)
    sampler, variance = walk_for(imputer, choice)
    corrected = known_name("start", imputer.start, STARTS) == "marginals"
    if corrected:
        need_marginals(imputer.model_, "start='marginals'")
    return SamplingPlan(
        int(n),
        seed_for(imputer, choice),
        imputer.overlap,
        resolve_device(imputer.device),
        method_for(imputer.model_, sampler, variance),
        mixture=variance != "fixed" or sampler == "ggdm",
        antithetic=imputer.antithetic,
        corrected_start=corrected,
        mode=mode_for(imputer, choice),
        origin=choice.origin,
    )


def seed_for(imputer: Fitted, choice: Choice) -> int:
    """Seed behind the samples of one call."""
    if choice.random_state is None:
        return imputer.seed_
    return int(check_random_state(choice.random_state).randint(2**31 - 1))


def walk_for(imputer: Fitted, choice: Choice) -> tuple[str, str]:
    """Sampler and variance of one call, by name.

    A sampler that has no use for a variance takes "fixed" where none was named: neither in the
    call nor, by another value than the default, to the imputer.
    """
    sampler = known_sampler(imputer.sampler if choice.sampler is None else choice.sampler)
    if choice.variance is not None:
        return sampler, choice.variance
    unnamed = sampler in OWN_READING and imputer.variance == DEFAULT_VARIANCE
    return sampler, "fixed" if unnamed else imputer.variance


def mode_for(imputer: Fitted, choice: Choice) -> str:
    """Which windows answer for a hole: those of the imputer's mode, or of the past."""
    return known_name("mode", imputer.mode if choice.origin is None else "online", MODES)


def way_for(imputer: Fitted, choice: Choice) -> dict[str, str]:
    """How a call's quantiles are made: what a calibration of them depends on."""
    mode = mode_for(imputer, choice)
    besides = {} if mode == "offline" else {"mode": mode}
    if uses_head(imputer, choice):
        return {"method": "head", **besides}
    sampler, variance = walk_for(imputer, choice)
    way = {"method": "samples", "sampler": sampler, "variance": variance}
    return {**way, "start": imputer.start, **besides}


def uses_head(imputer: Fitted, choice: Choice) -> bool:
    """Whether a call asks the marginal head; it must be there then, and nothing else be named."""
    name = imputer.method if choice.method is None else choice.method
    if known_name("method", name, METHODS) == "samples":
        return False
    _check_unsampled(choice)
    need_marginals(imputer.model_, "method='head'")
    return True


def check_joint(choice: Choice) -> None:
    """Raise InputError if a call for samples asks the marginal head, which has none."""
    if choice.method is not None and known_name("method", choice.method, METHODS) == "head":
        raise InputError(
            "method='head' describes each cell alone and gives no joint samples; call sample(X), "
            "or sample(X, marginals='head')"
        )


def _check_unsampled(choice: Choice) -> None:
    """Check what a call that does not sample says of sampling."""
    if choice.n_samples is not None:
        check_count("n_samples", choice.n_samples)
    for name, known in (("sampler", known_sampler), ("variance", known_variance)):
        value = getattr(choice, name)
        if value is not None:
            known(value)
            raise InputError(
                f"{name}={value!r} cannot be used with method='head', which does not sample; leave "
                f"it out, or pass method='samples'"
            )


def need_marginals(model: FittedModel, what: str) -> None:
    """Raise InputError if a model has no marginal head."""
    if model.marginals is None:
        raise InputError(
            f"{what} needs a marginal head, which this model does not have; call "
            f"fit_marginals(X) on the fitted imputer"
        )
