"""Several callers in one batch: each has the numbers that it gets alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.api.conftest import make_imputer, series
from tsimpute import EDDPMImputer
from tsimpute.errors import InputError
from tsimpute.sampling.batching import Question, quantiles_together

LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module", params=[{}, {"variance": "fixed", "antithetic": False}])
def fitted(request: pytest.FixtureRequest) -> EDDPMImputer:
    return make_imputer(**request.param).fit(series(60))


def frames() -> list[pd.DataFrame]:
    several = pd.concat({"x": series(14, seed=8), "y": series(9, seed=9)})
    full = series(6, missing=0.0)
    return [series(n, seed=n) for n in (5, 12, 13, 40)] + [several, full]


def stacked(found: list[Any]) -> np.ndarray:
    return np.stack([frame.to_numpy() for frame in found])


def test_together_is_as_alone(fitted: EDDPMImputer) -> None:
    questions = [Question(frame, LEVELS, seed) for seed, frame in enumerate(frames())]
    together = quantiles_together(fitted, questions, n_samples=7)
    for question, found in zip(questions, together, strict=True):
        (alone,) = quantiles_together(fitted, [question], n_samples=7)
        assert found is not None
        assert alone is not None
        np.testing.assert_allclose(stacked(found), stacked(alone), rtol=1e-5, atol=1e-5)
        assert found[0].index.equals(question.data.index)


def test_alone_is_as_the_estimator(fitted: EDDPMImputer) -> None:
    for seed, frame in enumerate(frames()[:4]):
        (found,) = quantiles_together(fitted, [Question(frame, LEVELS, seed)], n_samples=6)
        assert found is not None
        expected = fitted.predict_quantiles(frame, LEVELS, n_samples=6, random_state=seed)
        np.testing.assert_allclose(stacked(found), expected.values, rtol=1e-6, atol=1e-6)


def test_a_question_that_is_dropped_does_not_change_the_others(fitted: EDDPMImputer) -> None:
    kept, dropped = frames()[1:3]
    n_asked = 0

    def wanted() -> bool:
        nonlocal n_asked
        n_asked += 1
        return n_asked < 3

    asked = [Question(dropped, LEVELS, 0, wanted), Question(kept, LEVELS, 1)]
    first, second = quantiles_together(fitted, asked, n_samples=5)
    assert first is None
    (alone,) = quantiles_together(fitted, [asked[1]], n_samples=5)
    assert second is not None
    assert alone is not None
    np.testing.assert_allclose(stacked(second), stacked(alone), rtol=1e-5, atol=1e-5)


def test_sampling_stops_once_nobody_wants_it(fitted: EDDPMImputer) -> None:
    steps = 0

    def on_step() -> None:
        nonlocal steps
        steps += 1

    question = Question(series(40), LEVELS, 0, lambda: steps < 2)
    assert quantiles_together(fitted, [question], n_samples=2, on_step=on_step) == [None]
    assert steps == 2


def test_what_cannot_be_used_is_an_input_error(fitted: EDDPMImputer) -> None:
    with pytest.raises(InputError):
        quantiles_together(fitted, [Question(series(5), (0.0,))])
    with pytest.raises(InputError, match="fit_marginals"):
        quantiles_together(fitted, [Question(series(5), LEVELS)], method="head")
