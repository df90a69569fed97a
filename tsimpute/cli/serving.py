"""The command that runs the service."""

from __future__ import annotations

import os
import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from tsimpute.errors import InputError, MissingExtraError

PACKAGE = "api"
PROOF = "api.batching"  # many a package is called api


def serve(
    models: Annotated[Path, typer.Argument(help="folder of models, <name>/<version>/")],
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
) -> None:
    """Run the service.

    Its other settings come from environment variables TSIMPUTE_<NAME>.
    """
    if not models.is_dir():
        raise InputError(f"{models}: got no such folder, expected one of <name>/<version>/ models")
    if (models / "FORMAT_VERSION").is_file():
        raise InputError(
            f"{models} is a model itself; expected a folder that holds it as <name>/<version>/, "
            f"for example models/{models.name}/1/"
        )
    if find_spec(PACKAGE) is None or find_spec(PROOF) is None:
        raise MissingExtraError(
            "the service is not installed: it is the folder api/ of the source; run this command "
            "in a checkout after `make setup`, or run the container image"
        )
    chosen = {"MODELS_DIR": str(models), "HOST": host, "PORT": str(port)}
    os.environ |= {f"TSIMPUTE_{name}": value for name, value in chosen.items()}
    try:
        runpy.run_module(PACKAGE, run_name="__main__")
    except ImportError as error:
        raise MissingExtraError(
            f"the service needs {error.name}, which is not installed; "
            f"run: pip install 'tsimpute[serve]'"
        ) from error
