"""The image itself, run as the documentation says: `make container-test`.

Needs a Docker daemon and, in CONTAINER_IMAGE, the name of an image that was built.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from api.auth import digest
from tests.api.conftest import FEATURES, body, free_port, make_imputer, series

pytestmark = pytest.mark.container

KEY = "a-key-for-the-container"
MOST_BYTES = 1_500_000_000
SAFE = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]


def docker(*words: str, check: bool = True, timeout_s: float = 120) -> str:
    done = subprocess.run(
        ["docker", *words], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


@dataclass
class Container:
    """A running container of the service."""

    name: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10, trust_env=False)

    def impute(self, sent: Any, key: str = KEY) -> httpx.Response:
        headers = {"X-API-Key": key}
        return httpx.post(
            self.url + "/impute", json=sent, headers=headers, timeout=120, trust_env=False
        )

    def execute(self, *words: str, check: bool = True) -> str:
        return docker("exec", self.name, *words, check=check)

    def state(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(docker("inspect", "-f", "{{json .State}}", self.name))
        return told

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            with suppress(httpx.TransportError):
                return self.get("/health/ready").status_code == 200
            assert self.state()["Status"] == "running", docker("logs", self.name, check=False)
            return False

        wait_until(ready, 180)


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


@pytest.fixture(scope="session")
def image() -> str:
    name = os.environ.get("CONTAINER_IMAGE")
    if not name:
        pytest.skip("needs an image: CONTAINER_IMAGE is not set")
    return name


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_imputer().fit(series(60)).save(folder / "demo" / "1")
    make_imputer(diffusion_steps=60, kept_steps=60).fit(series(60)).save(folder / "slow" / "1")
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.getuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@contextmanager
def run(image: str, models: Path, *options: str, **settings: Any) -> Iterator[Container]:
    """Start it read-only and without capabilities; inside it listens on the port we ask."""
    port = free_port()
    container = Container(f"tsimpute-test-{port}", port)
    given = {"API_KEYS": digest(KEY), "DRAIN_ACCEPT_S": 1} | settings
    pairs = [word for k, v in given.items() for word in ("-e", f"TSIMPUTE_{k}={v}")]
    mounts = ["-v", f"{models}:/models:ro", "-p", f"127.0.0.1:{port}:8000"]
    own = ["--name", container.name, "--stop-timeout", "45", *SAFE, *mounts, *pairs, *options]
    docker("run", "-d", *own, image)
    try:
        yield container
    finally:
        docker("rm", "-f", container.name, check=False)


@pytest.fixture(scope="session")
def container(image: str, models: Path) -> Iterator[Container]:
    with run(image, models, "--memory", "2g") as running:
        running.wait_until_ready()
        yield running


def test_the_image_is_small_and_has_no_secret(image: str) -> None:
    assert int(docker("image", "inspect", "-f", "{{.Size}}", image)) <= MOST_BYTES
    config = json.loads(docker("image", "inspect", "-f", "{{json .Config}}", image))
    assert config["User"] == "10001:10001"
    assert config["Cmd"] == ["python", "-m", "api"]
    assert not [pair for pair in config["Env"] if "KEY" in pair.split("=")[0]]


def test_it_runs_as_a_user_who_may_nothing(container: Container) -> None:
    assert container.execute("id", "-u") == "10001"
    status = container.execute("cat", "/proc/1/status").splitlines()
    held = {line.split(":")[0]: line.split()[1] for line in status if line.startswith("Cap")}
    assert {name: int(held[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {
        "CapEff": 0,
        "CapPrm": 0,
        "CapBnd": 0,
    }
    for folder in ("/", "/app", "/models", "/opt/venv", "/home"):
        touch = f"import pathlib; pathlib.Path({folder!r}, 'x').touch()"
        told = container.execute("python", "-c", f"try:\n {touch}\nexcept OSError: print('no')")
        assert told == "no", folder


def test_the_health_check_of_the_image_passes(container: Container) -> None:
    check = json.loads(docker("inspect", "-f", "{{json .Config.Healthcheck}}", container.name))
    kind, *words = check["Test"]
    assert kind == "CMD"
    container.execute(*words)


def test_a_request_is_answered_to_those_with_a_key(container: Container) -> None:
    frame = series(20)
    sent = body(frame, n_samples=5)
    assert container.impute(sent, "another").status_code == 401
    answer = container.impute(sent)
    assert answer.status_code == 200, answer.text
    median, observed = np.array(answer.json()["median"]), frame.notna().to_numpy()
    assert np.isfinite(median).all()
    assert (median[observed] == frame.to_numpy()[observed]).all()
    assert container.get("/").status_code == 200
    assert container.get("/page/plotly.min.js").status_code == 200
    assert "tsimpute_requests_total" in container.get("/metrics").text


def test_files_and_time_zones_are_known_inside(container: Container) -> None:
    frame = series(20)
    times = [f"2026-01-01T{hour:02d}:00:00+01:00" for hour in range(20)]
    sent = body(frame, n_samples=2, timestamps=times, time_zone="Europe/Berlin")
    assert container.impute(sent).status_code == 200
    for kind in ("csv", "parquet"):
        data = frame.to_csv(index=False).encode() if kind == "csv" else frame.to_parquet()
        answer = httpx.post(
            container.url + "/impute",
            files={"file": (f"data.{kind}", data)},
            headers={"X-API-Key": KEY},
            timeout=60,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text


def test_sigterm_drains_and_exits_0(image: str, models: Path) -> None:
    running = body(series(12), model="slow", n_samples=150, deadline_s=120)
    with run(image, models, "--memory", "2g") as one, ThreadPoolExecutor(1) as pool:
        one.wait_until_ready()
        answer = pool.submit(one.impute, running)
        time.sleep(0.5)
        docker("stop", one.name)
        assert answer.result().status_code == 200
        state = one.state()
        assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 0, False)


def test_the_memory_limit_kills_and_nothing_is_corrupted(
    image: str, models: Path, container: Container
) -> None:
    before, sums = container.impute(body(series(9), n_samples=2)).json(), _sums(models)
    (line,) = [
        line
        for line in container.execute("cat", "/proc/1/status").splitlines()
        if line.startswith("RssAnon")
    ]
    limit = f"{int(line.split()[1]) // 1024 + 40}m"  # files that are mapped can be let go
    costly: dict[str, Any] = {"columns": FEATURES, "rows": [[1.1, 2.2, 3.3]] * 80_000}
    costly |= {"series": [i // 10_000 for i in range(80_000)]}
    costly |= {"quantiles": [i / 20 for i in range(1, 20)]}
    with run(image, models, "--memory", limit, "--memory-swap", limit) as small:
        small.wait_until_ready()
        with suppress(httpx.TransportError):
            assert small.impute(costly).status_code == 503
        wait_until(lambda: small.state()["Status"] == "exited", 30)
        assert small.state()["ExitCode"] == 137
        assert _sums(models) == sums
        docker("start", small.name)
        small.wait_until_ready()
        after = small.impute(body(series(9), n_samples=2)).json()
    assert after["values"] == before["values"]


def _sums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
