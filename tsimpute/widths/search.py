"""Which width for which step: a search by the quality and the cost of imputation (DDSM)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch.nn import Module

from tsimpute.arguments import check_count, check_number, check_switch
from tsimpute.assessment.exam import Exam, ExamPlan, make_exam
from tsimpute.assessment.exploration import Explored
from tsimpute.denoiser.slimmable import allowed_widths
from tsimpute.errors import InputError
from tsimpute.fitting.heads import with_variance_at_all_widths
from tsimpute.fitting.running import say
from tsimpute.fitting.training_data import TrainingData
from tsimpute.model import FittedModel
from tsimpute.panel.core import Panel
from tsimpute.samplers.wrapped import on_longer_noise
from tsimpute.sampling.choices import Choice, plan_for
from tsimpute.sampling.methods import FREE_VARIANCES, OWN_READING
from tsimpute.storage.plain import plain_value
from tsimpute.training.evolution import Evolution, Strategy, check_pymoo, evolve
from tsimpute.widths.progress import SearchBar, Work
from tsimpute.widths.score_file import ScoreFile, digest
from tsimpute.widths.strategy import (
    SKIP,
    check_trained,
    flops_share,
    with_all_steps,
    with_strategy,
)
from tsimpute.widths.training import without_readings

_COUNTS = ("max_windows", "n_samples", "final_windows", "final_samples", "finalists", "n_batches")
# Parameters of the imputer that scores depend on: directly, or by way of a learned variance.
_DIRECTLY = ("sampler", "variance", "start", "antithetic", "overlap", "mode", "seed_")
_BY_VARIANCE = ("target_strategy", "batch_size", "train_stride", "validation_fraction")
# And what they depend on of the search.
_EXAMS = ("seed", "hidden_fraction", "max_windows", "n_samples", "final_windows", "final_samples")


@dataclass(frozen=True)
class WidthSearch:
    """How `search_widths` searches.

    Attributes
    ----------
    flops_weight : float
        What all operations are worth, as a share of the CRPS of the whole network.
    seed : int
        Of the hidden cells.
    evolution : Evolution
    skip : bool
        Whether a step may be left out.
    hidden_fraction : float
        Share of the observed cells that is hidden.
    max_windows, n_samples : int
        Behind the score of each strategy.
    final_windows, final_samples : int
        Behind the second score, of those that did best.
    finalists : int
        How many these are, besides the whole network at all steps.
    n_batches : int
        Batches of windows that a variance is learned from.
    checkpoint : str or Path, optional
        File of the scores so far.
    """

    flops_weight: float = 0.1
    seed: int = 0
    evolution: Evolution = field(default_factory=Evolution)
    skip: bool = True
    hidden_fraction: float = 0.1
    max_windows: int = 8
    n_samples: int = 4
    final_windows: int = 32
    final_samples: int = 16
    finalists: int = 5
    n_batches: int = 100
    checkpoint: str | Path | None = None

    def __post_init__(self) -> None:
        check_number("flops_weight", self.flops_weight, least=0)
        check_switch("skip", self.skip)
        for name in _COUNTS:
            check_count(name, getattr(self, name))


@dataclass(frozen=True)
class Judge:
    """Scores strategies on the same hidden cells with the same noise at the same steps.

    Attributes
    ----------
    imputer : Explored
        Its sampler, variance and start are used.
    model : FittedModel
        With what its variance reads at every width.
    exam : Exam
    n_samples : int
    """

    imputer: Explored
    model: FittedModel
    exam: Exam
    n_samples: int

    def crps(self, strategy: Strategy) -> float:
        """Normalised CRPS, in scaled units."""
        view = copy.copy(self.imputer)
        view.model_ = with_strategy(self.model, strategy)
        plan = plan_for(view, Choice(self.n_samples))
        kept = np.flatnonzero(strategy).tolist()
        walk = on_longer_noise(plan.method.sampler, kept, len(strategy))
        plan = replace(plan, method=replace(plan.method, sampler=walk))
        return self.exam.scores(self.exam.quantiles(view.model_, plan, _nothing))["crps"]


def searched(
    imputer: Explored, data: TrainingData, search: WidthSearch
) -> tuple[FittedModel, pd.DataFrame]:
    """The imputer's model with the best strategy, and a table of all strategies that were tried.

    Returns
    -------
    FittedModel
        Without variance heads, which belong to the widths that the network had.
    DataFrame, one row a strategy
        `widths`, a tuple in eighths, cleanest step first; `flops_share`; `crps_few`, on few
        windows; for the finalists `crps`, on more, and `score`, what was minimised: the CRPS
        relative to that of the whole network, plus `flops_weight` times `flops_share`; `chosen`.

    Raises
    ------
    InputError
        If the model was not trained for widths, the sampler is fitted to its steps, or no cell
        can be hidden.
    MissingExtraError
        If pymoo is not installed.
    """
    _check(imputer)
    model = with_all_steps(imputer.model_)
    few, more = (_exam(imputer, data.panel, search, final) for final in (False, True))
    scores = ScoreFile.open(search.checkpoint, _settings(imputer, model, data, search))
    work = _work(imputer, model, search, few, more)
    _announce(imputer, search, work, len(model.grid))
    with SearchBar(work, silent=imputer.verbose == 0) as bar:
        readable = _readable(imputer, model, data, search, bar)
        first = Judge(imputer, readable, few, search.n_samples)
        last = Judge(imputer, readable, more, search.final_samples)
        table = _table(_tried(imputer, first, search, scores, bar))
        bar.before_finalists()
        for row in _finalists(table, search):
            table.loc[row, "crps"] = scores.get("more", table["widths"][row], last.crps)
            bar.add(work.more)
        bar.finish()
    _choose(table, search.flops_weight)
    best = with_strategy(model, table.loc[table["chosen"], "widths"].item())
    return without_readings(best), table


def _tried(
    imputer: Explored, judge: Judge, search: WidthSearch, scores: ScoreFile, bar: SearchBar
) -> dict[Strategy, tuple[float, float]]:
    """Strategies with what they are judged by, in the order in which they were tried."""
    model, tried = judge.model, dict[Strategy, tuple[float, float]]()
    cost = partial(flops_share, model.network.config, model.window_steps)

    def objectives(strategy: Strategy) -> tuple[float, float]:
        tried[strategy] = scores.get("few", strategy, judge.crps), cost(strategy)
        bar.add(bar.work.few)
        return tried[strategy]

    steps, after = len(model.grid), bar.after_generation
    try:
        evolve(objectives, _choices(model, search), steps, search.evolution, after)
    except KeyboardInterrupt:
        if not tried:
            raise
        say(imputer, f"stopped by the user; the best of {len(tried)} strategies will be used")
    return tried


def _check(imputer: Explored) -> None:
    check_trained(imputer.model_)
    if imputer.sampler in OWN_READING:
        raise InputError(
            f"sampler={imputer.sampler!r} is fitted to the model's present steps and widths, which "
            f"the search changes; search with another, for example set_params(sampler='ddpm'), "
            f"and call fit_sampler afterwards"
        )
    check_pymoo()


def _exam(imputer: Explored, panel: Panel, search: WidthSearch, final: bool) -> Exam:
    windows = search.final_windows if final else search.max_windows
    size = search.hidden_fraction, windows
    plan = ExamPlan(search.seed + final, imputer.overlap, *size, mode=imputer.mode)
    return make_exam(imputer.model_, panel, plan)


def _work(
    imputer: Explored, model: FittedModel, search: WidthSearch, few: Exam, more: Exam
) -> Work:
    n_steps, evolution = len(model.grid), search.evolution
    is_free = imputer.variance in FREE_VARIANCES
    return Work(
        0 if is_free else search.n_batches * imputer.batch_size,
        evolution.population,
        evolution.generations,
        few.n_windows * search.n_samples * n_steps,
        search.finalists + 1,
        more.n_windows * search.final_samples * n_steps,
    )


def _announce(imputer: Explored, search: WidthSearch, work: Work, n_steps: int) -> None:
    each = work.few // (search.n_samples * n_steps), work.more // (search.final_samples * n_steps)
    say(
        imputer,
        f"tsimpute: searching a width for each of {n_steps} steps; at most "
        f"{work.population * work.generations} strategies by {each[0]} windows and "
        f"{search.n_samples} samples, then {work.finalists} by {each[1]} and "
        f"{search.final_samples}: up to {work.total:,} windows go through the network; Ctrl-C "
        f"ends the search with what was tried",
    )


def _readable(
    imputer: Explored, model: FittedModel, data: TrainingData, search: WidthSearch, bar: SearchBar
) -> FittedModel:
    """The model with its variance learned at every width, so that all strategies can be read."""
    if imputer.variance in FREE_VARIANCES:
        return model
    what = imputer.variance, search.n_batches
    after_batch = partial(bar.add, imputer.batch_size)
    readable = with_variance_at_all_widths(imputer, model, data, *what, after_batch)
    bar.after_variance()
    return readable


def _choices(model: FittedModel, search: WidthSearch) -> tuple[int, ...]:
    widths = allowed_widths(model.network.config)
    return (SKIP, *widths) if search.skip else widths


def _settings(
    imputer: Explored, model: FittedModel, data: TrainingData, search: WidthSearch
) -> dict[str, Any]:
    """All that a score depends on, as plain data."""
    used: list[Module] = [model.network]
    if imputer.start == "marginals" and model.marginals is not None:
        used.append(model.marginals)
    weights = [w.detach().cpu().numpy() for module in used for w in module.parameters()]
    found = {
        **{name: getattr(imputer, name) for name in (*_DIRECTLY, *_BY_VARIANCE)},
        **{name: getattr(search, name) for name in (*_EXAMS, "n_batches")},
        "levels": model.grid.alpha_bar,
        "weights": digest(weights),
        "data": digest([*model.scaled(data.panel), *(data.pattern_values or ())]),
    }
    return {name: plain_value(value) for name, value in found.items()}


def _table(found: dict[Strategy, tuple[float, float]]) -> pd.DataFrame:
    crps, share = zip(*found.values(), strict=True)
    columns = {"widths": list(found), "flops_share": share, "crps_few": crps}
    return pd.DataFrame(columns).assign(crps=np.nan, score=np.nan, chosen=False)


def _finalists(table: pd.DataFrame, search: WidthSearch) -> list[int]:
    """Rows that are scored again: the whole network at all steps, which is first, and the best."""
    score = _scores(table["crps_few"], table["flops_share"], search.flops_weight)
    best = score.sort_values(kind="stable").index[: search.finalists]
    return [0, *(int(row) for row in best if row != 0)]


def _choose(table: pd.DataFrame, flops_weight: float) -> None:
    table["score"] = _scores(table["crps"], table["flops_share"], flops_weight)
    table.loc[table["score"].idxmin(), "chosen"] = True


def _scores(crps: pd.Series, share: pd.Series, flops_weight: float) -> pd.Series:
    """What is minimised; the first strategy is the whole network at all steps."""
    score: pd.Series = crps / crps.iloc[0] + flops_weight * share
    return score


def _nothing(_: int) -> None:
    pass
