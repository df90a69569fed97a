"""The Python client: what the library answers, over the wire."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from api.auth import digest
from tests.api.conftest import FEATURES, Server, Starter, series
from tsimpute import EDDPMImputer
from tsimpute.client import ImputeClient, ServiceRefusal
from tsimpute.errors import InputError


@pytest.fixture
def client(server: Server) -> ImputeClient:
    return ImputeClient(server.url, model="demo")


def dated(n: int = 20) -> pd.DataFrame:
    return series(n, seed=1).set_index(pd.date_range("2026-01-01", periods=n, freq="h"))


def many() -> pd.DataFrame:
    parts = {"x": dated(12), "y": dated(17)}
    return pd.concat(parts, names=["series", "time"])


@pytest.mark.parametrize("frame", [dated(), many(), dated()[["c", "b", "a"]]])
def test_a_frame_comes_back_filled(client: ImputeClient, frame: pd.DataFrame) -> None:
    filled = client.impute(frame, n_samples=3)
    assert filled.index.equals(frame.index)
    assert list(filled.columns) == list(frame.columns)
    assert not filled.isna().any().any()
    observed = frame.notna().to_numpy()
    assert (filled.to_numpy()[observed] == frame.to_numpy()[observed]).all()


def test_arrays_and_labelled_arrays_come_back_as_they_are(client: ImputeClient) -> None:
    array = series(10).to_numpy()
    assert client.impute(array, n_samples=2).shape == array.shape
    labelled = xr.DataArray(
        np.stack([array, array]), dims=("series", "time", "feature"), coords={"feature": FEATURES}
    )
    filled = client.impute(labelled, n_samples=2)
    assert isinstance(filled, xr.DataArray)
    assert filled.dims == labelled.dims


@pytest.mark.parametrize("frame", [dated(), many()])
def test_quantiles_are_the_librarys(
    client: ImputeClient, imputer: EDDPMImputer, frame: pd.DataFrame
) -> None:
    found = client.predict_quantiles(frame, [0.1, 0.5], n_samples=5, seed=2)
    expected = imputer.predict_quantiles(frame, [0.1, 0.5], n_samples=5, random_state=2)
    xr.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_refusal_says_why(client: ImputeClient, start: Starter) -> None:
    with pytest.raises(ServiceRefusal, match="expected exactly the model's 3 features") as caught:
        client.impute(dated()[["a", "b"]])
    assert (caught.value.status, caught.value.code) == (422, "invalid_request")
    server = start(api_keys=digest("right"))
    with pytest.raises(ServiceRefusal, match="unauthorized"):
        ImputeClient(server.url).impute(dated())
    assert not ImputeClient(server.url, "right").impute(dated(), n_samples=1).isna().any().any()


def test_what_cannot_be_sent_is_an_input_error(client: ImputeClient) -> None:
    with pytest.raises(InputError):
        client.impute(dated().replace(np.nan, np.inf))
    with pytest.raises(InputError, match="expected http"):
        ImputeClient("ftp://example.org")


class Busy(BaseHTTPRequestHandler):
    """Answers 429 twice, then moves elsewhere."""

    seen: list[float]

    def do_POST(self) -> None:
        self.seen.append(time.monotonic())
        self.rfile.read(int(self.headers["Content-Length"]))
        if len(self.seen) < 3:
            self.send_response(429)
            self.send_header("Retry-After", "1")
        else:
            self.send_response(307)
            self.send_header("Location", "http://elsewhere.invalid/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def busy() -> Iterator[tuple[str, list[float]]]:
    seen: list[float] = []
    handler = type("Handler", (Busy,), {"seen": seen})
    with HTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", seen
        listening.shutdown()
        thread.join()


def test_429_is_tried_again_after_the_pause_and_no_redirect_is_followed(
    busy: tuple[str, list[float]],
) -> None:
    url, seen = busy
    with pytest.raises(ServiceRefusal) as caught:
        ImputeClient(url, "key").impute(dated())
    assert caught.value.status == 307
    assert len(seen) == 3
    assert min(np.diff(seen)) >= 0.9


def test_429_without_end_is_told(busy: tuple[str, list[float]]) -> None:
    url, seen = busy
    with pytest.raises(ServiceRefusal) as caught:
        ImputeClient(url, retries=0).impute(dated())
    assert (caught.value.status, len(seen)) == (429, 1)
