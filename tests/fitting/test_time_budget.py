"""A fit with a budget of seconds: all of it ends in time, by a clock that the network drives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from tsimpute import EDDPMImputer
from tsimpute.denoiser.embeddings import StepEmbedding
from tsimpute.errors import InputError
from tsimpute.fitting.time_budget import deadline_of, training_seconds

TINY: dict[str, Any] = {
    "window_steps": 8,
    "kept_steps": 3,
    "n_samples": 4,
    "diffusion_steps": 8,
    "channels": 8,
    "layers": 1,
    "heads": 2,
    "random_state": 0,
    "device": "cpu",
    "verbose": 0,
}
SECONDS_A_WINDOW = 0.02


def walk(n: int = 160) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((n, 2)).cumsum(axis=0), columns=["a", "b"])
    return frame.mask(rng.random(frame.shape) < 0.2)


@dataclass
class Clock:
    """Time that passes only while the network runs: `SECONDS_A_WINDOW` for each window."""

    now: float = 1000.0

    def tick(self, module: torch.nn.Module, given: Any, answer: Any) -> None:
        if isinstance(module, StepEmbedding):  # once an evaluation
            self.now += SECONDS_A_WINDOW * len(given[0])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    hook = register_module_forward_hook(made.tick)
    yield made
    hook.remove()


@pytest.mark.parametrize(
    ("options", "share"),
    [
        ({"variance": "fixed"}, 1.0),
        ({"variance": "crps"}, 0.9),
        ({"variance": "analytic"}, 0.9),
        ({"variance": "fixed", "calibrate": True}, 0.75),
        ({"variance": "crps", "calibrate": True}, 0.65),
    ],
)
def test_a_fit_ends_near_its_budget(clock: Clock, options: dict[str, Any], share: float) -> None:
    begun, budget_s = clock.now, 30.0
    imputer = EDDPMImputer(**TINY, **options, time_budget_s=budget_s).fit(walk(300))
    trained = imputer.history_["seconds"].iloc[-1]
    assert trained == pytest.approx(share * budget_s, rel=0.1)
    assert 0.85 * budget_s < clock.now - begun < 1.1 * budget_s
    assert (len(imputer.model_.calibrations) == 1) is options.get("calibrate", False)
    assert not imputer.transform(walk()).isna().any().any()


def test_without_a_budget_what_follows_training_takes_as_long_as_it_takes(clock: Clock) -> None:
    begun = clock.now
    imputer = EDDPMImputer(**TINY, epochs=1).fit(walk())
    after_s = clock.now - begun - imputer.history_["seconds"].iloc[-1]
    assert after_s > 100 * SECONDS_A_WINDOW  # a hundred batches


def test_the_head_keeps_ten_seconds_of_a_long_fit() -> None:
    imputer = EDDPMImputer(time_budget_s=1000.0)
    assert training_seconds(imputer) == 990.0
    assert training_seconds(imputer.set_params(calibrate=True)) == 740.0
    assert training_seconds(imputer.set_params(time_budget_s=None)) is None
    assert not deadline_of(imputer, 5.0).is_set


def test_a_run_that_was_taken_up_again_has_what_is_left(clock: Clock) -> None:
    deadline = deadline_of(EDDPMImputer(time_budget_s=60.0), spent_s=54.0)
    assert deadline.left_s == 6.0 and not deadline.is_over()
    clock.now += 6.0
    assert deadline.is_over()


def test_a_budget_that_is_never_reached_changes_no_bit() -> None:
    """Where the epochs end the run; the learning rate and the search go by the epochs then."""
    free = EDDPMImputer(**TINY, epochs=2).fit(walk())
    bound = EDDPMImputer(**TINY, epochs=2, time_budget_s=1e9).fit(walk())
    ours = [part.state_dict() for part in free.model_.modules]
    theirs = [part.state_dict() for part in bound.model_.modules]
    assert len(ours) == len(theirs) == 2
    for one, other in zip(ours, theirs, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    pd.testing.assert_frame_equal(free.transform(walk()), bound.transform(walk()))


@pytest.mark.parametrize("budget", [0, -5.0, float("nan"), "60"])
def test_a_budget_that_is_no_time_is_refused(budget: Any) -> None:
    with pytest.raises(InputError, match=r"time_budget_s=.*expected None or a positive number"):
        EDDPMImputer(**TINY, time_budget_s=budget).fit(walk())
