"""CSV and Parquet: answered in kind, with the numbers of the JSON answer."""

from __future__ import annotations

import io
import math
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from pyarrow import csv

from api.files import read_file
from api.settings import Settings
from tests.api.conftest import FEATURES, Server, body, series
from tsimpute.files import level_suffix

LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]


def send(server: Server, name: str, data: bytes | str, **options: str) -> httpx.Response:
    with server.client() as client:
        return client.post("/impute", files={"file": (name, data)}, data=options)


def dated(n: int = 20, seed: int = 0) -> pd.DataFrame:
    frame = series(n, seed=seed)
    frame.insert(0, "time", pd.date_range("2026-01-01", periods=n, freq="h"))
    return frame


def to_bytes(frame: pd.DataFrame, kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "csv":
        frame.to_csv(buffer, index=False)
    else:
        frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def read(answer: httpx.Response, kind: str) -> pd.DataFrame:
    assert answer.status_code == 200, answer.text
    if kind == "parquet":
        return pd.read_parquet(io.BytesIO(answer.content))
    return csv.read_csv(io.BytesIO(answer.content)).to_pandas()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_is_answered_in_kind(server: Server, kind: str) -> None:
    frame = dated()
    answer = send(server, f"data.{kind}", to_bytes(frame, kind), n_samples="5", seed="3")
    filled = read(answer, kind)
    bands = [f"{name}_q{level_suffix(level)}" for name in FEATURES for level in LEVELS]
    assert list(filled.columns) == [*frame.columns, *bands]
    assert (filled["time"].to_numpy() == frame["time"].to_numpy()).all()
    told = server.impute(body(frame[FEATURES], n_samples=5, seed=3)).json()
    assert filled[FEATURES].to_numpy().tolist() == told["median"]
    for level in LEVELS:
        columns = [f"{name}_q{level_suffix(level)}" for name in FEATURES]
        assert filled[columns].to_numpy().tolist() == told["values"][str(level)]
    assert answer.headers["X-Model"] == "demo/1"
    assert answer.headers["X-Seed"] == "3"


def test_json_can_be_asked_for(server: Server) -> None:
    data = to_bytes(dated(), "csv")
    with server.client() as client:
        files = {"file": ("data.csv", data)}
        one = client.post("/impute?answer=json", files=files, data={"quantiles": "0.1,0.9"})
        two = client.post(
            "/impute",
            files=files,
            data={"quantiles": "0.1,0.9"},
            headers={"Accept": "application/json"},
        )
    assert one.json()["values"] == two.json()["values"]
    assert one.json()["quantiles"] == [0.1, 0.9]


def test_whole_numbers_and_series_keep_their_form(server: Server) -> None:
    text = "series,time,a,b,c\nx,0,1,,3\nx,1,2,2.5,4\ny,0,,1,5\n"
    answer = send(server, "data.csv", text, n_samples="2", quantiles="0.5")
    lines = answer.text.splitlines()
    assert lines[0] == "series,time,a,b,c,a_q50,b_q50,c_q50"
    assert [line.split(",")[:2] for line in lines[1:]] == [["x", "0"], ["x", "1"], ["y", "0"]]
    assert [line.split(",")[4] for line in lines[1:]] == ["3", "4", "5"]


def test_integer_and_date_labels_of_parquet_are_kept(server: Server) -> None:
    frame = dated(12).set_index("time")
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    filled = read(send(server, "data.parquet", buffer.getvalue(), n_samples="2"), "parquet")
    assert (filled["time"].to_numpy() == frame.index.to_numpy()).all()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\n1\n\n3\n", [[1], [math.nan], [3]]),
        (b"a,b\n1,2\n\n3,\n", [[1, 2], [3, math.nan]]),
    ],
)
def test_an_empty_line_is_a_missing_value_in_a_single_column_only(
    data: bytes, expected: list[list[float]]
) -> None:
    file = read_file(data, "data.csv", "text/csv", Settings())
    np.testing.assert_array_equal(file.table.values, expected)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("data.csv", b"\x00\x01\x02"),
        ("data.txt", b"a,b,c\n1,2,3\n"),
        ("data.xlsx", b"PK\x03\x04"),
        ("data.parquet", b"PAR1 and then nothing"),
        ("data.parquet", b"not parquet"),
        ("data.csv", b""),
    ],
)
def test_other_files_are_415(server: Server, name: str, data: bytes) -> None:
    answer = send(server, name, data)
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    "text",
    [
        "a,b,c\n1,two,3\n",
        "a,b,c\n1,True,3\n",
        "a,b,c\n1,inf,3\n",
        "a,b,c\n1,1e13,3\n",
        "a,b,c\n",
        "a,b\n1,2\n",
        "a,b,c,d\n1,2,3,4\n",
        "time,a,b,c\n2026-01-01,1,2,3\n2026-01-01,1,2,3\n",
        "time,a,b,c\nsoon,1,2,3\n",
        "time,a,b,c\n,1,2,3\n",
        "time\n2026-01-01\n",
        "a,b,c\n1,2\n",
        "a,b,b\n1,2,3\n",
    ],
)
def test_files_that_cannot_be_used_are_422(server: Server, text: str) -> None:
    assert send(server, "data.csv", text).status_code == 422


@pytest.mark.parametrize(
    ("text", "line"),
    [("a,b,c\n1,2,3,4\n", 2), ("a,b,c\n1,2,3\n4,5\n", 3), ("a,b,c\n1,2,3\n4,5,6,7\n8,9\n", 3)],
)
def test_a_ragged_row_is_named_by_its_line(server: Server, text: str, line: int) -> None:
    answer = send(server, "data.csv", text)
    assert answer.status_code == 422
    (detail,) = answer.json()["error"]["details"]
    assert detail["location"] == ["body", "file", "line", line]
    assert detail["type"] == "ragged"


@pytest.mark.parametrize(
    "options",
    [
        {"n_samples": "many"},
        {"n_samples": "0"},
        {"quantiles": "0.5,x"},
        {"quantiles": "nan"},
        {"deadline_s": "inf"},
        {"seed": "1.5"},
        {"colour": "red"},
    ],
)
def test_form_fields_that_cannot_be_used_are_422(server: Server, options: dict[str, str]) -> None:
    assert send(server, "data.csv", "a,b,c\n1,,3\n", **options).status_code == 422


def test_a_form_without_a_file_is_422(server: Server) -> None:
    with server.client() as client:
        answer = client.post("/impute", files={"other": ("x.csv", b"a")}, data={"seed": "1"})
    assert answer.status_code == 422


def test_a_form_that_is_none_is_415(server: Server) -> None:
    with server.client() as client:
        answer = client.post(
            "/impute", content=b"nothing", headers={"Content-Type": "multipart/form-data"}
        )
    assert answer.status_code == 415


def test_a_parquet_file_that_unpacks_to_too_much_is_refused(server: Server) -> None:
    frame = pd.DataFrame({name: np.zeros(2_000_000) for name in FEATURES})
    data = to_bytes(frame, "parquet")
    assert len(data) < 100_000
    answer = send(server, "data.parquet", data)
    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["type"] == "too_many_cells"


def test_nothing_is_written_to_disk(server: Server) -> None:
    """The upload stays in memory: the process holds no file below its temporary folder."""
    send(server, "data.csv", to_bytes(dated(2000), "csv"), n_samples="1")
    folder = Path(f"/proc/{server.process.pid}/fd")
    if not folder.is_dir():
        pytest.skip("needs /proc")
    targets = [str(link.readlink()) for link in folder.iterdir() if link.is_symlink()]
    assert not [target for target in targets if "deleted" in target]


@pytest.mark.parametrize(
    ("level", "text"), [(0.05, "05"), (0.5, "50"), (0.975, "97_5"), (0.001, "00_1")]
)
def test_levels_in_column_names(level: float, text: str) -> None:
    assert level_suffix(level) == text
