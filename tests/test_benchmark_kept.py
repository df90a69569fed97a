"""Answers that benchmarks keep part by part: none is drawn twice, and each has its own noise."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "accuracy" / "kept_samples.py"


@pytest.fixture(scope="module")
def kept_answers():
    spec = importlib.util.spec_from_file_location("kept_samples", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.kept_answers


def test_what_was_stopped_goes_on_where_it_was(kept_answers, tmp_path):
    windows = np.arange(7.0).reshape(7, 1, 1)
    asked = []

    def draw(given, seed):
        asked.append((given.ravel().tolist(), seed))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return np.stack([given, given + seed])

    kept = {"seed": 10, "chunk": 3, "folder": tmp_path / "new", "name": "windows"}
    with pytest.raises(KeyboardInterrupt):
        kept_answers(draw, windows, **kept)
    drawn, seconds = kept_answers(draw, windows, **kept)
    again = ([3.0, 4.0, 5.0], 13)
    assert asked == [([0.0, 1.0, 2.0], 10), again, again, ([6.0], 16)]
    seeds = np.repeat([10, 13, 16], [3, 3, 1]).reshape(7, 1, 1)
    np.testing.assert_array_equal(drawn, np.stack([windows, windows + seeds]))
    assert seconds > 0
    third, same_seconds = kept_answers(draw, windows, **kept)
    np.testing.assert_array_equal(third, drawn)
    assert same_seconds == seconds
    assert len(asked) == 4
