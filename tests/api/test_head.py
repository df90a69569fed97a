"""Quantiles from the marginal head, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.api.conftest import Server, body, make_imputer, series, serve
from tsimpute import EDDPMImputer, load

LEVELS = [0.05, 0.5, 0.95]


@pytest.fixture(scope="module")
def with_head() -> EDDPMImputer:
    return make_imputer(variance="fixed").fit(series(60)).fit_marginals(series(60), iterations=20)


@pytest.fixture(scope="module")
def headed(tmp_path_factory: pytest.TempPathFactory, with_head: EDDPMImputer) -> Iterator[Server]:
    """A service of one model, which has a head."""
    models = tmp_path_factory.mktemp("headed")
    with_head.save(models / "headed" / "1")
    some = load(models / "headed" / "1", device="cpu").set_params(verbose=0)
    some.fit_calibration(series(60), max_windows=6).save(models / "sampled" / "1")
    some.set_params(method="head").fit_calibration(series(60), max_windows=6)
    some.save(models / "both" / "1")
    with serve(tmp_path_factory.mktemp("service"), models) as running:
        yield running


def test_json_gives_the_heads_numbers(headed: Server, with_head: EDDPMImputer) -> None:
    frame = series(40, seed=3)
    answer = headed.impute(body(frame, model="headed", method="head", quantiles=LEVELS))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["method"] == "head"
    expected = with_head.predict_quantiles(frame, LEVELS, method="head").values
    found = np.array([told["values"][str(level)] for level in LEVELS])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    by_samples = headed.impute(body(frame, model="headed", quantiles=LEVELS)).json()
    assert by_samples["method"] == "samples" and by_samples["values"] != told["values"]


def test_open_inference_gives_the_heads_numbers(headed: Server, with_head: EDDPMImputer) -> None:
    frame = series(20, seed=5)
    inputs = {
        "values": ("FP64", frame.fillna(0.0).to_numpy()),
        "observed_mask": ("BOOL", frame.notna().to_numpy()),
        "quantiles": ("FP64", np.array(LEVELS)),
    }
    asked = {
        "inputs": [
            {"name": name, "datatype": kind, "shape": list(data.shape), "data": data.tolist()}
            for name, (kind, data) in inputs.items()
        ],
        "parameters": {"method": "head"},
    }
    with headed.client() as client:
        answer = client.post("/v2/models/headed/infer", json=asked)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["parameters"]["method"] == "head"
    (output,) = (part for part in told["outputs"] if part["name"] == "quantiles")
    expected = with_head.predict_quantiles(frame, LEVELS, method="head").values
    found = np.reshape(output["data"], expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_a_calibrated_model_answers_by_what_it_is_calibrated_for(headed: Server) -> None:
    asked = {"method": "head", "quantiles": LEVELS}
    frame = series(40, seed=3)
    refused = headed.impute(body(frame, model="sampled", **asked))
    assert refused.status_code == 422, refused.text
    assert refused.json()["error"]["details"][0]["location"] == ["body", "method"]
    assert "answers by 'samples'" in refused.text and "fit_calibration(X)" in refused.text
    by_samples = headed.impute(body(frame, model="sampled", quantiles=LEVELS)).json()["values"]
    assert (
        by_samples != headed.impute(body(frame, model="headed", quantiles=LEVELS)).json()["values"]
    )
    both = {
        name: headed.impute(body(frame, model=name, **asked)).json() for name in ("both", "headed")
    }
    assert both["both"]["method"] == "head" and both["both"]["values"] != both["headed"]["values"]
    again = headed.impute(body(frame, model="both", quantiles=LEVELS)).json()["values"]
    np.testing.assert_allclose(again["0.05"], by_samples["0.05"], rtol=1e-6)
