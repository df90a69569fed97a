"""Evolution of strategies, one choice for each step, under two objectives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsimpute.arguments import check_count, check_number
from tsimpute.errors import MissingExtraError

Strategy = tuple[int, ...]
Objectives = Callable[[Strategy], tuple[float, float]]

SKIP = 0
SPREAD = 3.0  # of a mutation: mostly to a neighbouring choice, sometimes far


@dataclass(frozen=True)
class Evolution:
    """How strategies evolve.

    Attributes
    ----------
    population : int
        Strategies of a generation; 50 in DDSM (Yang et al. 2024).
    generations : int
        Including the first; 10 in DDSM.
    mutation : float, optional
        Probability of each choice; None: one choice a strategy, 1 / K. DDSM has 0.001 for 1000
        steps, which is the same.
    seed : int
        Same seed, same strategies.
    """

    population: int = 50
    generations: int = 10
    mutation: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("population", self.population, least=2)
        check_count("generations", self.generations)
        if self.mutation is not None:
            check_number("mutation", self.mutation, above=0, most=1)


def evolve(
    objectives: Objectives,
    choices: Sequence[int],
    length: int,
    plan: Evolution,
    after_generation: Callable[[], object] | None = None,
) -> dict[Strategy, tuple[float, float]]:
    """Strategies that NSGA-II (Deb et al. 2002) tries to make small in both objectives.

    Parameters
    ----------
    objectives : callable
        Two numbers of a strategy, less is better; asked once for each.
    choices : sequence of int
        Of one step, ascending, neighbours being alike. 0 skips the step; a strategy that skips
        all is never asked about.
    length : int
        K, steps of a strategy.
    plan : Evolution
    after_generation : callable, optional
        Called after each generation, the first one too.

    Returns
    -------
    dict of strategy to its two objectives
        All that were tried, in order: uniform ones first, the largest choice at first, then, with
        skips, the largest choice at a few even steps.

    Raises
    ------
    MissingExtraError
        If pymoo is not installed.
    """
    found: dict[Strategy, tuple[float, float]] = {}

    def strategy_of(genes: NDArray[Any]) -> Strategy:
        return tuple(int(choices[int(gene)]) for gene in genes)

    def value(genes: NDArray[Any], which: int) -> float:
        strategy = strategy_of(genes)
        if not any(strategy):
            return 0.0  # not allowed, so that nothing is compared with it
        if strategy not in found:
            found[strategy] = objectives(strategy)
        return found[strategy][which]

    def skips_all(genes: NDArray[Any]) -> float:
        return 1.0 - any(strategy_of(genes))  # above 0: not allowed

    both: list[Callable[[NDArray[Any]], float]] = [partial(value, which=n) for n in (0, 1)]
    _minimise(both, skips_all, choices, length, plan, after_generation)
    return found


def check_pymoo() -> None:
    """Say how to install what evolution needs, where it is not installed.

    Raises
    ------
    MissingExtraError
        If pymoo cannot be imported.
    """
    try:
        import_module("pymoo.optimize")
    except ImportError as error:
        raise MissingExtraError(
            "searching widths needs pymoo, which is not installed; run: "
            "pip install 'tsimpute[search]'"
        ) from error


def first_population(n_choices: int, length: int, plan: Evolution, skips: bool) -> NDArray[Any]:
    """Places among the choices: uniform strategies, the largest first, then random ones.

    Where steps may be skipped, the largest choice at a few evenly spaced steps stands between
    these: plain respacing, so that what is found is not behind it.
    """
    uniform = np.repeat(np.arange(n_choices)[::-1][: n_choices - skips, None], length, axis=1)
    respaced = _evenly_skipped(n_choices - 1, length) if skips else uniform[:0]
    rng = np.random.default_rng([plan.seed, 6])
    drawn = rng.integers(n_choices, size=(plan.population, length))
    return np.concatenate([uniform, respaced, drawn])[: plan.population]


def _evenly_skipped(largest: int, length: int) -> NDArray[Any]:
    """The largest choice at three quarters, a half, a third and a quarter of the steps."""
    counts = {length * share // 12 for share in (9, 6, 4, 3)} - {0, length}
    rows = np.zeros((len(counts), length), dtype=np.int64)
    for row, n in zip(rows, sorted(counts, reverse=True), strict=True):
        row[length - 1 - np.arange(n) * length // n] = largest  # the noisiest step always stays
    return rows


def _minimise(
    objectives: list[Callable[[NDArray[Any]], float]],
    skips_all: Callable[[NDArray[Any]], float],
    choices: Sequence[int],
    length: int,
    plan: Evolution,
    after_generation: Callable[[], object] | None,
) -> None:
    check_pymoo()
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.operators.crossover.ux import UniformCrossover
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.optimize import minimize
    from pymoo.problems.functional import FunctionalProblem

    n = len(choices)
    problem = FunctionalProblem(length, objectives, constr_ieq=[skips_all], xl=0, xu=n - 1)
    rate = 1 / length if plan.mutation is None else plan.mutation
    algorithm = NSGA2(
        pop_size=plan.population,
        sampling=first_population(n, length, plan, choices[0] == SKIP),
        crossover=UniformCrossover(),
        mutation=PM(prob=1.0, prob_var=rate, eta=SPREAD, vtype=float, repair=RoundingRepair()),
    )

    def tell(_: Any) -> None:
        if after_generation is not None:
            after_generation()

    ends = ("n_gen", plan.generations)
    minimize(problem, algorithm, ends, seed=plan.seed, callback=tell)
