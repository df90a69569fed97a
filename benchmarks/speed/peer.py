"""The peer's own virtual environment, with the same torch as ours."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PYPOTS = "pypots==1.5"


def environment(cache: Path) -> Path:
    """Python of an environment under `cache` that holds PyPOTS; made on the first call.

    torch comes first, in the version that we have; then a constraint holds it, so that nothing
    that PyPOTS needs can replace it by another build.
    """
    home = cache / "pypots-venv"
    python, done = home / "bin" / "python", home / ".installed"
    torch_pin = f"torch=={version('torch').partition('+')[0]}"
    wanted = f"{PYPOTS} {torch_pin}"
    if done.is_file() and done.read_text() == wanted:
        return python
    print(f"installing {wanted} in {home.name}: a few minutes, once", flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    constraints = home / "constraints.txt"
    constraints.write_text(torch_pin + "\n")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, torch_pin], check=True)
    subprocess.run([*pip, "--constraint", str(constraints), PYPOTS], check=True)
    done.write_text(wanted)
    return python


def peer_variables(cache: Path) -> dict[str, str]:
    """Environment variables for the peer: its settings file is written to the home folder."""
    home = cache / "pypots-home"
    home.mkdir(parents=True, exist_ok=True)
    return os.environ | {"HOME": str(home), "USERPROFILE": str(home)}
