"""Saved pre-trained weights: a directory of plain files.

pretrained/
PRETRAINED_FORMAT     one integer
SHA256SUMS            digest of every file below
config.json           network shape, features, time step, parameters
weights.safetensors   the network
history.csv           what happened in pre-training
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.errors import InputError, ModelFileError
from tsimpute.fitting.trunk import PretrainedTrunk
from tsimpute.panel.time_step import TimeStep
from tsimpute.storage.directories import (
    check_digests,
    check_own,
    checked_version,
    json_bytes,
    tensor_bytes,
    write_directory,
)
from tsimpute.storage.plain import plain_value

TRUNK_VERSION = 1
VERSION_FILE = "PRETRAINED_FORMAT"
WHAT = "a directory of pre-trained weights"
PAYLOAD = ("config.json", "weights.safetensors", "history.csv")


def save_trunk(trunk: PretrainedTrunk, path: str | Path) -> Path:
    """Save pre-trained weights, atomically.

    Raises
    ------
    InputError
        If the path is something else, or names of features cannot be held by a text file.
    OSError
        If the disk is full or not writable; nothing is left behind.
    """
    path = Path(path)
    check_own(path, VERSION_FILE, WHAT)
    files = {
        "config.json": json_bytes(_config(trunk)),
        "weights.safetensors": tensor_bytes(trunk.weights),
        "history.csv": trunk.history.to_csv(index=False).encode(),
    }
    write_directory(path, files, VERSION_FILE, TRUNK_VERSION)
    return path


def load_trunk(path: str | Path) -> PretrainedTrunk:
    """Read what `save_trunk` saved.

    Raises
    ------
    ModelFileError
        If a file is missing, truncated or altered, or of a newer format.
    """
    path = Path(path)
    checked_version(path, VERSION_FILE, TRUNK_VERSION, WHAT)
    check_digests(path, PAYLOAD)
    try:
        return _read(path)
    except Exception as error:
        raise ModelFileError(f"{path} holds files that do not fit together: {error}") from error


def _config(trunk: PretrainedTrunk) -> dict[str, Any]:
    from tsimpute import __version__

    exogenous = trunk.parameters["exogenous"] or ()
    odd = [name for name in (*trunk.feature_names, *exogenous) if not _is_plain(name)]
    if odd:
        raise InputError(
            f"column labels must be text or whole numbers to be saved; got {odd[:5]}; rename them"
        )
    return {
        "tsimpute_version": __version__,
        "network": asdict(trunk.config),
        "feature_names": list(trunk.feature_names),
        "time_step": trunk.time_step.to_dict(),
        "parameters": {name: plain_value(value) for name, value in trunk.parameters.items()},
    }


def _is_plain(name: object) -> bool:
    return name is None or type(name) in (str, int)


def _read(path: Path) -> PretrainedTrunk:
    import pandas as pd
    from safetensors.torch import load_file

    stored = json.loads((path / "config.json").read_text())
    config = DenoiserConfig(**stored["network"])
    weights = load_file(path / "weights.safetensors")
    with torch.device("meta"):
        CSDIDenoiser(config).load_state_dict(weights, assign=True)  # says now what does not fit
    names = tuple(stored["feature_names"])
    if len(names) != config.n_features:
        raise ModelFileError(f"{len(names)} names for {config.n_features} features")
    return PretrainedTrunk(
        config=config,
        weights=weights,
        feature_names=names,
        time_step=TimeStep.from_dict(stored["time_step"]),
        parameters=stored["parameters"],
        history=pd.read_csv(path / "history.csv"),
    )
