"""Tests of the prediction of how long a request takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from api.cost import WARM_SAMPLES, Cost, measure

OVERHEAD_S, UNIT_S, STEPS = 0.01, 0.001, 5


def machine(*pauses: float) -> Callable[[int], float]:
    """Times of a machine that pauses so long at its first runs."""
    left: Iterator[float] = iter(pauses)
    return lambda n: OVERHEAD_S + UNIT_S * STEPS * n + next(left, 0.0)


def test_a_quiet_machine_is_measured_exactly() -> None:
    cost = measure(machine(), STEPS)
    assert cost.unit_s == pytest.approx(UNIT_S)
    assert cost.overhead_s == pytest.approx(OVERHEAD_S)


@pytest.mark.parametrize("run", range(7))
def test_one_pause_at_any_run_changes_nothing(run: int) -> None:
    cost = measure(machine(*[0.0] * run, 0.1), STEPS)
    assert cost.unit_s == pytest.approx(UNIT_S)
    assert cost.overhead_s == pytest.approx(OVERHEAD_S)


def test_work_is_never_thought_to_be_free() -> None:
    few_slow = measure(lambda n: 0.4 if n == 1 else 0.2, STEPS)
    assert few_slow.seconds(1000 * STEPS * WARM_SAMPLES) > 40


def test_what_takes_long_is_measured_once() -> None:
    asked: list[int] = []

    def slow(n: int) -> float:
        asked.append(n)
        return 1.0 * n

    measure(slow, STEPS)
    assert asked == [1, 1, WARM_SAMPLES]


def test_batches_correct_a_wrong_first_guess() -> None:
    cost = Cost(overhead_s=1.0, unit_s=1.0)
    for n in [1, 100] * 20:
        cost.learn(n, OVERHEAD_S + n * UNIT_S)
    assert cost.seconds(100) == pytest.approx(OVERHEAD_S + 100 * UNIT_S, rel=0.1)
    for _ in range(40):
        cost.learn(100, 10 * (OVERHEAD_S + 100 * UNIT_S))  # a busier machine
    assert cost.seconds(100) == pytest.approx(10 * (OVERHEAD_S + 100 * UNIT_S), rel=0.1)
