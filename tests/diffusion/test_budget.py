"""The falling budget of kept steps (EDDPM, Eq. 12)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.diffusion.budget import kept_steps_at


def test_ends():
    assert kept_steps_at(0.0, 50, 5) == 50
    assert kept_steps_at(1.0, 50, 5) == 5
    assert kept_steps_at(1.7, 50, 5) == 5
    assert kept_steps_at(0.29, 50, 5, start=0.3) == 50
    assert kept_steps_at(0.3, 50, 5, start=0.3) == 50
    assert kept_steps_at(1.0, 50, 5, start=0.3) == 5
    assert kept_steps_at(1.0, 50, 5, start=1.0) == 50  # there is no time to prune


def test_falls_as_a_cubic():
    assert kept_steps_at(0.5, 50, 10) == 10 + 40 / 8
    assert kept_steps_at(0.75, 50, 10, start=0.5) == 10 + 40 / 8


@pytest.mark.parametrize("epoch", range(0, 21, 4))
def test_equals_the_equation_of_the_paper(epoch):
    """gamma_f + (1 - gamma_f)(1 - (e - e_1) / (N - e_1))^3 is the ratio that remains."""
    n_epochs, first, gamma_f = 20, 4, 0.1
    ratio = gamma_f + (1 - gamma_f) * (1 - (epoch - first) / (n_epochs - first)) ** 3
    expected = 50 * (1.0 if epoch < first else ratio)
    assert kept_steps_at(epoch / n_epochs, 50, 5, start=0.2) == pytest.approx(expected)


@given(st.integers(1, 100), st.integers(1, 100), st.floats(0, 0.9))
@settings(max_examples=40, deadline=None)
def test_never_rises_and_stays_between_its_ends(n_steps, kept_steps, start):
    kept_steps = min(kept_steps, n_steps)
    progress = np.linspace(0, 1.2, 61)
    kept = np.array([kept_steps_at(p, n_steps, kept_steps, start) for p in progress])
    assert np.all(np.diff(kept) <= 1e-12)
    assert np.all((kept >= kept_steps) & (kept <= n_steps))
