"""Checkpoints of a run in progress, so that it can be stopped and taken up again."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.errors import ModelFileError
from tsimpute.training.history import EpochRecord
from tsimpute.training.loop import Trainer
from tsimpute.training.search import GuardedSearch

CHECKPOINT_VERSION = 1


def save_checkpoint(trainer: Trainer, path: str | Path) -> None:
    """Write the whole state of a run atomically, between two epochs."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(_state(trainer), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def restore_checkpoint(trainer: Trainer, path: str | Path) -> bool:
    """Put a saved state into a run that was set up the same way; False if there is no file.

    Raises
    ------
    ModelFileError
        If the file is not such a checkpoint, or belongs to a run with other settings.
    """
    path = Path(path)
    if not path.is_file():
        return False
    try:
        state = torch.load(path, map_location=trainer.device, weights_only=True)
    except Exception as error:
        raise ModelFileError(f"{path} is not a readable checkpoint: {error}") from error
    if not isinstance(state, dict) or state.get("version") != CHECKPOINT_VERSION:
        raise ModelFileError(f"{path} is not a checkpoint of version {CHECKPOINT_VERSION}")
    settings = _settings(trainer)
    differing = [
        name for name, value in settings.items() if state.get("settings", {}).get(name) != value
    ]
    if differing:
        raise ModelFileError(
            f"{path} belongs to a run with other settings ({', '.join(differing)}); pass the "
            f"same ones, or another path"
        )
    _load_state(trainer, state)
    return True


def _settings(trainer: Trainer) -> dict[str, Any]:
    """All that must be the same for a run to go on, in plain numbers."""
    schedule, anchor = trainer.search.schedule, trainer.anchor
    shapes = {name: list(tensor.shape) for name, tensor in trainer.network.state_dict().items()}
    return asdict(trainer.config) | {
        "schedule": schedule.beta.tolist(),
        "conditioning": schedule.conditioning,
        "network": shapes,
        "anchor": [anchor.kind, anchor.scale.tolist(), anchor.spread.tolist()],
    }


def _state(trainer: Trainer) -> dict[str, Any]:
    search = trainer.search
    state: dict[str, Any] = {
        "version": CHECKPOINT_VERSION,
        "settings": _settings(trainer),
        "network": trainer.network.state_dict(),
        "average": trainer.average.weights,
        "n_average": trainer.average.n_updates,
        "optimiser": trainer.optimiser.state_dict(),
        "keep_prob": search.learner.keep_prob.tolist(),
        "grid": None,
        "records": [asdict(record) for record in trainer.records],
        "keep_prob_history": [row.tolist() for row in trainer.keep_prob_history],
        "best": trainer.best,
        "since_best": trainer.epochs_since_best,
        "seconds": trainer.seconds,
        "n_iterations": trainer.n_iterations,
        "next_measurement": trainer.next_measurement,
        "generator": trainer.generator.get_state(),
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state() if trainer.device.type == "cuda" else None,
        "rng": _plain(trainer.rng.bit_generator.state),
    }
    if trainer.fixed_grid is not None:
        grid = trainer.fixed_grid
        state["grid"] = [grid.index.tolist(), grid.alpha_bar.tolist(), grid.network_step.tolist()]
    if isinstance(search, GuardedSearch):
        state["errors"] = [search.errors.noise_error.tolist(), search.errors.n_seen.tolist()]
    return state


def _load_state(trainer: Trainer, state: dict[str, Any]) -> None:
    trainer.network.load_state_dict(state["network"])
    trainer.average.weights = state["average"]
    trainer.average.n_updates = state["n_average"]
    trainer.optimiser.load_state_dict(state["optimiser"])
    search = trainer.search
    search.learner.keep_prob = np.array(state["keep_prob"])
    if state["grid"] is not None:
        index, alpha_bar, step = (np.array(part) for part in state["grid"])
        trainer.fixed_grid = TimeGrid(index.astype(np.int64), alpha_bar, step)
    if isinstance(search, GuardedSearch):
        search.errors.noise_error, search.errors.n_seen = (np.array(a) for a in state["errors"])
    trainer.records = [EpochRecord(**record) for record in state["records"]]
    trainer.keep_prob_history = [np.array(row) for row in state["keep_prob_history"]]
    trainer.best = tuple(state["best"]) if state["best"] is not None else None
    trainer.epochs_since_best = state["since_best"]
    trainer.seconds, trainer.n_iterations = state["seconds"], state["n_iterations"]
    trainer.next_measurement = state["next_measurement"]
    trainer.generator.set_state(state["generator"].cpu())
    torch.set_rng_state(state["torch_rng"].cpu())
    if state["cuda_rng"] is not None and trainer.device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda_rng"].cpu())
    trainer.rng.bit_generator.state = state["rng"]


def _plain(state: Any) -> Any:
    """Generator state in plain ints and strings; PCG64 holds numbers of 128 bits."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.item() if isinstance(state, np.generic) else state
