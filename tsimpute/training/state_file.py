"""Files that hold the state of a run: written atomically, read without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from tsimpute.errors import ModelFileError
from tsimpute.storage.atomic import new_file

CHECKPOINT_VERSION = 1


class DrawsNumbers(Protocol):
    """Whatever has the generators of a run."""

    device: torch.device
    rng: np.random.Generator
    generator: torch.Generator


def write_state(state: dict[str, Any], settings: dict[str, Any], path: str | Path) -> None:
    """Write tensors and plain numbers, with the settings that they belong to."""
    with new_file(path) as file:
        torch.save({"version": CHECKPOINT_VERSION, "settings": settings, **state}, file)


def read_state(
    settings: dict[str, Any], path: str | Path, device: torch.device
) -> dict[str, Any] | None:
    """What `write_state` wrote for the same settings; None if there is no file.

    Raises
    ------
    ModelFileError
        If the file is not such a checkpoint, or belongs to a run with other settings.
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise ModelFileError(f"{path} is not a readable checkpoint: {error}") from error
    if not isinstance(state, dict) or state.get("version") != CHECKPOINT_VERSION:
        raise ModelFileError(f"{path} is not a checkpoint of version {CHECKPOINT_VERSION}")
    stored = state.get("settings", {})
    differing = [name for name, value in settings.items() if stored.get(name) != value]
    if differing:
        raise ModelFileError(
            f"{path} belongs to a run with other settings ({', '.join(differing)}); pass the "
            f"same ones, or another path"
        )
    return state


def generator_states(run: DrawsNumbers) -> dict[str, Any]:
    """States of all generators that a run draws from, torch's global ones too."""
    return {
        "generator": run.generator.get_state(),
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state() if run.device.type == "cuda" else None,
        "rng": _plain(run.rng.bit_generator.state),
    }


def restore_generators(run: DrawsNumbers, state: dict[str, Any]) -> None:
    """Put back what `generator_states` gave."""
    run.generator.set_state(state["generator"].cpu())
    torch.set_rng_state(state["torch_rng"].cpu())
    if state["cuda_rng"] is not None and run.device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda_rng"].cpu())
    run.rng.bit_generator.state = state["rng"]


def _plain(state: Any) -> Any:
    """Generator state in plain ints and strings; PCG64 holds numbers of 128 bits."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.item() if isinstance(state, np.generic) else state
