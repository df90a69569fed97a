"""Evolution of strategies."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

from tsimpute.errors import InputError, MissingExtraError
from tsimpute.training.evolution import Evolution, evolve

CHOICES = (0, 2, 3, 4, 5, 6, 7, 8)
NEED = (3, 8, 1, 0)  # what each step would need
WEIGHT = 0.3


def objectives(strategy):
    lacking = sum(max(0, need - width) ** 2 for need, width in zip(NEED, strategy, strict=True))
    return lacking / 100, sum(strategy) / 32


def score(strategy):
    quality, cost = objectives(strategy)
    return quality + WEIGHT * cost


def test_it_finds_the_known_optimum_of_a_small_fitness():
    found = evolve(objectives, CHOICES, 4, Evolution(generations=20, seed=1))
    everything = [s for s in itertools.product(CHOICES, repeat=4) if any(s)]
    assert score(min(found, key=score)) == min(map(score, everything))
    assert len(found) < len(everything) / 4
    assert all(found[strategy] == objectives(strategy) for strategy in found)


def test_uniform_strategies_come_first_and_none_twice():
    asked = []
    evolve(lambda s: (asked.append(s), objectives(s))[1], CHOICES, 4, Evolution(10, 3))
    assert asked[:7] == [(width,) * 4 for width in (8, 7, 6, 5, 4, 3, 2)]
    assert len(asked) == len(set(asked)) <= 30
    assert set(itertools.chain(*asked)) <= set(CHOICES)


def test_skipping_every_step_is_never_asked_about():
    asked = []

    def cheap(strategy):
        asked.append(strategy)
        return 0.0, sum(strategy)

    found = evolve(cheap, (0, 4, 8), 2, Evolution(8, 10))
    assert (0, 0) not in asked
    assert min(found.values())[1] == 4


def test_the_seed_decides():
    first, again, other = (
        list(evolve(objectives, CHOICES, 4, Evolution(8, 4, seed=seed))) for seed in (3, 3, 4)
    )
    assert first == again != other


def test_without_skipping_every_step_stays():
    found = evolve(objectives, CHOICES[1:], 4, Evolution(10, 3))
    assert all(min(strategy) >= 2 for strategy in found)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"population": 1}, "a whole number of at least 2"),
        ({"population": 2.5}, "a whole number of at least 2"),
        ({"generations": 0}, "a whole number of at least 1"),
        ({"generations": True}, "a whole number of at least 1"),
        ({"mutation": 0.0}, "a number of more than 0 and of at most 1"),
        ({"mutation": True}, "a number of more than 0 and of at most 1"),
    ],
)
def test_impossible_plans_are_refused(wrong, expected):
    with pytest.raises(InputError, match=f"{next(iter(wrong))}=.* cannot be used; .* {expected}"):
        Evolution(**wrong)


def test_each_generation_is_reported():
    asked, over = [], []
    plan = Evolution(np.int64(8), np.int64(3))
    evolve(
        lambda s: (asked.append(s), objectives(s))[1],
        CHOICES,
        4,
        plan,
        lambda: over.append(len(asked)),
    )
    assert len(over) == 3
    assert over[0] == 8 and over == sorted(over) and over[-1] == len(asked)


def test_without_pymoo_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymoo.optimize", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tsimpute\[search\]'"):
        evolve(objectives, CHOICES, 4, Evolution())


def test_the_first_generation_holds_plain_respacing_where_steps_may_be_skipped() -> None:
    tried = list(evolve(lambda s: (sum(s), -sum(s)), [0, 2, 8], 6, Evolution(12, 1)))
    uniform = [(8,) * 6, (2,) * 6]
    respaced = [(0, 8, 8, 0, 8, 8), (0, 8, 0, 8, 0, 8), (0, 0, 8, 0, 0, 8), (0, 0, 0, 0, 0, 8)]
    assert tried[:6] == [*uniform, *respaced]
    assert 0 not in {
        width for s in evolve(lambda s: (1, 1), [2, 8], 6, Evolution(12, 1)) for width in s
    }
