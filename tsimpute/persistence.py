"""Saved models: a directory of plain files, checked before anything is believed.

    model/
      FORMAT_VERSION        one integer
      SHA256SUMS            digest of every file below, in the format of `sha256sum`
      config.json           parameters, network shape, columns, seed
      scaler.json           per-feature scaling
      step_schedule.json    betas, keep-probabilities and how they went, kept steps and levels
      weights.safetensors   the network
      heads.safetensors     variance heads and the marginal head, where there are any
      parts.json            what else was learned, by the name of the model's attribute
      history.csv           what happened in training

To change the format: raise FORMAT_VERSION, teach `_read` the older versions, and add a golden
directory of the new version under tests/golden.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tsimpute.denoiser.anchor import Anchor
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.heads import OutputHead
from tsimpute.denoiser.marginals import LEVELS, MarginalNetwork
from tsimpute.denoiser.season import Season
from tsimpute.denoiser.step_widths import StepWidths
from tsimpute.diffusion.schedule import NoiseSchedule
from tsimpute.errors import InputError, ModelFileError
from tsimpute.evaluation.calibrations import Calibrations
from tsimpute.model import FittedModel
from tsimpute.panel.scaling import FeatureScaler
from tsimpute.panel.side import SideColumns
from tsimpute.panel.time_step import TimeStep
from tsimpute.samplers.ggdm import Coefficients
from tsimpute.storage.directories import (
    check_digests,
    check_own,
    checked_version,
    json_bytes,
    tensor_bytes,
    write_directory,
)
from tsimpute.storage.plain import plain_parameters

if TYPE_CHECKING:
    from tsimpute.imputer import EDDPMImputer

FORMAT_VERSION = 4
VERSION_FILE = "FORMAT_VERSION"
PAYLOAD_1 = (
    "config.json",
    "scaler.json",
    "step_schedule.json",
    "weights.safetensors",
    "history.csv",
)
PAYLOAD_2 = (*PAYLOAD_1, "heads.safetensors")
PAYLOAD_3 = (*PAYLOAD_2, "parts.json")
PAYLOAD = {1: PAYLOAD_1, 2: PAYLOAD_2, 3: PAYLOAD_3, 4: PAYLOAD_3}

# Attributes of a model that are plain data: from what `to_dict` gave back to the attribute.
PARTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "calibrations": Calibrations.from_dict,
    "side": SideColumns.from_dict,
    "widths": StepWidths.from_dict,
    "time_step": TimeStep.from_dict,
}


def save(imputer: EDDPMImputer, path: str | Path) -> Path:
    """Save a fitted imputer as a directory, atomically: all of it or nothing.

    A model that is there already is replaced only once the new one is complete on disk.

    Parameters
    ----------
    imputer : EDDPMImputer
        Fitted.
    path : str or Path
        Directory to make; its parent is made too.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    InputError
        If the path is a file or a directory of something else, or the columns have labels that
        a text file cannot hold.
    OSError
        If the disk is full or not writable; nothing is left behind.
    """
    path = Path(path)
    check_place(path)
    write_directory(path, _files(imputer), VERSION_FILE, FORMAT_VERSION)
    return path


def check_place(path: Path) -> None:
    """Raise InputError if something else than a saved model is there."""
    check_own(path, VERSION_FILE, "a saved model")


def load(path: str | Path, device: str = "auto") -> EDDPMImputer:
    """Load a saved imputer; nothing has to be told again.

    Parameters
    ----------
    path : str or Path
        Directory that :meth:`EDDPMImputer.save` made.
    device : str, default="auto"
        Where it will run: "auto", "cpu", "cuda", "cuda:<n>" or "mps".

    Returns
    -------
    EDDPMImputer
        Fitted.

    Raises
    ------
    ModelFileError
        If a file is missing, truncated or altered, or of a newer format.
    """
    path = Path(path)
    version = checked_version(path, VERSION_FILE, FORMAT_VERSION, "a saved model")
    check_digests(path, PAYLOAD[version])
    try:
        return _read(path, device)
    except InputError:
        raise
    except Exception as error:
        raise ModelFileError(f"{path} holds files that do not fit together: {error}") from error


def _files(imputer: EDDPMImputer) -> dict[str, bytes]:
    model = imputer.model_
    return {
        "config.json": json_bytes(_config(imputer)),
        "scaler.json": json_bytes(model.scaler.to_dict()),
        "step_schedule.json": json_bytes(_schedule(imputer)),
        "weights.safetensors": tensor_bytes(model.network.state_dict()),
        "heads.safetensors": tensor_bytes(_heads(model).state_dict()),
        "parts.json": json_bytes(_parts(model)),
        "history.csv": imputer.history_.to_csv(index=False).encode(),
    }


def _heads(model: FittedModel) -> nn.Module:
    """All further outputs of a model as one module."""
    parts: dict[str, nn.Module] = {"heads": nn.ModuleDict(dict(model.heads))}
    if model.marginals is not None:
        parts["marginals"] = model.marginals
    return nn.ModuleDict(parts)


def _parts(model: FittedModel) -> dict[str, Any]:
    """Everything of PARTS that the model has; None and no calibrations at all are left out."""
    there = {name: getattr(model, name) for name in PARTS}
    return {name: part.to_dict() for name, part in there.items() if part}


def _with_parts(model: FittedModel, path: Path) -> FittedModel:
    """Add what `_parts` stored; older formats have no such file."""
    file = path / "parts.json"
    stored = json.loads(file.read_text()) if file.is_file() else {}
    if "calibration" in stored:  # format 3 had one at most
        stored["calibrations"] = {"members": [stored.pop("calibration")]}
    return replace(model, **{name: PARTS[name](part) for name, part in stored.items()})


def _config(imputer: EDDPMImputer) -> dict[str, Any]:
    from tsimpute import __version__

    model = imputer.model_
    inputs = model.input_names
    if inputs is not None and not all(type(name) in (str, int) for name in inputs):
        raise InputError(
            f"column labels must be text or whole numbers to be saved; got {list(inputs)}; rename "
            f"them"
        )
    return {
        "tsimpute_version": __version__,
        "parameters": plain_parameters(imputer.get_params(deep=False)),
        "network": asdict(model.network.config),
        "feature_names": None if model.feature_names is None else list(model.feature_names),
        "window_steps": model.window_steps,
        "anchor": _anchor(model.anchor),
        "heads": {kind: head.positive for kind, head in model.heads.items()},
        "marginals": None if model.marginals is None else _marginals(model.marginals),
        "seed": imputer.seed_,
    }


def _marginals(marginals: MarginalNetwork) -> dict[str, Any]:
    return {"levels": list(marginals.levels), "network_step": marginals.network_step}


def _anchor(anchor: Anchor) -> dict[str, Any]:
    stored: dict[str, Any] = {
        "kind": anchor.kind,
        "scale": anchor.scale.tolist(),
        "spread": anchor.spread.tolist(),
    }
    if anchor.season is not None:
        stored["season"] = anchor.season.to_dict()
    return stored


def _read_anchor(stored: dict[str, Any]) -> Anchor:
    season = Season.from_dict(stored["season"]) if "season" in stored else None
    scale, spread = torch.tensor(stored["scale"]), torch.tensor(stored["spread"])
    return Anchor(stored["kind"], scale, spread, season)


def _schedule(imputer: EDDPMImputer) -> dict[str, Any]:
    model = imputer.model_
    return {
        "beta": model.schedule.beta.tolist(),
        "conditioning": model.schedule.conditioning,
        "keep_prob": model.keep_prob.tolist(),
        "keep_prob_history": imputer.keep_prob_history_.tolist(),
        "kept_index": model.grid.index.tolist(),
        "kept_alpha_bar": model.grid.alpha_bar.tolist(),
        "kept_network_step": model.grid.network_step.tolist(),
        "noise_power": _with_nulls(model.noise_power),
        "ggdm": None if model.ggdm is None else model.ggdm.to_dict(),
        "spectrum": None if model.spectrum is None else model.spectrum.tolist(),
    }


def _with_nulls(values: NDArray[np.float64] | None) -> list[float | None] | None:
    return None if values is None else [None if np.isnan(v) else float(v) for v in values]


def _read(path: Path, device: str) -> EDDPMImputer:
    import pandas as pd
    from safetensors.torch import load_file

    from tsimpute.imputer import EDDPMImputer

    config = json.loads((path / "config.json").read_text())
    stored = json.loads((path / "step_schedule.json").read_text())
    network = CSDIDenoiser(DenoiserConfig(**config["network"]))
    network.load_state_dict(load_file(path / "weights.safetensors"))
    names = config["feature_names"]
    schedule = NoiseSchedule(np.array(stored["beta"]), stored["conditioning"])
    model = FittedModel(
        network=network.eval(),
        schedule=schedule,
        grid=schedule.grid(
            np.array(stored["kept_index"], dtype=np.int64),
            np.array(stored["kept_alpha_bar"]),
            np.array(stored["kept_network_step"]),
        ),
        keep_prob=np.array(stored["keep_prob"]),
        scaler=FeatureScaler.from_dict(json.loads((path / "scaler.json").read_text())),
        anchor=_read_anchor(config["anchor"]),
        feature_names=None if names is None else tuple(names),
        window_steps=config["window_steps"],
    )
    model = _with_parts(_with_heads(model, path, config, stored), path)
    # What older formats knew.
    walk = {"sampler": "ddpm", "variance": "fixed", "antithetic": False}
    plain = {**walk, "period": None, "warmup": 0.0}
    imputer = EDDPMImputer(**(plain | config["parameters"] | {"device": device}))
    history = pd.read_csv(path / "history.csv")
    keep_prob = stored.get("keep_prob_history")  # older models lack it
    keep_prob = None if keep_prob is None else np.array(keep_prob).reshape(-1, model.keep_prob.size)
    return imputer._adopt(model, config["seed"], history, keep_prob)


def _with_heads(
    model: FittedModel, path: Path, config: dict[str, Any], stored: dict[str, Any]
) -> FittedModel:
    """Add the further outputs, which format 1 does not have."""
    from safetensors.torch import load_file

    shape, power = model.network.config, stored.get("noise_power")
    kinds: dict[str, bool] = config.get("heads", {})
    heads = {kind: OutputHead(shape.channels, positive=p) for kind, p in kinds.items()}
    marginals = None
    if config.get("marginals"):
        if tuple(config["marginals"]["levels"]) != LEVELS:
            raise ModelFileError(f"{path} has a marginal head of other levels than {LEVELS}")
        step = config["marginals"]["network_step"]
        marginals = MarginalNetwork(CSDIDenoiser(shape), step)
    model = replace(
        model,
        heads=heads,
        noise_power=None if power is None else np.array(power, dtype=np.float64),
        marginals=marginals,
        ggdm=Coefficients.from_dict(stored["ggdm"]) if stored.get("ggdm") else None,
        spectrum=np.array(stored["spectrum"]) if stored.get("spectrum") else None,
    )
    if (path / "heads.safetensors").is_file():
        everything = _heads(model).eval().requires_grad_(False)
        everything.load_state_dict(load_file(path / "heads.safetensors"))
    return model
