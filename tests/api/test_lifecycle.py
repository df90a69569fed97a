"""Start, drain, and the end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import ROOT, Server, Starter, body, series, wait_until


def status(server: Server, path: str) -> int:
    return httpx.get(server.url + path, trust_env=False).status_code


@pytest.mark.parametrize("command", [("-m", "api"), pytest.param(None, marks=pytest.mark.slow)])
def test_sigterm_drains_and_exits_0(start: Starter, command: tuple[str, ...] | None) -> None:
    """Not ready at once, answering for a while, finishing what runs, also under plain uvicorn."""
    plain = ("-m", "uvicorn", "api.main:app", "--port", "{port}")
    server = start(command=command or plain, drain_accept_s=2)
    running = body(series(12), model="slow", n_samples=150, deadline_s=120)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.impute, running)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: status(server, "/health/ready") == 503, 20, server)
        assert status(server, "/health/live") == 200
        late = server.impute(body(series(6), n_samples=1))
        assert late.status_code == 200  # accepted while load balancers catch up
        assert answer.result().status_code == 200
        assert server.process.wait(60) == 0
    with pytest.raises(httpx.TransportError):
        status(server, "/health/live")


@pytest.mark.slow
def test_what_is_not_done_in_time_is_refused_at_the_end(start: Starter) -> None:
    server = start(drain_accept_s=0, drain_finish_s=0.5)
    running = body(series(36), model="slow", n_samples=100, deadline_s=120)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.impute, running)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert answer.result().status_code in (422, 503)
        assert server.process.wait(30) == 0


@pytest.mark.slow
def test_a_second_sigterm_does_not_wait(start: Starter) -> None:
    server = start(drain_accept_s=60)
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: status(server, "/health/ready") == 503, 20, server)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0


def test_it_is_live_but_not_ready_without_models(tmp_path: Path) -> None:
    from tests.api.conftest import environment, free_port

    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "api"],
        cwd=ROOT,
        env=environment(port=port, models_dir=tmp_path / "none", devices="cpu"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = Server(f"http://127.0.0.1:{port}", process, tmp_path)
    try:
        wait_until(lambda: _listens(port), 120)
        assert status(server, "/health/live") == 200
        ready = httpx.get(server.url + "/health/ready", trust_env=False)
        assert ready.status_code == 503
        assert "no model is loaded" in ready.json()["reasons"]
        answer = server.impute(body(series(5)))
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "not_ready"
        assert "Retry-After" in answer.headers
    finally:
        server.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_worker_that_is_stuck_is_neither_ready_nor_live(start: Starter) -> None:
    """One step takes longer than the limits allow here; nothing else is out of order."""
    server = start(heartbeat_s=0.05, stuck_s=0.06)
    running = body(series(150), model="slow", n_samples=100, deadline_s=120)
    seen = set()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.impute, running)
        while not answer.done() and len(seen) < 2:
            seen |= {
                path for path in ("/health/live", "/health/ready") if status(server, path) == 503
            }
        server.stop()
    assert seen == {"/health/live", "/health/ready"}


def test_importing_the_app_does_no_work() -> None:
    code = (
        "import sys, api.main; print([m for m in ('fastapi', 'torch', 'pandas') "
        "if m in sys.modules]); assert callable(api.main.create_app)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_running_out_of_memory_is_503() -> None:
    import torch

    from api.errors import ServiceError
    from api.worker import as_refusal

    cpu = RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA"), cpu):
        refusal = as_refusal(error)
        assert isinstance(refusal, ServiceError)
        assert (refusal.status, refusal.code) == (503, "out_of_memory")
    other = ValueError("something else")
    assert as_refusal(other) is other


@pytest.mark.slow
def test_the_demo_model_is_trained_once_and_serves(tmp_path: Path) -> None:
    from api import demo_model
    from api.registry import Registry
    from api.settings import Settings

    folder = tmp_path / "demo" / "1"
    demo_model.main([str(folder), "--seconds", "1"])
    made = (folder / "SHA256SUMS").stat().st_mtime_ns
    demo_model.main([str(folder), "--seconds", "1"])
    assert (folder / "SHA256SUMS").stat().st_mtime_ns == made
    registry = Registry(Settings(models_dir=tmp_path, devices="cpu"))
    assert registry.reload().loaded == [("demo", "1")]
    assert registry.find(None).features == ("co2",)
