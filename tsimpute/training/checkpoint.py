"""Checkpoints of a run in progress, so that it can be stopped and taken up again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.training.history import EpochRecord
from tsimpute.training.loop import Trainer
from tsimpute.training.search import GuardedSearch
from tsimpute.training.state_file import (
    generator_states,
    read_state,
    restore_generators,
    write_state,
)


def save_checkpoint(trainer: Trainer, path: str | Path) -> None:
    """Write the whole state of a run atomically, between two epochs."""
    write_state(_state(trainer), _settings(trainer), path)


def restore_checkpoint(trainer: Trainer, path: str | Path) -> bool:
    """Put a saved state into a run that was set up the same way; False if there is no file.

    Raises
    ------
    ModelFileError
        If the file is not such a checkpoint, or belongs to a run with other settings.
    """
    state = read_state(_settings(trainer), path, trainer.device)
    if state is not None:
        _load_state(trainer, state)
    return state is not None


def _settings(trainer: Trainer) -> dict[str, Any]:
    """All that must be the same for a run to go on, in plain numbers."""
    schedule, anchor = trainer.search.schedule, trainer.anchor
    season = [] if anchor.season is None else [anchor.season.to_dict()]
    shapes = {name: list(tensor.shape) for name, tensor in trainer.network.state_dict().items()}
    return asdict(trainer.config) | {
        "schedule": schedule.beta.tolist(),
        "conditioning": schedule.conditioning,
        "network": shapes,
        "anchor": [anchor.kind, anchor.scale.tolist(), anchor.spread.tolist(), *season],
    }


def _state(trainer: Trainer) -> dict[str, Any]:
    search = trainer.search
    state: dict[str, Any] = {
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
        **generator_states(trainer),
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
    restore_generators(trainer, state)
