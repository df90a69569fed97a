"""What few steps cost an ideal network: CRPS above that of the true forecast, in per cent.

Data are N(mu, v) with mu ~ N(0, 1); everything is exact. The rows are chains, the columns ways to
walk them, and an entry is the mean over two v. The table came without them; of all pairs these fit
it best.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.samplers.oracle import SCHEDULE, exact_noise, exact_variance, moments
from tsimpute.samplers import ancestral
from tsimpute.samplers.ddim import ddim
from tsimpute.samplers.dpm_solver_pp import dpm_solver_pp_2m
from tsimpute.samplers.variance import fixed

V = (0.055, 0.5)
EVEN_10, EVEN_5 = [0, 5, 11, 16, 22, 27, 33, 38, 44, 49], [0, 12, 24, 37, 49]


def _masked(kept):
    return SCHEDULE.masked(np.isin(np.arange(50), kept))


def _quiet_at_the_end(variance):
    return lambda grid, position, said: 0.0 if position == 0 else variance(grid, position, said)


# chain, whether the start is corrected, and the excess with: beta-tilde, the best variance, the
# same with noise at the last step, DDIM, DPM-Solver++(2M).
TABLE = [
    ("10 even", _masked(EVEN_10), False, (1.6, 0.24, 0.24, 5.0, 7.4)),
    ("10 even, corrected", _masked(EVEN_10), True, (1.4, 0, 0, 0.43, 0.35)),
    ("5 even, corrected", _masked(EVEN_5), True, (3.0, 0, 0, 1.4, 0.96)),
    ("5 and the top 9", _masked([5, *range(41, 50)]), False, (7.9, 0.02, 0, 4.7, 1.4)),
    ("10 and the top 4", _masked([10, *range(46, 50)]), False, (6.6, 0.40, 0.11, 5.2, 4.2)),
    ("respaced, 10", SCHEDULE.respaced(EVEN_10), False, (2.9, 0, 0, 1.2, 0.8)),
    ("respaced, 5", SCHEDULE.respaced(EVEN_5), False, (7.8, 0, 0, 5.6, 0.6)),
]


def _excess(grid, sampler, variance, v, corrected):
    """Expected CRPS of the samples above that of the true forecast, over mu ~ N(0, 1)."""
    level = float(grid.alpha_bar[-1])
    start = (math.sqrt(level), 1 - level + level * v) if corrected else (0.0, 1.0)
    mean, spread = moments(sampler, grid, exact_noise(1.0, v), variance, *start)
    total = spread + v + (mean - 1) ** 2  # of sample minus truth; both scale with mu
    found = math.sqrt(2 / math.pi * total) - math.sqrt(spread / math.pi)
    return 100 * (found / math.sqrt(v / math.pi) - 1)


@pytest.mark.parametrize(
    ("grid", "corrected", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_table(grid, corrected, expected):
    columns = [
        (ancestral, lambda v: fixed),
        (ancestral, lambda v: _quiet_at_the_end(exact_variance(v))),
        (ancestral, exact_variance),
        (ddim, lambda v: fixed),
        (dpm_solver_pp_2m, lambda v: fixed),
    ]
    found = [
        np.mean([_excess(grid, sampler, variance(v), v, corrected) for v in V])
        for sampler, variance in columns
    ]
    assert found == pytest.approx(expected, rel=0.1, abs=0.07)
    assert found[2] <= found[0] and found[2] <= found[3]  # the best variance beats any solver
