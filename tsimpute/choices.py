"""How one call to a fitted imputer is answered: its own settings, and what the call asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sklearn.utils import check_random_state

from tsimpute.arguments import check_count
from tsimpute.errors import InputError
from tsimpute.finishing import FittedRules
from tsimpute.inference import SamplingPlan
from tsimpute.methods import FITTED_SAMPLERS, SAMPLER_NAMES, VARIANCES, known_name, method_for
from tsimpute.model import FittedModel, resolve_device
from tsimpute.panel.modes import MODES
from tsimpute.placing import Place

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
    known_name("mode", imputer.mode, MODES)
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


def plan_for(imputer: Fitted, choice: Choice) -> SamplingPlan:
    """How an imputer samples for one call."""
    n = imputer.n_samples if choice.n_samples is None else choice.n_samples
    check_count("n_samples", n)
    seed = imputer.seed_
    if choice.random_state is not None:
        seed = int(check_random_state(choice.random_state).randint(2**31 - 1))
    sampler, variance = choice.sampler or imputer.sampler, choice.variance or imputer.variance
    corrected = known_name("start", imputer.start, STARTS) == "marginals"
    if corrected:
        need_marginals(imputer.model_, "start='marginals'")
    return SamplingPlan(
        int(n),
        seed,
        imputer.overlap,
        resolve_device(imputer.device),
        method_for(imputer.model_, sampler, variance),
        mixture=variance != "fixed" or sampler == "ggdm",
        antithetic=imputer.antithetic,
        corrected_start=corrected,
        mode=mode_for(imputer, choice),
        origin=choice.origin,
    )


def mode_for(imputer: Fitted, choice: Choice) -> str:
    """Which windows answer for a hole: those of the imputer's mode, or of the past."""
    return known_name("mode", imputer.mode if choice.origin is None else "online", MODES)


def way_for(imputer: Fitted, choice: Choice) -> dict[str, str]:
    """How a call's quantiles are made: what a calibration of them depends on."""
    mode = mode_for(imputer, choice)
    besides = {} if mode == "offline" else {"mode": mode}
    if uses_head(imputer, choice):
        return {"method": "head", **besides}
    sampler, variance = choice.sampler or imputer.sampler, choice.variance or imputer.variance
    way = {"method": "samples", "sampler": sampler, "variance": variance}
    return {**way, "start": imputer.start, **besides}


def uses_head(imputer: Fitted, choice: Choice) -> bool:
    """Whether a call asks the marginal head; it must be there then."""
    name = imputer.method if choice.method is None else choice.method
    if known_name("method", name, METHODS) == "samples":
        return False
    need_marginals(imputer.model_, "method='head'")
    return True


def need_marginals(model: FittedModel, what: str) -> None:
    """Raise InputError if a model has no marginal head."""
    if model.marginals is None:
        raise InputError(
            f"{what} needs a marginal head, which this model does not have; call "
            f"fit_marginals(X) on the fitted imputer"
        )
