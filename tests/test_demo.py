"""The demo, with a few seconds of training."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tsimpute import demo, load_co2


def test_demo_fills_scores_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    original = demo.make_imputer

    def smaller(seed: int, seconds: float) -> demo.EDDPMImputer:
        return original(seed, seconds).set_params(
            channels=8, layers=1, heads=2, kept_steps=2, n_samples=4, verbose=0, device="cpu"
        )

    monkeypatch.setattr(demo, "make_imputer", smaller)
    demo.main(["--output", str(tmp_path), "--seconds", "3"])
    filled = pd.read_csv(tmp_path / "filled.csv", index_col=0)
    record = load_co2()
    assert not filled.isna().any().any() and len(filled) == len(record)
    scores = pd.read_csv(tmp_path / "scores.csv", index_col="method")
    assert {"EDDPM", "Kalman smoother", "linear interpolation", "seasonal"} <= set(scores.index)
    assert scores["CRPS"].is_monotonic_increasing
    winner = scores["MAE"].idxmin()
    assert f"best MAE: {winner}" in capsys.readouterr().out
    for picture in ("imputation", "step_schedule", "keep_prob", "loss"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 5_000
