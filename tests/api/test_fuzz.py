"""Requests that nobody would write by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from api.auth import digest
from tests.api.conftest import Starter


@pytest.mark.slow
def test_schemathesis_finds_no_failure_with_every_check(start: Starter, tmp_path: Path) -> None:
    """Every check, on every operation, against the running server."""
    server = start(api_keys=digest("k"), admin_keys=digest("chief"))
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={Path(__file__).with_name('schemathesis.toml')}",
        "run",
        server.url + "/openapi.json",
        "--checks=all",
        "--header=X-API-Key: chief",
        "--max-examples=40",
        "--phases=examples,coverage,fuzzing",
        "--suppress-health-check=all",
        "--seed=0",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert '"event": "failure"' not in server.log
