"""Requests and reloads in any order: each answer is that of one complete version."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.api.conftest import Server, Starter, body, make_imputer, series
from tsimpute import EDDPMImputer

FRAME = series(10, seed=1)
SENT = body(FRAME, n_samples=2, quantiles=[0.5])


class Reloads(RuleBasedStateMachine):
    """A folder of versions, good and bad, and the server that looks at it now and then."""

    server: Server
    folder: Path
    make: Callable[[int], EDDPMImputer]
    numbers: dict[int, Any]

    @initialize()
    def begin(self) -> None:
        for path in self.folder.iterdir():
            if path.name != "1":
                shutil.rmtree(path)
        self.on_disk: dict[int, bool] = {1: True}  # version -> whether it is good
        self.serving = [1]
        self.last = 1  # a number is given once, as an operator would
        self.reload()

    def next_version(self) -> int:
        self.last += 1
        return self.last

    @rule(kind=st.integers(0, 1))
    def add_version(self, kind: int) -> None:
        version = self.next_version()
        self.make(kind).save(self.folder / str(version))
        self.on_disk[version] = True
        self.numbers[version] = self.numbers[-1 - kind]

    @rule()
    def add_bad_version(self) -> None:
        version = self.next_version()
        target = self.make(0).save(self.folder / str(version))
        (target / "weights.safetensors").write_bytes(b"broken")
        self.on_disk[version] = False

    @precondition(lambda self: len(self.on_disk) > 1)
    @rule()
    def remove_newest(self) -> None:
        version = max(self.on_disk)
        shutil.rmtree(self.folder / str(version))
        del self.on_disk[version]

    @rule()
    def reload(self) -> None:
        with self.server.client() as client:
            status = client.post("/admin/reload").status_code
        good = sorted((v for v, is_good in self.on_disk.items() if is_good), reverse=True)
        self.serving = good[:2]
        tried = [v for v, is_good in self.on_disk.items() if not is_good and self.reached(v, good)]
        assert status == (409 if tried else 200)

    def reached(self, version: int, good: list[int]) -> bool:
        """Whether a bad version is tried: only until two good ones are found."""
        return sum(v > version for v in good) < 2

    @rule()
    def ask_old(self) -> None:
        version = self.serving[-1]
        told = self.server.impute(SENT | {"version": str(version)}).json()
        self.check(told, version)

    @invariant()
    def newest_serves(self) -> None:
        if hasattr(self, "serving"):
            self.check(self.server.impute(SENT).json(), self.serving[0])

    def check(self, told: Any, version: int) -> None:
        assert told["model"]["version"] == str(version)
        np.testing.assert_allclose(told["median"], self.numbers[version], rtol=1e-5, atol=1e-5)


def play(start: Starter, imputer: EDDPMImputer, examples: int, steps: int) -> None:
    models = (imputer, make_imputer(random_state=5).fit(series(60, seed=9)))
    found = [
        m.predict_quantiles(FRAME, [0.5], n_samples=2, random_state=0).values[0] for m in models
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "demo"
        imputer.save(folder / "1")
        Reloads.server = start(Path(name))
        Reloads.folder = folder
        Reloads.make = staticmethod(lambda kind: models[kind])
        Reloads.numbers = {1: found[0], -1: found[0], -2: found[1]}
        chosen = settings(max_examples=examples, stateful_step_count=steps, deadline=None)
        run_state_machine_as_test(Reloads, settings=chosen)


def test_reloads_and_requests_in_any_order(start: Starter, imputer: EDDPMImputer) -> None:
    play(start, imputer, examples=4, steps=8)


@pytest.mark.slow
def test_many_more_reloads_and_requests(start: Starter, imputer: EDDPMImputer) -> None:
    play(start, imputer, examples=30, steps=20)
