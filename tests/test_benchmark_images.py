"""The benchmark on images shows one run, and never mixes it with trials or with other seeds."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[1] / "benchmarks" / "images"
WALK = {"sampler": "ddpm", "variance": "fixed"}
REAL = {"iterations": 6000, "n_samples": 2000, "seed": 0}
TRIALS = (REAL | {"iterations": 200}, REAL | {"n_samples": 200}, REAL | {"seed": 1})


@pytest.fixture
def plots(monkeypatch, tmp_path) -> ModuleType:
    if not SCRIPTS.is_dir():
        pytest.skip("needs the folder benchmarks of the repository")
    pytest.importorskip("matplotlib")
    before = set(sys.modules)
    monkeypatch.syspath_prepend(SCRIPTS)
    plots = importlib.import_module("plots")
    monkeypatch.setattr(sys.modules["run"], "FOLDER", tmp_path)
    yield plots
    for name in set(sys.modules) - before:
        if name in ("plots", "run", "digits", "network", "records"):
            del sys.modules[name]


def row(run: dict, distance: float, kind: str = "respaced", steps: int = 5) -> dict:
    return {"kind": kind, **WALK, "steps": steps, **run, "frechet_distance": distance}


def mixed() -> pd.DataFrame:
    kinds = [row(REAL, 3.0, steps=10), row(REAL, 1.0), row(REAL, 2.0, "EDDPM")]
    trials = [row(run, 100.0, kind) for run in TRIALS for kind in ("respaced", "EDDPM")]
    return pd.DataFrame([*trials[:3], *kinds, *trials[3:]])


def test_the_table_holds_the_longest_run_of_one_seed(plots):
    found = plots.table(plots.rows_of_run(mixed(), seed=0))
    assert list(found.columns) == [5, 10]
    assert [way[0] for way in found.index] == ["respaced", "EDDPM"]  # in the order of the run
    np.testing.assert_array_equal(found, [[1.0, 3.0], [2.0, np.nan]])
    other = plots.table(plots.rows_of_run(mixed(), seed=1))
    np.testing.assert_array_equal(other, [[100.0], [100.0]])


def test_rows_that_are_there_twice_or_not_at_all_are_refused(plots):
    twice = pd.concat([mixed(), pd.DataFrame([row(REAL, 9.0)])])
    with pytest.raises(ValueError, match=r"there twice.*'respaced'.*'steps': 5"):
        plots.rows_of_run(twice, seed=0)
    with pytest.raises(ValueError, match=r"no rows of seed 7; expected one of \[0, 1\]"):
        plots.rows_of_run(mixed(), seed=7)


def test_the_written_table_tells_which_rule_kept_the_steps(plots, tmp_path):
    plots.write_markdown(plots.rows_of_run(mixed(), seed=0), tmp_path / "images.md")
    assert (tmp_path / "images.md").read_text().splitlines() == [
        "| steps | sampler | variance | 5 | 10 |",
        "|---|---|---|---|---|",
        "| respaced | ddpm | fixed | **1.0** | **3.0** |",
        "| EDDPM, guarded rule | ddpm | fixed | 2.0 |  |",
    ]


def test_a_trial_s_samples_do_not_replace_the_run_s(plots):
    run = sys.modules["run"]
    run.keep_some(row(REAL, 1.0), torch.ones(20, 1, 8, 8))
    run.keep_some(row(TRIALS[0], 1.0), torch.zeros(20, 1, 8, 8))
    run.keep_some(row(TRIALS[2], 1.0), torch.zeros(20, 1, 8, 8))
    kept = np.load(run.samples_file(row(REAL, 1.0)))
    assert kept.shape == (16, 8, 8) and kept.all()


def test_the_picture_of_keep_probabilities_is_of_the_same_run(plots, tmp_path):
    run, rows = sys.modules["run"], plots.rows_of_run(mixed(), seed=0)
    np.savez(run.keep_prob_file(5, 6000, 0), keep_prob=np.full(9, 0.5), index=np.arange(5))
    for other in (run.keep_prob_file(5, 99999, 0), run.keep_prob_file(50, 200, 0)):
        other.write_text("no archive: reading it would fail")
    plots.draw_keep_prob(rows, tmp_path / "keep_prob.png")
    assert (tmp_path / "keep_prob.png").stat().st_size > 1000
