"""Models that depend on the time of a row, by every road into the service."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from api.times import BadTimeError, parse_times
from tests.api.conftest import FEATURES, Server, body, make_imputer, rows, series, serve
from tsimpute import EDDPMImputer
from tsimpute.client import ImputeClient, ServiceRefusal
from tsimpute.errors import InputError

N = 26
BERLIN = "Europe/Berlin"
SPRING = pd.Timestamp("2026-03-28T18:00", tz=BERLIN)  # the clocks change in the night


def hourly(n: int = N, **options: Any) -> pd.DatetimeIndex:
    return pd.date_range(options.pop("start", "2026-01-01"), periods=n, freq="h", **options)


def uneven(n: int = N, seed: int = 0) -> pd.DatetimeIndex:
    steps = np.random.default_rng(seed).choice([10, 60, 60, 300], size=n).cumsum()
    return pd.Timestamp("2026-01-01") + pd.to_timedelta(steps, unit="min")


def timed(times: Any, seed: int = 0) -> pd.DataFrame:
    """Random walks; in column a a gap of nine rows, of which "6h" and more are left open."""
    frame = series(len(times), seed).set_axis(times, axis=0)
    frame.iloc[8:17, 0] = np.nan
    return frame


RULES: dict[str, dict[str, Any]] = {
    "calendar": {"calendar": ["hour", "dayofweek"]},
    "berlin": {"calendar": ["hour"]},
    "clock": {"time": "clock"},
    "numbers": {"time": "clock"},
    "gap": {"max_gap": "6h"},
    "plain": {},
}
TRAINED: dict[str, Any] = {
    "calendar": hourly(60),
    "berlin": hourly(60, tz=BERLIN),
    "clock": uneven(60, seed=1),
    "numbers": uneven(60, seed=1).asi8 / 3.6e9,
    "gap": hourly(60),
    "plain": hourly(60),
}
SENT: dict[str, Any] = {
    "calendar": hourly(),
    "berlin": hourly(start=SPRING),
    "clock": uneven(),
    "numbers": pd.Index(np.array([0, 0.5, 4]).repeat(9)[:N].cumsum() + np.arange(N)),
    "gap": hourly(),
}


@pytest.fixture(scope="module")
def imputers() -> dict[str, EDDPMImputer]:
    made = {name: make_imputer(variance="fixed", **rules) for name, rules in RULES.items()}
    return {name: made[name].fit(series(60).set_axis(TRAINED[name], axis=0)) for name in made}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, imputers: dict[str, EDDPMImputer]
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("times")
    for name, imputer in imputers.items():
        imputer.save(folder / "models" / name / "1")
    with serve(folder, folder / "models") as running:
        yield running


def median(imputer: EDDPMImputer, data: Any) -> np.ndarray:
    found = imputer.predict_quantiles(data, [0.5], n_samples=5, random_state=0)
    return found.isel(quantile=0).values


def stamps(frame: pd.DataFrame) -> list[Any]:
    times = frame.index
    return times.tolist() if times.dtype.kind == "f" else [time.isoformat() for time in times]


def assert_same(found: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(
        np.array(found, dtype=np.float64), expected, rtol=1e-5, atol=1e-5, equal_nan=True
    )


# ---- JSON -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SENT)
def test_the_wide_form_gives_the_librarys_numbers(
    server: Server, imputers: dict[str, EDDPMImputer], name: str
) -> None:
    frame = timed(SENT[name])
    options = {"model": name, "timestamps": stamps(frame), "n_samples": 5}
    answer = server.impute(body(frame, **options, time_zone=BERLIN if name == "berlin" else None))
    assert answer.status_code == 200, answer.text
    assert_same(answer.json()["median"], median(imputers[name], frame))
    assert answer.json()["timestamps"] == stamps(frame)


@pytest.mark.parametrize("name", SENT)
def test_the_long_form_gives_the_librarys_numbers(
    server: Server, imputers: dict[str, EDDPMImputer], name: str
) -> None:
    frame = timed(SENT[name])
    records = [
        {"timestamp": stamp, "feature": column, "value": cell}
        for stamp, row in zip(stamps(frame), rows(frame), strict=True)
        for column, cell in zip(FEATURES, row, strict=True)
    ]
    sent = {"records": records[::-1], "model": name, "n_samples": 5}
    answer = server.impute(sent).json()
    order = [answer["columns"].index(feature) for feature in FEATURES]
    assert_same(np.array(answer["median"], dtype=float)[:, order], median(imputers[name], frame))


@pytest.mark.parametrize("name", SENT)
def test_without_times_it_is_422_that_says_so(server: Server, name: str) -> None:
    answer = server.impute(body(timed(SENT[name]), model=name))
    assert answer.status_code == 422
    (detail,) = answer.json()["error"]["details"]
    assert (detail["location"], detail["type"]) == (["body", "timestamps"], "missing")
    with server.client() as client:
        needed = client.get(f"/models/{name}").json()["times_needed"]
        assert client.get("/models/plain").json()["times_needed"] is None
    assert f"expected {needed}, one a row" in detail["message"]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("calendar", [float(i) for i in range(N)]),
        ("calendar", [f"PT{i}H" for i in range(N)]),
        ("clock", [float(i) for i in range(N)]),
        ("gap", [float(i) for i in range(N)]),
        ("numbers", [time.isoformat() for time in hourly()]),
    ],
)
def test_times_of_another_kind_than_the_models_are_422(
    server: Server, name: str, sent: list[Any]
) -> None:
    answer = server.impute(body(timed(hourly()), model=name, timestamps=sent))
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["details"][0]["type"] == "kind"


# ---- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", ["time", "timestamp", "date", None])
@pytest.mark.parametrize("name", SENT)
def test_csv_and_parquet_give_the_librarys_numbers(
    server: Server, imputers: dict[str, EDDPMImputer], name: str, title: str | None
) -> None:
    """Without a title: what pandas writes of an index without a name."""
    frame = timed(SENT[name]).rename_axis(title)
    expected = median(imputers[name], frame)
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    for kind, data in (("csv", frame.to_csv().encode()), ("parquet", buffer.getvalue())):
        with server.client() as client:
            files = {"file": (f"data.{kind}", data)}
            answer = client.post("/impute", files=files, data={"model": name, "n_samples": "5"})
        assert answer.status_code == 200, answer.text
        read = pd.read_csv if kind == "csv" else pd.read_parquet
        filled = read(io.BytesIO(answer.content))
        assert_same(filled[FEATURES].to_numpy(), expected)
        came, column = filled.iloc[:, 0], frame.index.to_series()
        assert came.astype(str).tolist() == column.astype(str).tolist()


def test_parquet_keeps_time_zone_and_series(
    server: Server, imputers: dict[str, EDDPMImputer]
) -> None:
    parts = {"x": timed(hourly(start=SPRING)), "y": timed(hourly(start=SPRING), 1)}
    frame = pd.concat(parts)
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    with server.client() as client:
        files = {"file": ("data.parquet", buffer.getvalue())}
        answer = client.post("/impute", files=files, data={"model": "berlin", "n_samples": "5"})
    filled = pd.read_parquet(io.BytesIO(answer.content)).set_index(["series", "time"])
    pd.testing.assert_index_equal(filled.index, frame.index, check_names=False)
    expected = median(imputers["berlin"], frame)
    assert_same(filled[FEATURES].to_numpy(), expected.reshape(-1, len(FEATURES)))


# ---- Open Inference Protocol ------------------------------------------------------------------


def tensor(name: str, shape: list[int], datatype: str, data: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def infer(server: Server, model: str, inputs: list[Any], **parameters: Any) -> httpx.Response:
    sent = {"inputs": inputs, "parameters": {"n_samples": 5, **parameters}}
    return httpx.post(server.url + f"/v2/models/{model}/infer", json=sent, trust_env=False)


@pytest.mark.parametrize("name", SENT)
def test_timestamps_are_an_optional_tensor(
    server: Server, imputers: dict[str, EDDPMImputer], name: str
) -> None:
    frame = timed(SENT[name])
    values = tensor("values", [N, 3], "FP64", rows(frame))
    kind = "FP64" if name == "numbers" else "BYTES"
    times = tensor("timestamps", [N], kind, stamps(frame))
    answer = infer(server, name, [values, times])
    assert answer.status_code == 200, answer.text
    found = np.array(answer.json()["outputs"][0]["data"], dtype=float).reshape(N, 3)
    assert_same(found, median(imputers[name], frame))
    without = infer(server, name, [values])
    assert without.status_code == 422
    assert "body.timestamps: expected" in without.json()["error"]


def test_the_tensor_of_timestamps_has_a_row_for_each_series_or_one_for_all(
    server: Server, imputers: dict[str, EDDPMImputer]
) -> None:
    parts = {0: timed(uneven(seed=3)), 1: timed(uneven(seed=4), 1)}
    both = [rows(part) for part in parts.values()]
    each = [stamps(part) for part in parts.values()]
    values = tensor("values", [2, N, 3], "FP64", both)
    answer = infer(server, "clock", [values, tensor("timestamps", [2, N], "BYTES", each)])
    found = np.array(answer.json()["outputs"][0]["data"], dtype=float).reshape(-1, 3)
    expected = imputers["clock"].predict_quantiles(
        pd.concat(parts), [0.5], n_samples=5, random_state=0
    )
    labelled = expected.isel(quantile=0).stack(row=["series", "time"])
    index = pd.concat(parts).index.set_names(["series", "time"])
    assert_same(found, labelled.sel(row=index).transpose("row", "feature").values)
    shared = infer(server, "clock", [values, tensor("timestamps", [N], "BYTES", each[0])])
    assert shared.status_code == 200


@pytest.mark.parametrize(
    ("shape", "data", "told"),
    [
        ([N - 1], ["2026-01-01"] * (N - 1), "(time,) or (series, time)"),
        ([N], ["2026-01-01"], "as many cells"),
        ([N], ["2026-01-01"] * N, "body.timestamps.1: expected each time once"),
        ([N], [None] * N, "inputs.timestamps.data.0"),
        ([N], [True] * N, "inputs.timestamps.data.0"),
    ],
)
def test_a_bad_tensor_of_timestamps_is_422(
    server: Server, shape: list[int], data: list[Any], told: str
) -> None:
    values = tensor("values", [N, 3], "FP64", rows(timed(hourly())))
    answer = infer(server, "plain", [values, tensor("timestamps", shape, "BYTES", data)])
    assert answer.status_code == 422, answer.text
    assert told in answer.json()["error"]


# ---- the client -------------------------------------------------------------------------------

INDEXES: dict[str, tuple[str, Any]] = {
    **{name: (name, times) for name, times in SENT.items()},
    "periods": ("calendar", pd.period_range("2026-01-01", periods=N, freq="h")),
    "naive in berlin": ("berlin", hourly()),
    "aware where naive was learned": ("calendar", hourly(start=SPRING)),
    "daylight saving by the clock": ("clock", hourly(start=SPRING)),
    "days of 23 hours": ("plain", pd.date_range("2026-03-20", periods=N, freq="D", tz=BERLIN)),
    "UTC": ("calendar", hourly(tz="UTC")),
    "a fixed offset": ("calendar", hourly(tz="+05:30")),
    "durations": ("clock", pd.TimedeltaIndex(uneven() - uneven()[0])),
    "durations and gaps": ("gap", pd.timedelta_range("-3h", periods=N, freq="h")),
    "months": ("plain", pd.date_range("2026-01-01", periods=N, freq="MS")),
    "periods of months": ("plain", pd.period_range("2026-01", periods=N, freq="M")),
    "nanoseconds": ("plain", pd.date_range("2026-01-01", periods=N, freq="3ns")),
    "rows": ("plain", pd.RangeIndex(N)),
}


@pytest.mark.filterwarnings("ignore:X has .* but the model was trained on:UserWarning")
@pytest.mark.parametrize("which", INDEXES)
def test_the_client_gives_the_librarys_numbers_on_the_same_index(
    server: Server, imputers: dict[str, EDDPMImputer], which: str
) -> None:
    name, times = INDEXES[which]
    frame = timed(times)
    client = ImputeClient(server.url, model=name)
    filled = client.impute(frame, n_samples=5)
    pd.testing.assert_index_equal(filled.index, frame.index)
    assert_same(filled.to_numpy(), median(imputers[name], frame))
    found = client.predict_quantiles(frame, [0.1, 0.9], n_samples=5, seed=2)
    expected = imputers[name].predict_quantiles(frame, [0.1, 0.9], n_samples=5, random_state=2)
    xr.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["calendar", "berlin", "clock", "gap"])
def test_the_client_sends_the_times_of_many_series(
    server: Server, imputers: dict[str, EDDPMImputer], name: str
) -> None:
    times = SENT[name]
    parts = {"x": timed(times[:20]), "y": timed(times[3:], 1)}
    frame = pd.concat(parts, names=["stay", "time"])
    client = ImputeClient(server.url, model=name)
    filled = client.impute(frame, n_samples=5)
    pd.testing.assert_index_equal(filled.index, frame.index)
    expected = imputers[name].predict_quantiles(frame, [0.5], n_samples=5, random_state=0)
    found = client.predict_quantiles(frame, [0.5], n_samples=5)
    xr.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["calendar", "clock", "gap"])
def test_the_client_sends_the_time_coordinate_of_xarray(
    server: Server, imputers: dict[str, EDDPMImputer], name: str
) -> None:
    frame = timed(SENT[name])
    array = xr.DataArray(
        frame.to_numpy(),
        dims=("time", "feature"),
        coords={"time": frame.index, "feature": FEATURES},
    )
    client = ImputeClient(server.url, model=name)
    expected = median(imputers[name], array)
    filled = client.impute(array, n_samples=5)
    assert filled.indexes["time"].equals(frame.index)
    assert_same(filled.values, expected)
    of_columns = client.impute(array.to_dataset(dim="feature"), n_samples=5)
    assert_same(of_columns.to_dataarray("feature").transpose("time", "feature").values, expected)
    with pytest.raises(ServiceRefusal, match="one a row"):
        client.impute(array.drop_vars("time"), n_samples=5)


def test_what_the_client_cannot_send_is_an_input_error(server: Server) -> None:
    import dateutil.tz

    client = ImputeClient(server.url, model="plain")
    nameless = hourly(tz=dateutil.tz.gettz(BERLIN))
    with pytest.raises(InputError, match="no name that could be sent"):
        client.impute(timed(nameless))
    with pytest.raises(InputError, match="the time of row 25 is missing"):
        client.impute(timed(pd.Index([*range(N - 1), np.inf])))


# ---- times that cannot be used ----------------------------------------------------------------


def spoiled(row: int, stamp: Any, times: Any = None) -> list[Any]:
    sent = [time.isoformat() for time in (hourly() if times is None else times)]
    return [*sent[:row], stamp, *sent[row + 1 :]]


BAD: dict[str, tuple[list[Any], int, str]] = {
    "none": (spoiled(5, "yesterday"), 5, "timestamp"),
    "the server's own clock": (spoiled(5, "now"), 5, "timestamp"),
    "nothing": (spoiled(5, ""), 5, "timestamp"),
    "NaT": (spoiled(5, "NaT"), 5, "timestamp"),
    "no such day": (spoiled(5, "2026-02-30"), 5, "timestamp"),
    "too late": (spoiled(5, "9999999-01-01"), 5, "timestamp"),
    "twice": (spoiled(6, "2026-01-01T05:00:00"), 6, "duplicate"),
    "earlier": (spoiled(7, "2026-01-01T04:30:00"), 7, "order"),
    "off the grid": (spoiled(7, "2026-01-01T07:01:00"), 7, "step"),
    "an offset in one": (spoiled(9, "2026-01-01T09:00:00Z"), 9, "timestamp"),
    "no offset in one": (
        spoiled(9, "2026-01-01T09:00:00", hourly(tz="UTC")),
        9,
        "timestamp",
    ),
    "a number among texts": (spoiled(4, 4.0), 4, "timestamp"),
    "text among numbers": ([0.0, 1.0, "2", *map(float, range(3, N))], 2, "timestamp"),
    "a time among durations": (["PT0H", "2026-01-01", *["PT9H"] * (N - 2)], 1, "timestamp"),
    "numbers off the grid": ([*map(float, range(N - 1)), 99.0], N - 1, "step"),
}


@pytest.mark.parametrize("which", BAD)
def test_a_time_that_cannot_be_used_is_422_that_names_its_row(server: Server, which: str) -> None:
    sent, row, kind = BAD[which]
    answer = server.impute(body(timed(hourly()), model="plain", timestamps=sent))
    assert answer.status_code == 422, answer.text
    detail = answer.json()["error"]["details"][0]
    assert (detail["location"], detail["type"]) == (["body", "timestamps", row], kind)
    assert detail["message"].startswith("expected")
    assert str(sent[row]) not in answer.text or sent[row] in ("", 4.0, 99.0, "2")


@pytest.mark.parametrize("which", ["none", "twice", "off the grid"])
def test_a_file_names_the_row_too(server: Server, which: str) -> None:
    sent, row, kind = BAD[which]
    data = timed(pd.Index(sent, name="time")).to_csv()
    with server.client() as client:
        files = {"file": ("data.csv", data)}
        answer = client.post("/impute", files=files, data={"model": "plain"})
    detail = answer.json()["error"]["details"][0]
    assert (detail["location"], detail["type"]) == (["body", "timestamps", row], kind)


def test_in_interleaved_series_it_is_the_row_of_the_request(server: Server) -> None:
    times = [*np.repeat([t.isoformat() for t in hourly(10)], 2)]
    times[13] = times[11]
    frame = timed(range(20))
    sent = body(frame, model="plain", timestamps=times, series=["x", "y"] * 10)
    detail = server.impute(sent).json()["error"]["details"][0]
    assert (detail["location"], detail["type"]) == (["body", "timestamps", 13], "duplicate")
    steps = [*np.repeat([t.isoformat() for t in hourly(10)], 2)]
    for i in range(10):
        steps[2 * i + 1] = (hourly(1)[0] + i * pd.Timedelta("2h")).isoformat()
    sent = body(frame, model="plain", timestamps=steps, series=["x", "y"] * 10)
    detail = server.impute(sent).json()["error"]["details"][0]
    assert (detail["location"], detail["type"]) == (["body", "timestamps", 3], "step")


@pytest.mark.parametrize(
    ("stamp", "kind"),
    [("soon", "timestamp"), ("2026-01-01T02:00:00.0", "duplicate"), ("2026-01-01T03:30", "step")],
)
def test_in_the_long_form_it_is_a_record(server: Server, stamp: str, kind: str) -> None:
    times = [time.isoformat() for time in hourly(8)]
    times[3] = stamp
    records = [
        {"timestamp": time, "feature": feature, "value": 1.0}
        for time in times
        for feature in FEATURES
    ]
    answer = server.impute({"records": records, "model": "plain"})
    assert answer.status_code == 422, answer.text
    detail = answer.json()["error"]["details"][0]
    assert detail["type"] == kind
    place, record, field = detail["location"][1:]
    assert (place, field) == ("records", "timestamp")
    assert record // 3 in ((2, 3) if kind == "duplicate" else (3,))


@pytest.mark.parametrize(
    ("zone", "times", "kind"),
    [
        ("Nowhere/Land", hourly(tz="UTC"), "unknown"),
        ("../../etc/passwd", hourly(tz="UTC"), "unknown"),
        ("/etc/localtime", hourly(tz="UTC"), "unknown"),
        ("Europe", hourly(tz="UTC"), "unknown"),
        ("\0", hourly(tz="UTC"), "unknown"),
        (BERLIN, hourly(), "no_offset"),
        (BERLIN, None, "no_offset"),
    ],
)
def test_a_time_zone_that_cannot_be_used_is_422(
    server: Server, zone: str, times: Any, kind: str
) -> None:
    frame = timed(hourly())
    sent = None if times is None else [time.isoformat() for time in times]
    answer = server.impute(body(frame, model="plain", time_zone=zone, timestamps=sent))
    assert answer.status_code == 422
    detail = answer.json()["error"]["details"][0]
    assert (detail["location"], detail["type"]) == (["body", "time_zone"], kind)
    assert json.dumps(zone)[1:-1] not in answer.text or zone in BERLIN


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (["2026-01-01", "2026-01-02"], pd.date_range("2026-01-01", periods=2)),
        (["2026-01-01T01:00+01:00"], pd.DatetimeIndex(["2026-01-01T01:00+01:00"])),
        (
            ["2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00"],
            pd.date_range("2026-03-29", periods=2, freq="h", tz="UTC"),
        ),
        (["P1D", "P1DT12H"], pd.TimedeltaIndex(["1D", "36h"])),
        (["1 days 00:00:00", "2 days 00:00:00"], pd.TimedeltaIndex(["1D", "2D"])),
        ([0, 1.5], pd.Index([0.0, 1.5])),
    ],
)
def test_what_times_mean(sent: list[Any], expected: Any) -> None:
    found = parse_times(sent)
    assert found.equals(expected)
    assert getattr(found, "tz", None) == getattr(expected, "tz", None)


def test_the_bad_time_itself_is_not_told() -> None:
    with pytest.raises(BadTimeError) as caught:
        parse_times(["2026-01-01", "1174x"])
    assert caught.value.row == 1
    assert "1174" not in str(caught.value)
