"""Checkpoints of pre-training in progress."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tsimpute.training.history import PretrainingRecord
from tsimpute.training.pretraining import Pretrainer
from tsimpute.training.state_file import (
    generator_states,
    read_state,
    restore_generators,
    write_state,
)


def save_pretraining(run: Pretrainer, path: str | Path) -> None:
    """Write the whole state of a run atomically, between two epochs."""
    state = {
        "network": run.network.state_dict(),
        "average": run.average.weights,
        "n_average": run.average.n_updates,
        "optimiser": run.optimiser.state_dict(),
        "records": [asdict(record) for record in run.records],
        "seconds": run.seconds,
        "n_iterations": run.n_iterations,
        **generator_states(run),
    }
    write_state(state, _settings(run), path)


def restore_pretraining(run: Pretrainer, path: str | Path) -> bool:
    """Put a saved state into a run that was set up the same way; False if there is no file.

    Raises
    ------
    ModelFileError
        If the file is not such a checkpoint, or belongs to a run with other settings.
    """
    state = read_state(_settings(run), path, run.device)
    if state is None:
        return False
    run.network.load_state_dict(state["network"])
    run.average.weights, run.average.n_updates = state["average"], state["n_average"]
    run.optimiser.load_state_dict(state["optimiser"])
    run.records = [PretrainingRecord(**record) for record in state["records"]]
    run.seconds, run.n_iterations = state["seconds"], state["n_iterations"]
    restore_generators(run, state)
    return True


def _settings(run: Pretrainer) -> dict[str, Any]:
    """All that must be the same for a run to go on, in plain numbers."""
    shapes = {name: list(tensor.shape) for name, tensor in run.network.state_dict().items()}
    return asdict(run.config) | {
        "run": "pre-training",
        "mask_kind": run.masking.kind,
        "mask_rate": run.masking.rate,
        "levels": [run.grid.alpha_bar.tolist(), run.grid.network_step.tolist()],
        "network": shapes,
        "data": [[data.features.tolist(), data.anchor.scale.tolist()] for data in run.sets],
    }
