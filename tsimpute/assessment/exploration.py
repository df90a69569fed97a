"""What the steps of a fitted model are worth, and what its settings cost: tables to choose from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from time import perf_counter
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd

from tsimpute.assessment.exam import Exam, ExamPlan, make_exam
from tsimpute.errors import InputError
from tsimpute.evaluation.pareto import pareto_front
from tsimpute.fitting.fit import Settings
from tsimpute.fitting.respacing import respaced, with_steps
from tsimpute.fitting.running import say
from tsimpute.fitting.training_data import TrainingData
from tsimpute.model import FittedModel
from tsimpute.panel.core import Panel
from tsimpute.samplers.wrapped import counting, on_longer_noise
from tsimpute.sampling.choices import STARTS, Choice, Fitted, plan_for, walk_for
from tsimpute.sampling.inference import SamplingPlan
from tsimpute.sampling.methods import FITTED_SAMPLERS, VARIANCES, known_sampler, method_for

USUAL_STEPS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
# Second and first order, with noise of their own and without, each at one evaluation a step.
USUAL_SAMPLERS = ("dpm-solver++2m-sde", "ddpm", "ddim", "unipc")
# "large" only where it is named: as variance of the last of few steps it is far too wide.
USUAL_VARIANCES = tuple(name for name in VARIANCES if name != "large")
MAX_WINDOWS = 16

T = TypeVar("T")
OnSteps = Callable[[int], object]
Row = tuple[dict[str, Any], FittedModel, SamplingPlan]
HEAD_ROW = {"sampler": "head", "variance": "", "start": "", "steps": 0, "n_samples": 0}


class Explored(Fitted, Settings, Protocol):
    """What exploring reads of an imputer."""


@dataclass(frozen=True)
class Survey:
    """What `speed_quality` tries.

    Attributes
    ----------
    steps : int or sequence of int, optional
        Default: 1, 2, 3, 5, 10, 20, … and all.
    samplers : str or sequence of str, optional
        Default: the imputer's own, `USUAL_SAMPLERS`, and what was fitted for this model.
    variances : str or sequence of str, optional
        Default: all that the model can use, but for "large".
    n_samples : int or sequence of int
    starts : str or sequence of str, optional
        Default: "noise", and "marginals" where the model has a marginal head.
    spacing : str
        How steps are chosen: a method of :func:`tsimpute.fitting.respacing.respaced`.
    hidden_fraction : float
        Share of the observed cells that is hidden.
    max_windows : int, optional
        About how many windows are sampled at most; None: all.
    """

    steps: Sequence[int] | int | None = None
    samplers: Sequence[str] | str | None = None
    variances: Sequence[str] | str | None = None
    n_samples: Sequence[int] | int = (16,)
    starts: Sequence[str] | str | None = None
    spacing: str = "uniform"
    hidden_fraction: float = 0.1
    max_windows: int | None = MAX_WINDOWS


def step_importance(
    imputer: Explored,
    panel: Panel,
    hidden_fraction: float = 0.1,
    max_windows: int | None = MAX_WINDOWS,
) -> pd.DataFrame:
    """CRPS without each single step (EDDPM, Zhang et al. 2024, Figure 1).

    All chains see the same hidden cells, and the same noise at the same levels.

    Parameters
    ----------
    imputer : Explored
        Its own sampler, variance and number of samples are used.
    panel : Panel
    hidden_fraction : float, default=0.1
        Share of the observed cells that is hidden.
    max_windows : int, default=16
        About how many windows are sampled at most; None: all.

    Returns
    -------
    DataFrame, indexed by `step`, the original 0-based diffusion step
        Columns `crps_without`, the normalised CRPS in scaled units, and `change`, relative to
        that of all steps, which is ``attrs["crps"]``: above 0 where the step helps.

    Raises
    ------
    InputError
        If the model has a single step, no cell can be hidden, or the sampler is "ggdm".
    """
    if walk_for(imputer, Choice())[0] == "ggdm":
        raise InputError(
            "step_importance cannot be used with sampler='ggdm', whose coefficients belong to all "
            "steps together; set another sampler"
        )
    whole, steps = imputer.model_, imputer.model_.grid.index
    n = len(steps)
    if n < 2:
        raise InputError("step_importance: got a model with one step, expected at least two")
    size = hidden_fraction, max_windows
    chosen = ExamPlan(imputer.seed_, imputer.overlap, *size, mode=imputer.mode)
    exam = make_exam(whole, panel, chosen)
    with _bar(imputer, "step importance", exam.n_windows * (n + n * (n - 1))) as on_steps:
        plan = plan_for(imputer, Choice())
        crps = exam.scores(exam.quantiles(whole, plan, on_steps))["crps"]
        without = [_crps_without(imputer, exam, position, on_steps) for position in range(n)]
    columns = {"crps_without": without, "change": np.array(without) / crps - 1}
    table = pd.DataFrame(columns, index=pd.Index(steps, name="step"))
    table.attrs["crps"] = crps
    return table


def speed_quality(
    imputer: Explored, data: TrainingData, survey: Survey | None = None
) -> pd.DataFrame:
    """Scores and costs of step counts, samplers, variances and sample counts.

    Parameters
    ----------
    imputer : Explored
        Its `antithetic` and `overlap` hold for all rows.
    data : TrainingData
        Also what a spacing by errors is measured on, with its patterns.
    survey : Survey, optional
        What is tried. A sampler that cannot go with a variance or with some number of steps is
        left out there.

    Returns
    -------
    DataFrame, one row a setting
        `sampler`, `variance`, `start`, `steps`, `n_samples`; `nfe_per_window`, evaluations of the
        network for one window and all samples, where a Jacobian-vector product counts as three;
        `crps`, normalised, in scaled units; `coverage_50` and `coverage_90`, of quantiles that are
        not calibrated; `seconds` for all windows, of which there are ``attrs["n_windows"]``;
        `pareto`, True where no other row has a lower CRPS for as few evaluations. The marginal
        head, where the model has one, is a row of its own: sampler "head", no steps or samples.

    Raises
    ------
    InputError
        If a name is unknown, a named setting goes with none of the others (the message says what
        it needs), there are not so many steps, or no cell can be hidden.
    """
    survey = Survey() if survey is None else survey
    rows = _planned(imputer, data, survey)
    size = survey.hidden_fraction, survey.max_windows
    chosen = ExamPlan(imputer.seed_, imputer.overlap, *size, mode=imputer.mode)
    exam = make_exam(imputer.model_, data.panel, chosen)
    work = sum(len(model.grid) * plan.n_samples for _, model, plan in rows) * exam.n_windows
    say(
        imputer,
        f"speed_quality: {len(rows)} settings on {exam.n_windows} windows, {work:,} evaluations of "
        f"the network for one window (more where a sampler takes several a step)",
    )
    found = []
    with _bar(imputer, "speed and quality", work) as on_steps:
        _, model, plan = rows[0]
        exam.quantiles(model, replace(plan, n_samples=1), _nothing)  # a first call takes longer
        for names, model, plan in rows:
            found.append({**names, **_measured(model, exam, plan, on_steps)})
    if imputer.model_.marginals is not None:
        found.append({**HEAD_ROW, **_head_measured(imputer.model_, exam, rows[0][2])})
    table = pd.DataFrame(found)
    table["pareto"] = pareto_front(table["nfe_per_window"], table["crps"])
    table.attrs["n_windows"] = exam.n_windows
    return table


def _crps_without(imputer: Explored, exam: Exam, position: int, on_steps: OnSteps) -> float:
    kept = np.delete(np.arange(len(imputer.model_.grid)), position)
    model = with_steps(imputer.model_, kept)
    plan = plan_for(_with(imputer, model, imputer.start), Choice())
    walk = on_longer_noise(plan.method.sampler, kept.tolist(), len(kept) + 1)
    plan = replace(plan, method=replace(plan.method, sampler=walk))
    return exam.scores(exam.quantiles(model, plan, on_steps))["crps"]


def _planned(imputer: Explored, data: TrainingData, survey: Survey) -> list[Row]:
    """Every setting of a survey that fits, with its model and its plan."""
    whole, available = imputer.model_, len(imputer.model_.grid)
    usual = [*(n for n in USUAL_STEPS if n < available), available]
    models = [
        respaced(imputer, whole, survey.spacing, n_steps, data)
        for n_steps in _several(survey.steps, usual)
    ]
    starts = _several(survey.starts, ("noise",) if whole.marginals is None else STARTS)
    rows: list[Row] = []
    for (model, sampler, variance), start, n in product(
        _fitting(imputer, models, survey), starts, _several(survey.n_samples)
    ):
        names = {"sampler": sampler, "variance": variance, "start": start}
        choice = Choice(n, sampler=sampler, variance=variance)
        plan = plan_for(_with(imputer, model, start), choice)
        rows.append(({**names, "steps": len(model.grid), "n_samples": n}, model, plan))
    if not rows:
        raise InputError(f"speed_quality: got no setting to try in {survey}; name some of each")
    return rows


def _fitting(
    imputer: Explored, models: list[FittedModel], survey: Survey
) -> list[tuple[FittedModel, str, str]]:
    """Models, samplers and variances that go together; what is named must go with some."""
    usual = (imputer.sampler, *USUAL_SAMPLERS, *FITTED_SAMPLERS)
    samplers = [*dict.fromkeys(map(known_sampler, _several(survey.samplers, usual)))]
    variances = _several(survey.variances, USUAL_VARIANCES)
    tried = [(one, _refusal(*one)) for one in product(models, samplers, variances)]
    named = [] if survey.samplers is None else [(1, name) for name in samplers]
    named += [] if survey.variances is None else [(2, name) for name in variances]
    for place, name in named:
        errors = [error for one, error in tried if one[place] == name]
        if errors and None not in errors:
            raise next(error for error in errors if error is not None)
    return [one for one, error in tried if error is None]


def _several(named: T | Iterable[T] | None, usual: Iterable[T] = ()) -> tuple[T, ...]:
    """What was named, where one string or number counts as a sequence of one; else the usual."""
    if named is None:
        return tuple(usual)
    if isinstance(named, str) or not isinstance(named, Iterable):
        return (named,)
    return tuple(named)


def _refusal(model: FittedModel, sampler: str, variance: str) -> InputError | None:
    try:
        method_for(model, sampler, variance)
    except InputError as error:
        return error
    return None


def _measured(
    model: FittedModel, exam: Exam, plan: SamplingPlan, on_steps: OnSteps
) -> dict[str, float]:
    """Cost and scores of one setting."""
    calls: list[int] = []
    method = replace(plan.method, sampler=counting(plan.method.sampler, calls))
    n = plan.n_samples
    begin = perf_counter()
    quantiles = exam.quantiles(model, replace(plan, method=method), lambda w: on_steps(w * n))
    seconds = perf_counter() - begin
    evaluations = calls[0] * n + int(plan.corrected_start)
    return {"nfe_per_window": evaluations, **exam.scores(quantiles), "seconds": seconds}


def _head_measured(model: FittedModel, exam: Exam, plan: SamplingPlan) -> dict[str, float]:
    """Cost and scores of the marginal head."""
    begin = perf_counter()
    quantiles = exam.head_quantiles(model, plan)
    seconds = perf_counter() - begin
    return {"nfe_per_window": 1, **exam.scores(quantiles), "seconds": seconds}


def _with(imputer: Explored, model: FittedModel, start: str) -> Explored:
    view = copy.copy(imputer)
    view.model_, view.start = model, start
    return view


@contextmanager
def _bar(imputer: Explored, label: str, total: int) -> Iterator[OnSteps]:
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=label, unit="step", disable=imputer.verbose == 0) as bar:
        yield bar.update


def _nothing(_: int) -> None:
    pass
