"""Open Inference Protocol, spoken by Triton's own client."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.api.conftest import Server, body, series

with warnings.catch_warnings():  # the client's own dependencies warn when they are imported
    warnings.simplefilter("ignore")
    triton = pytest.importorskip("tritonclient.http")


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        connection = triton.InferenceServerClient(server.url.removeprefix("http://"))
        yield connection
        connection.close()


def tensor(name: str, values: np.ndarray, kind: str = "FP64") -> Any:
    made = triton.InferInput(name, list(values.shape), kind)
    made.set_data_from_numpy(values, binary_data=False)
    return made


def output(name: str) -> Any:
    return triton.InferRequestedOutput(name, binary_data=False)


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("demo")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata()["name"] == "tsimpute"
    about = client.get_model_metadata("demo")
    assert about["name"] == "demo"
    assert about["versions"] == ["1"]
    assert about["inputs"][0]["shape"] == [-1, -1, 3]


def test_the_numbers_are_those_of_impute(client: Any, server: Server) -> None:
    frame = series(20, seed=5)
    values, mask = frame.fillna(0.0).to_numpy(), frame.notna().to_numpy()
    answer = client.infer(
        "demo",
        [
            tensor("values", values),
            tensor("observed_mask", mask, "BOOL"),
            tensor("quantiles", np.array([0.1, 0.9])),
        ],
        outputs=[output("median"), output("quantiles"), output("levels")],
        parameters={"seed": 4, "n_samples": 6},
        request_id="mine",
    )
    told = server.impute(
        body(frame, seed=4, n_samples=6, quantiles=[0.1, 0.9], model="demo")
    ).json()
    assert answer.get_response()["id"] == "mine"
    assert answer.get_response()["parameters"]["seed"] == 4
    assert answer.as_numpy("median").tolist() == told["median"]
    assert answer.as_numpy("quantiles").tolist() == [told["values"][q] for q in ("0.1", "0.9")]
    assert answer.as_numpy("levels").tolist() == [0.1, 0.9]


def test_several_series_are_a_third_dimension(client: Any, server: Server) -> None:
    frames = [series(12, seed=1), series(12, seed=2)]
    values = np.stack([frame.fillna(0.0).to_numpy() for frame in frames])
    mask = np.stack([frame.notna().to_numpy() for frame in frames])
    answer = client.infer(
        "demo",
        [tensor("values", values), tensor("observed_mask", mask, "BOOL")],
        outputs=[output("median")],
        parameters={"n_samples": 3},
    )
    found = answer.as_numpy("median")
    assert found.shape == (2, 12, 3)
    assert (found[mask] == values[mask]).all()
    assert np.isfinite(found).all()


def test_mistakes_are_told_in_the_protocols_words(client: Any) -> None:
    with pytest.raises(triton.InferenceServerException, match="expected"):
        client.infer("demo", [tensor("values", np.zeros((4, 2)))], outputs=[output("median")])
    with pytest.raises(triton.InferenceServerException, match="no such model"):
        client.infer("none", [tensor("values", np.zeros((4, 3)))], outputs=[output("median")])


def infer(server: Server, sent: Any) -> httpx.Response:
    return httpx.post(server.url + "/v2/models/demo/infer", json=sent, trust_env=False)


def values_of(data: list[Any], shape: list[int]) -> dict[str, Any]:
    tensor = {"name": "values", "shape": shape, "datatype": "FP64", "data": data}
    return {"inputs": [tensor], "parameters": {"n_samples": 2}}


def test_null_is_missing_and_nested_data_are_as_good_as_flat(server: Server) -> None:
    flat = infer(server, values_of([1, None, 2, 3, 4, None], [2, 3])).json()
    nested = infer(server, values_of([[1, None, 2], [3, 4, None]], [2, 3])).json()
    assert flat == nested
    assert flat["outputs"][0]["data"][0] == 1.0


@pytest.mark.parametrize(
    "sent",
    [
        values_of([1, 2, 3], [2, 3]),
        values_of([1, "2", 3], [1, 3]),
        values_of([1, True, 3], [1, 3]),
        values_of([1, 2e12, 3], [1, 3]),
        values_of([1, 2, 3], [3]),
        values_of([1, 2, 3], [10**18, 10**18, 3]),
        values_of([1, 2, 3], [-1, 3]),
        {"inputs": []},
        {"inputs": [{"name": "other", "shape": [1], "datatype": "FP64", "data": [1]}]},
        {**values_of([1, 2, 3], [1, 3]), "parameters": {"n_samples": "many"}},
    ],
)
def test_what_cannot_be_used_is_422_with_a_text(server: Server, sent: Any) -> None:
    answer = infer(server, sent)
    assert answer.status_code == 422, answer.text
    assert isinstance(answer.json()["error"], str)


def test_binary_tensors_are_415(server: Server) -> None:
    headers = {"Inference-Header-Content-Length": "10"}
    answer = httpx.post(
        server.url + "/v2/models/demo/infer", content=b"{}", headers=headers, trust_env=False
    )
    assert answer.status_code == 415
