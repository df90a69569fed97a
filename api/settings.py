"""Everything that an operator can set; the only reader of the environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEMO_MODELS = Path("demo_output/models")
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Pause = Annotated[float, Field(ge=0)]
Digests = Annotated[tuple[str, ...], NoDecode]
Levels = Annotated[tuple[float, ...], NoDecode]
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Settings(BaseSettings):
    """Settings of the service, each from the environment variable TSIMPUTE_<NAME>.

    A size is in bytes, a time in seconds. Keys are given as SHA-256 in hexadecimal, separated by
    commas; :func:`api.auth.digest` makes one.
    """

    model_config = SettingsConfigDict(env_prefix="TSIMPUTE_", extra="forbid", frozen=True)

    # where it listens (`python -m api`) and what it serves
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    models_dir: Path | None = None  # None: a demonstration model, trained once
    keep_versions: Count = 2  # newest ones of each name
    devices: str = "auto"  # one worker each, separated by commas: "cuda:0,cuda:1"

    # who may ask
    api_keys: Digests = ()
    admin_keys: Digests = ()
    keys_file: Path | None = None  # lines "api <digest>" or "admin <digest>", read at each reload
    allow_anonymous: bool = False  # serve beyond loopback without keys
    docs_page: bool = False

    # what a request may hold
    max_body_bytes: Count = 16 * 2**20
    max_cells: Count = 250_000
    max_steps: Count = 10_000
    max_series: Count = 64
    max_magnitude: Positive = 1e12
    max_samples: Count = 200
    max_quantiles: Count = 19
    n_samples: Count = 50
    quantiles: Levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    deadline_s: Positive = 30.0
    max_deadline_s: Positive = 120.0

    # how much waits, and what goes together
    queue_requests: Count = 32
    queue_batches: Count = 4
    batch_cells: Count = 65_536
    batch_seconds: Positive = 2.0  # predicted; one request alone may take longer
    batch_wait_cpu_s: Pause = 0.005
    batch_wait_gpu_s: Pause = 0.010
    open_requests: Count = 64  # read, waiting, computed or answered at once

    # patience
    slow_client_s: Positive = 30.0
    drain_accept_s: Pause = 5.0
    drain_finish_s: Positive = 30.0
    heartbeat_s: Positive = 10.0  # of the worker, for readiness
    stuck_s: Positive = 60.0  # without a heartbeat, for liveness

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("api_keys", "admin_keys", mode="before")
    @classmethod
    def _split_digests(cls, given: Any) -> Any:
        parts = given.split(",") if isinstance(given, str) else given
        digests = tuple(part.strip().lower() for part in parts if part.strip())
        if not all(_DIGEST.fullmatch(digest) for digest in digests):
            # the text itself is not repeated: it could be a key
            raise ValueError("expected SHA-256 digests of 64 hexadecimal digits, not keys")
        return digests

    @field_validator("quantiles", mode="before")
    @classmethod
    def _split_levels(cls, given: Any) -> Any:
        return tuple(float(part) for part in given.split(",")) if isinstance(given, str) else given

    @property
    def models_path(self) -> Path:
        """Folder of saved imputers, <name>/<version>/."""
        return DEMO_MODELS if self.models_dir is None else self.models_dir

    @property
    def queue_cells(self) -> int:
        """Cells that may wait."""
        return self.queue_batches * self.batch_cells
