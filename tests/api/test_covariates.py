"""A model with exogenous columns and a calendar behind the service."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tests.api.conftest import body, make_imputer, series, serve


def timed(n_times: int, seed: int) -> pd.DataFrame:
    """Random walks, of which "b" is complete."""
    frame = series(n_times, seed).assign(b=np.arange(n_times) % 7)
    return frame.set_index(pd.date_range("2026-01-01", periods=n_times, freq="h"))


def test_tables_with_all_columns_get_the_librarys_numbers(tmp_path: Path) -> None:
    imputer = make_imputer(exogenous=["b"], calendar=["hour"], variance="fixed")
    imputer.fit(timed(60, 0)).save(tmp_path / "models" / "side" / "1")
    frame = timed(20, 3)
    times = [time.isoformat() for time in frame.index]
    expected = imputer.predict_quantiles(frame, [0.5], n_samples=5, random_state=0).values[0]
    with serve(tmp_path, tmp_path / "models") as server:
        asked = body(frame, n_samples=5, quantiles=[0.5], timestamps=times)
        answer = server.impute(asked)
        assert answer.status_code == 200, answer.text
        np.testing.assert_allclose(answer.json()["median"], expected, rtol=1e-5, atol=1e-5)
        with server.client() as client:
            assert client.get("/models/side").json()["features"] == ["a", "b", "c"]

        untimed = server.impute(body(frame, n_samples=5))
        assert untimed.status_code == 422
        assert untimed.json()["error"]["details"][0]["location"] == ["body", "timestamps"]

        frame.iloc[4, 1] = np.nan
        hole = server.impute(body(frame, n_samples=5, timestamps=times))
        assert hole.status_code == 422
        assert hole.json()["error"]["details"][0]["location"] == ["body", "rows", 4, 1]
