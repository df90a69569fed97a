"""The search of the documentation. Run where Optuna is installed."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import pytest

pytest.importorskip("optuna")
pytest.importorskip("statsmodels")

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "neighbours" / "tune_with_optuna.py"


def test_the_search_finds_the_best_of_its_trials() -> None:
    found = runpy.run_path(str(SCRIPT), run_name="__main__")
    study = found["study"]
    scores = [trial.value for trial in study.trials]
    assert len(scores) == 5 and all(math.isfinite(score) for score in scores)
    assert study.best_value == max(scores)
    assert set(study.best_params) == {"window_steps", "anchor", "learning_rate"}
