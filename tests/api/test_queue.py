"""The bounded queue, deadlines, hang-ups, and answers that are not mixed up."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from tests.api.conftest import Server, Starter, body, series, wait_until


def metric(server: Server, name: str) -> float:
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def n_open_and_queued(server: Server) -> tuple[float, float]:
    names = ("tsimpute_open_requests ", "tsimpute_queue_requests ")
    return metric(server, names[0]), metric(server, names[1])


def slow(seed: int = 0, **options: Any) -> dict[str, Any]:
    """A request of about a second."""
    return body(series(12, seed=seed), model="slow", n_samples=100, deadline_s=120) | options


def crowd(server: Server, requests: list[dict[str, Any]]) -> list[httpx.Response]:
    async def send_all() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=len(requests))
        async with httpx.AsyncClient(
            base_url=server.url, timeout=120, limits=limits, trust_env=False
        ) as client:
            return await asyncio.gather(*(client.post("/impute", json=r) for r in requests))

    return asyncio.run(send_all())


def test_answers_are_the_same_alone_and_in_a_batch(server: Server) -> None:
    sizes = [7, 12, 13, 30, 5, 24, 12, 12]
    requests = [
        body(series(n, seed=i), seed=i % 3, n_samples=8, quantiles=[0.1, 0.9])
        for i, n in enumerate(sizes)
    ] * 3
    alone = [server.impute(request).json() for request in requests[: len(sizes)]]
    before = metric(server, "tsimpute_batch_requests_count")
    together = [answer.json() for answer in crowd(server, requests)]
    n_batches = metric(server, "tsimpute_batch_requests_count") - before
    assert n_batches < len(requests)  # some went together
    for i, answer in enumerate(together):
        expected = alone[i % len(sizes)]
        for level in ("0.1", "0.9"):
            np.testing.assert_allclose(
                answer["values"][level], expected["values"][level], rtol=1e-5, atol=1e-5
            )


def test_a_full_queue_answers_429_at_once_and_says_when_to_come_back(start: Starter) -> None:
    server = start(queue_requests=2, batch_seconds=0.01)
    answers = crowd(server, [slow(i) for i in range(12)])
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.json()["error"]["code"] in ("queue_full", "too_busy")
    assert metric(server, 'tsimpute_rejections_total{reason="queue_full"}') > 0


def test_a_refusal_for_a_full_queue_is_quick(start: Starter) -> None:
    server = start(queue_requests=1, batch_seconds=0.01)
    with ThreadPoolExecutor(3) as pool, server.client() as client:
        busy = [pool.submit(server.impute, slow(0))]
        wait_until(lambda: n_open_and_queued(server) == (1, 0), 30, server)
        busy.append(pool.submit(server.impute, slow(1)))
        wait_until(lambda: metric(server, "tsimpute_queue_requests ") == 1, 30, server)
        assert client.get("/health/ready").status_code == 200  # a full queue is no reason
        times = []
        for _ in range(10):
            begun = time.perf_counter()
            status = client.post("/impute", json=slow()).status_code
            if status == 429:
                times.append(time.perf_counter() - begun)
        assert [future.result().status_code for future in busy] == [200, 200]
    assert times
    assert min(times) < 0.05


@pytest.mark.slow
def test_the_queue_is_bounded_by_cells_too(start: Starter) -> None:
    server = start(batch_cells=100, queue_batches=1, batch_seconds=0.01)
    answers = crowd(server, [slow(i) for i in range(16)])
    assert {answer.status_code for answer in answers} == {200, 429}


def test_time_that_runs_out_is_504_within_a_step(start: Starter) -> None:
    """The prediction is told to be far too low, so that only the deadline can stop it."""
    import textwrap

    code = textwrap.dedent(
        """
        import sys
        from api import cost
        cost.Cost.seconds = lambda self, units: 0.0
        sys.argv = ["api"]
        from api.__main__ import main
        main()
        """
    )
    server = start(command=("-c", code))
    begun = time.perf_counter()
    answer = server.impute(slow(deadline_s=0.3, n_samples=200))
    assert answer.status_code == 504
    assert time.perf_counter() - begun < 5
    assert answer.json()["error"]["code"] == "deadline"
    begun = time.perf_counter()  # the worker is free again at once
    assert server.impute(body(series(6), n_samples=1)).status_code == 200
    assert time.perf_counter() - begun < 10
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.impute, slow(n_samples=200))
        wait_until(lambda: n_open_and_queued(server) == (1, 0), 30, server)
        begun = time.perf_counter()
        waiting = server.impute(body(series(6), n_samples=1, deadline_s=0.2))
        assert (waiting.status_code, first.done()) == (504, False)
        assert time.perf_counter() - begun < 5
        assert first.result().status_code == 200


def test_a_client_that_hangs_up_frees_the_worker(start: Starter) -> None:
    server = start()
    address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    content = json.dumps(body(series(36), model="slow", n_samples=50, deadline_s=120)).encode()
    head = f"POST /impute HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    for _ in range(5):
        with socket.create_connection(address) as connection:
            connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + content)
            time.sleep(0.3)
    wait_until(lambda: metric(server, "tsimpute_queue_requests ") == 0, 20, server)
    begun = time.perf_counter()
    assert server.impute(body(series(6), n_samples=1)).status_code == 200
    assert time.perf_counter() - begun < 10
    wait_until(lambda: 'reason="disconnected"} 5' in _metrics(server), 20, server)


def _metrics(server: Server) -> str:
    with server.client() as client:
        return client.get("/metrics").text


def test_health_answers_while_the_worker_is_busy(start: Starter) -> None:
    server = start()
    times = []
    with ThreadPoolExecutor(6) as pool, server.client() as client:
        busy = [pool.submit(server.impute, slow(i)) for i in range(6)]
        while not all(future.done() for future in busy):
            begun = time.perf_counter()
            assert client.get("/health/live").status_code == 200
            assert client.get("/health/ready").status_code == 200
            times.append((time.perf_counter() - begun) / 2)
            time.sleep(0.02)
        assert {future.result().status_code for future in busy} <= {200, 429}
    assert np.median(times) < 0.1


def test_metrics_have_fixed_labels_and_count_cells(server: Server) -> None:
    frame = series(16, seed=11)
    before = metric(server, "tsimpute_imputed_cells_total")
    server.impute(body(frame, n_samples=1))
    with server.client() as client:
        client.get("/made/up/path")
        client.request("BREW", "/impute")
    assert metric(server, "tsimpute_imputed_cells_total") - before == frame.isna().sum().sum()
    text = _metrics(server)
    assert "made/up" not in text
    assert "BREW" not in text
    assert 'route="unmatched"' in text
    assert 'tsimpute_model_info{name="demo",version="1"} 1.0' in text
    for name in (
        "requests_total",
        "request_seconds",
        "queue_requests",
        "queue_cells",
        "queue_wait_seconds",
        "batch_cells",
        "batch_requests",
        "inference_seconds",
        "rejections_total",
    ):
        assert f"tsimpute_{name}" in text
