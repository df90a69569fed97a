"""`python -m api`: the service as it is meant to be run."""

from __future__ import annotations

import sys

import uvicorn

from api.auth import check_listening, read_keys
from api.errors import ServiceError
from api.main import create_app
from api.protocol import PatientProtocol
from api.settings import Settings


def main() -> None:
    """Listen until SIGTERM; refuses an address beyond loopback without keys."""
    settings = Settings()
    try:
        check_listening(settings.host, read_keys(settings), settings)
    except ServiceError as error:
        sys.exit(f"got host {settings.host} without keys: {error.message}")
    PatientProtocol.patience_s = settings.slow_client_s
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        http=PatientProtocol,
        access_log=False,
        server_header=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
