"""What the service says of cells that a model leaves open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from api.registry import is_sound
from tests.api.conftest import Server, Starter, body, make_imputer, series
from tsimpute.client import ImputeClient


def gapped() -> pd.DataFrame:
    """A gap of five rows in column a, and one of one row in b."""
    frame = series(30, missing=0.0)
    frame.iloc[8:13, 0] = np.nan
    frame.iloc[20, 1] = np.nan
    return frame


def strict(response: httpx.Response) -> Any:
    """An answer that holds nothing that JSON does not know, such as NaN."""
    assert response.status_code == 200, response.text

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(response.content, parse_constant=refuse)


def open_model(server: Server, frame: pd.DataFrame) -> httpx.Response:
    cells = body(frame)["rows"]
    tensor = {"name": "values", "shape": list(frame.shape), "datatype": "FP64", "data": cells}
    url = server.url + "/v2/models/rows/infer"
    return httpx.post(url, json={"inputs": [tensor]}, trust_env=False)


def test_refused_cells_are_null_and_not_among_the_imputed(tmp_path: Path, start: Starter) -> None:
    frame = gapped()
    rules = {"min_observed": 5, "scaling": "rank", "variance": "fixed"}
    for name, max_gap in (("rows", 3), ("times", "3h")):
        dated = frame.set_index(pd.date_range("2026-01-01", periods=len(frame), freq="h"))
        make_imputer(**rules, max_gap=max_gap).fit(dated).save(tmp_path / "models" / name / "1")
    server = start(tmp_path / "models")
    stamps = [time.isoformat() for time in dated.index]
    for sent in (body(frame, model="rows"), body(frame, model="times", timestamps=stamps)):
        answer = strict(server.impute(sent))
        assert [row[0] for row in answer["median"][8:13]] == [None] * 5
        assert [(cell["row"], cell["column"]) for cell in answer["imputed"]] == [(20, "b")]
    without = server.impute(body(frame, model="times"))
    assert without.status_code == 422 and "timestamps" in without.text
    assert strict(open_model(server, frame))["outputs"][0]["data"][8 * 3] is None
    client = ImputeClient(server.url, model="rows")
    assert client.impute(frame, n_samples=2).isna().sum().tolist() == [5, 0, 0]
    assert int(client.predict_quantiles(frame, n_samples=2).isnull().sum()) == 15


def test_a_forecast_that_reaches_too_far_is_422_and_harms_no_other(
    tmp_path: Path, start: Starter
) -> None:
    make_imputer(mode="forecast").fit(series(60)).save(tmp_path / "models" / "ahead" / "1")
    server = start(tmp_path / "models")
    for n_empty, status in ((12, 422), (11, 200)):
        frame = series(30)
        frame.iloc[-n_empty:] = np.nan
        answer = server.impute(body(frame, n_samples=2))
        assert answer.status_code == status, answer.text
        assert ("a reading in one of the last 12 rows" in answer.text) is (status == 422)


@pytest.mark.parametrize(("rules", "may"), [({}, False), ({"max_gap": 3}, True)])
def test_only_a_model_that_may_refuse_may_answer_nan(rules: dict[str, Any], may: bool) -> None:
    imputer = make_imputer(**rules)
    assert is_sound(np.array([1.0, np.nan]), imputer) is may
    assert is_sound(np.array([1.0, 2.0]), imputer)
    assert not is_sound(np.array([1.0, np.inf]), imputer)
