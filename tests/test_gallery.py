"""The gallery's examples run, are quick, and each draws or prints something."""

from __future__ import annotations

import runpy
import time
import warnings
from pathlib import Path

import pytest

pytest.importorskip("statsmodels")
matplotlib = pytest.importorskip("matplotlib")

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "docs" / "examples").glob("*.py"))
CPU_SECONDS = 20


def test_there_are_six_examples_or_more() -> None:
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_of_the_gallery_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    begun = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")
            runpy.run_path(str(path), run_name="__main__")
        assert time.process_time() - begun < CPU_SECONDS
        assert plt.get_fignums() or capsys.readouterr().out
    finally:
        plt.close("all")
