"""Rubin's rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsimpute import pool
from tsimpute.errors import InputError


def test_a_case_by_hand() -> None:
    """W = 1 and B = 1 of three: T = 1 + 4/3, r = 4/3, nu = 2 (1 + 3/4)² = 6.125."""
    found = pool([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], dof_complete=10)
    assert (found.estimate, found.within, found.between, found.m) == (2, 1, 1, 3)
    assert found.total == pytest.approx(7 / 3)
    seen = 11 / 13 * 10 * 3 / 7
    assert found.dof == pytest.approx(1 / (1 / 6.125 + 1 / seen))
    assert found.fmi == pytest.approx((4 / 3 + 2 / 9.125) / (7 / 3))
    assert pool([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]).dof == pytest.approx(6.125)


def test_the_example_of_a_textbook_program() -> None:
    """SAS/STAT 13 User's Guide, MIANALYZE, "Reading Means and Standard Errors", edf = 30.

    Means of oxygen intake, run time and run pulse in five completed data sets, as printed there,
    so that what is printed of the pooled ones can be met to about four digits.
    """
    means = [
        [47.0120, 10.4441, 171.216],
        [47.2407, 10.5040, 171.244],
        [47.4995, 10.5922, 171.909],
        [47.1485, 10.5279, 171.146],
        [47.0042, 10.4913, 172.072],
    ]
    errors = [
        [0.95984, 0.28520, 1.59910],
        [0.93540, 0.26661, 1.75638],
        [1.00766, 0.26302, 1.85795],
        [0.95439, 0.26405, 1.75011],
        [0.96528, 0.27275, 1.84807],
    ]
    found = pool(means, np.square(errors), dof_complete=30)
    np.testing.assert_allclose(found.within, [0.930853, 0.073142, 3.114442], rtol=1e-4)
    np.testing.assert_allclose(found.total, [0.980626, 0.076679, 3.343744], rtol=1e-4)
    np.testing.assert_allclose(found.dof, [26.298, 26.503, 25.463], rtol=1e-4)
    assert found.estimate[0] == pytest.approx(47.180993, rel=1e-6)
    assert found.lower[0] == pytest.approx(45.1466, abs=2e-4)
    assert found.upper[0] == pytest.approx(49.2154, abs=2e-4)


def test_statsmodels_pools_a_regression_alike(rng: np.random.Generator) -> None:
    sm = pytest.importorskip("statsmodels.api")
    bayes_mi = pytest.importorskip("statsmodels.imputation.bayes_mi")

    class Completed:
        """Completed data sets, one after the other, as statsmodels asks for them."""

        def __init__(self) -> None:
            x = rng.normal(size=60)
            self.sets = [np.column_stack([x + 2 * rng.normal(size=60), x]) for _ in range(6)]
            self.place = -1

        def update(self) -> None:
            self.place += 1

        @property
        def data(self) -> np.ndarray:
            return self.sets[self.place]

    def variables(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return data[:, 0], sm.add_constant(data[:, 1])

    completed = Completed()
    theirs = bayes_mi.MI(completed, sm.OLS, variables, burn=0, nrep=6, skip=0).fit()
    fits = [sm.OLS(*variables(data)).fit() for data in completed.sets]
    ours = pool([fit.params for fit in fits], [fit.bse**2 for fit in fits])
    np.testing.assert_allclose(ours.estimate, theirs.params)
    np.testing.assert_allclose(ours.total, np.diag(theirs.cov_params()))
    np.testing.assert_allclose(ours.standard_error, theirs.bse)


def test_intervals_of_proper_draws_cover_the_mean(rng: np.random.Generator) -> None:
    """Normal samples of 20 with 40 % missing, imputed from their posterior (Rubin 1987, 4.1)."""
    n_studies, n, n_seen, m = 4_000, 20, 12, 10
    seen = rng.normal(size=(n_studies, n_seen))
    shape = (m, n_studies, 1)
    spread = seen.var(axis=1, ddof=1) * (n_seen - 1) / rng.chisquare(n_seen - 1, (m, n_studies))
    spread = spread[..., None]
    mean = seen.mean(axis=1)[:, None] + np.sqrt(spread / n_seen) * rng.normal(size=shape)
    drawn = mean + np.sqrt(spread) * rng.normal(size=(m, n_studies, n - n_seen))
    complete = np.concatenate([np.broadcast_to(seen, (m, *seen.shape)), drawn], axis=2)
    found = pool(complete.mean(2), complete.var(2, ddof=1) / n, dof_complete=n - 1)
    covered = ((found.lower <= 0) & (found.upper >= 0)).mean()
    assert covered == pytest.approx(0.95, abs=0.015)
    once = complete[0].mean(1), np.sqrt(complete[0].var(1, ddof=1) / n)
    naive = (np.abs(once[0]) <= 2.093 * once[1]).mean()
    assert naive < 0.90  # what one completed data set pretends to know
    assert found.fmi.mean() == pytest.approx(0.4, abs=0.1)


def test_nothing_differs_and_nothing_is_known_of_the_sampling_error() -> None:
    same = pool([2.0, 2.0], [4.0, 4.0], dof_complete=9)
    assert (same.between, same.fmi) == (0, 0)
    assert same.dof == pytest.approx(10 / 12 * 9)
    assert pool([2.0, 2.0], [4.0, 4.0]).upper == pytest.approx(2 + 1.959964 * 2)
    alone = pool([1.0, 2.0, 3.0])
    assert (alone.within, alone.fmi, alone.dof) == (0, 1, 2)
    assert alone.total == pytest.approx(4 / 3)


def test_shapes_series_and_frames() -> None:
    names = ["a", "b"]
    series = [pd.Series([i, 10.0 * i], names) for i in range(1, 5)]
    found = pool(series, [s * 0 + 1 for s in series], confidence=0.5)
    frame = found.to_frame(names)
    assert frame.loc["b", "estimate"] == 25 and list(frame.columns)[:2] == [
        "estimate",
        "standard_error",
    ]
    assert (frame["lower"] < frame["estimate"]).all()
    assert pool(np.ones((3, 2, 4)), np.ones((3, 2, 4))).dof.shape == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"estimates": [1.0]}, "got 1, expected at least 2"),
        ({"estimates": 3.0}, "estimates"),
        ({"estimates": [1.0, np.nan]}, "estimates.*finite"),
        ({"estimates": [[1.0], [1.0, 2.0]]}, "estimates.*one shape"),
        ({"estimates": [1.0, 2.0], "variances": [1.0]}, "variances: got shape"),
        ({"estimates": [1.0, 2.0], "variances": [1.0, -1.0]}, "negative"),
        ({"estimates": [1.0, 2.0], "confidence": 95}, "confidence=95"),
        ({"estimates": [1.0, 2.0], "variances": [1, 1], "dof_complete": 0}, "dof_complete=0"),
        ({"estimates": [1.0, 2.0], "dof_complete": 9}, "dof_complete.*variances"),
    ],
)
def test_what_cannot_be_pooled_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pool(**arguments)
