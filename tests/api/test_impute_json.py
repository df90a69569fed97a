"""POST /impute in JSON: the library's numbers, in the order that was sent."""

from __future__ import annotations

import httpx
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import FEATURES, Server, body, rows, series
from tsimpute import EDDPMImputer

LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]


def numbers(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    told = answer.json()
    return np.array([told["values"][str(level)] for level in told["quantiles"]])


def test_quantiles_are_those_of_the_library(server: Server, imputer: EDDPMImputer) -> None:
    frame = series(40, seed=3)
    answer = server.impute(body(frame, seed=7, n_samples=9, quantiles=LEVELS))
    expected = imputer.predict_quantiles(frame, LEVELS, n_samples=9, random_state=7)
    np.testing.assert_allclose(numbers(answer), expected.values, rtol=1e-6, atol=1e-6)
    assert answer.json()["median"] == answer.json()["values"]["0.5"]


def test_a_model_with_the_default_variance_gives_the_librarys_numbers_too(
    server: Server, slow_imputer: EDDPMImputer
) -> None:
    frame = series(12, seed=3)
    answer = server.impute(body(frame, model="slow", seed=7, n_samples=4, quantiles=LEVELS))
    expected = slow_imputer.predict_quantiles(frame, LEVELS, n_samples=4, random_state=7)
    np.testing.assert_allclose(numbers(answer), expected.values, rtol=1e-4, atol=1e-4)


def test_quantiles_are_those_of_the_librarys_samples(server: Server, imputer: EDDPMImputer) -> None:
    frame = series(24, seed=4)
    answer = server.impute(body(frame, seed=1, n_samples=11, quantiles=[0.1, 0.9]))
    samples = imputer.sample(frame, 11, random_state=1).values
    expected = np.quantile(samples, [0.1, 0.9], axis=0)
    np.testing.assert_allclose(numbers(answer), expected, rtol=1e-5, atol=1e-5)


def test_the_answer_says_how_it_came_about(server: Server) -> None:
    answer = server.impute(body(series(15), seed=5, n_samples=4))
    told = answer.json()
    assert told["model"] == {"name": "demo", "version": "1"}
    assert (told["steps"], told["n_samples"], told["seed"]) == (3, 4, 5)
    assert told["method"] == "samples"
    assert told["columns"] == FEATURES
    assert told["quantiles"] == LEVELS
    assert set(told["timing"]) == {"queue_s", "inference_s", "total_s"}
    assert 0 < told["timing"]["inference_s"] < told["timing"]["total_s"]
    assert told["request_id"] == answer.headers["X-Request-Id"]


def test_columns_may_come_in_any_order(server: Server) -> None:
    frame = series(20, seed=2)
    usual = numbers(server.impute(body(frame, n_samples=5)))
    turned = numbers(server.impute(body(frame[["c", "a", "b"]], n_samples=5)))
    assert (turned == usual[:, :, [2, 0, 1]]).all()


def test_several_series_of_unequal_length_match_the_library(
    server: Server, imputer: EDDPMImputer
) -> None:
    frame = series(40, seed=6)
    ids = ["p"] * 9 + ["q"] * 31
    times = [f"2026-01-01T{i:02d}:00:00" for i in range(9)]
    times += [str(t) for t in pd.date_range("2026-02-01", periods=31, freq="h")]
    told = server.impute(body(frame, series=ids, timestamps=times, n_samples=6)).json()
    index = pd.MultiIndex.from_arrays([ids, pd.to_datetime(times, format="ISO8601")])
    labelled = frame.set_index(index)
    expected = imputer.predict_quantiles(labelled, [0.5], n_samples=6, random_state=0)
    flat = [
        expected.sel(series=name, time=time).values[0]
        for name, time in zip(ids, index.get_level_values(1), strict=True)
    ]
    np.testing.assert_allclose(told["median"], flat, rtol=1e-6, atol=1e-6)
    assert told["series"] == ids
    assert told["timestamps"] == times


def test_interleaved_series_keep_their_rows(server: Server) -> None:
    one, two = series(12, seed=1), series(12, seed=2)
    together = pd.concat([one, two]).sort_index(kind="stable")
    ids = [0, 1] * 12
    mixed = numbers(server.impute(body(together, series=ids, n_samples=5)))
    apart = numbers(
        server.impute(body(pd.concat([one, two]), series=[0] * 12 + [1] * 12, n_samples=5))
    )
    assert (mixed[:, ::2] == apart[:, :12]).all()
    assert (mixed[:, 1::2] == apart[:, 12:]).all()


def test_the_long_form_gives_what_the_wide_form_gives(server: Server) -> None:
    frame = series(10, seed=8)
    times = [str(time) for time in pd.date_range("2026-01-01", periods=10, freq="D")]
    records = [
        {"timestamp": time, "feature": name, "value": cell}
        for time, row in zip(times, rows(frame), strict=True)
        for name, cell in zip(FEATURES, row, strict=True)
        if cell is not None or name == "a"
    ]
    wide = numbers(server.impute(body(frame, n_samples=5, timestamps=times)))
    answer = server.impute({"records": records[::-1], "n_samples": 5})
    order = [answer.json()["columns"].index(name) for name in FEATURES]
    assert (numbers(answer)[:, :, order] == wide).all()
    assert answer.json()["timestamps"] == times


def test_each_imputed_cell_has_its_interval(server: Server) -> None:
    frame = series(18, seed=9)
    told = server.impute(body(frame, n_samples=5, quantiles=[0.05, 0.95])).json()
    holes = {(int(i), FEATURES[k]) for i, k in np.argwhere(frame.isna().to_numpy())}
    assert {(cell["row"], cell["column"]) for cell in told["imputed"]} == holes
    for cell in told["imputed"]:
        place = cell["row"], FEATURES.index(cell["column"])
        assert cell["median"] == told["median"][place[0]][place[1]]
        expected = [told["values"][level][place[0]][place[1]] for level in ("0.05", "0.95")]
        assert cell["quantiles"] == expected


cells = st.one_of(
    st.none(),
    st.floats(-1e12, 1e12),
    st.integers(-(10**12), 10**12),
    st.sampled_from([5e-324, -0.0, 0.1, 1e12, -1e12, 2.2250738585072014e-308]),
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=15))
def test_observed_values_return_bit_for_bit_and_quantiles_never_cross(
    server: Server, sent: list[list[float | None]]
) -> None:
    answer = server.impute({"columns": FEATURES, "rows": sent, "n_samples": 3})
    found = numbers(answer)
    given_cells = np.array(sent, dtype=np.float64)
    observed = ~np.isnan(given_cells)
    for level in found:
        assert level[observed].tobytes() == given_cells[observed].tobytes()
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=0) >= 0).all()


def test_nothing_missing_is_nothing_done(server: Server) -> None:
    frame = series(14, missing=0.0)
    told = server.impute(body(frame)).json()
    assert told["imputed"] == []
    assert told["median"] == frame.to_numpy().tolist()


def test_a_series_without_any_value_is_filled(server: Server) -> None:
    found = numbers(server.impute(body(series(13, missing=1.1), n_samples=3)))
    assert np.isfinite(found).all()


def test_method_head_needs_a_head(server: Server) -> None:
    answer = server.impute(body(series(12), method="head"))
    assert answer.status_code == 422
    assert "fit_marginals" in answer.json()["error"]["message"]


def test_an_unknown_model_or_version_is_404(server: Server) -> None:
    assert server.impute(body(series(12), model="none")).status_code == 404
    assert server.impute(body(series(12), version="99")).status_code == 404


@pytest.mark.parametrize("tail", [1, 11, 12, 13, 25])
def test_any_length_is_answered_row_for_row(server: Server, tail: int) -> None:
    assert numbers(server.impute(body(series(tail, seed=tail), n_samples=2))).shape[1] == tail


def test_a_fill_value_among_the_readings_does_not_spoil_the_answer(server: Server) -> None:
    """In the library it is warned of; a warning in this server would be an error."""
    frame = series(30)
    frame.iloc[12, 0] = 1e12
    response = server.impute(body(frame, n_samples=4))
    assert response.status_code == 200, response.text
    median = np.array(response.json()["median"], dtype=float)
    assert np.isfinite(median).all() and median[12, 0] == 1e12
    assert np.abs(np.delete(median[:, 0], 12)).max() < 100
