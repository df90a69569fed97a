"""A short name for a fitted imputer that changes with anything that its answers depend on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from typing import Any, Protocol

from tsimpute.model import FittedModel
from tsimpute.storage.plain import plain_parameters

_DIGITS = 12
_NOT_THE_MODEL = ("device", "verbose")


class Identified(Protocol):
    """What is read of an imputer."""

    model_: FittedModel
    seed_: int

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name."""


def model_id(imputer: Identified) -> str:
    """First 12 hexadecimal digits of the SHA-256 of weights, learned numbers and parameters.

    Saving and loading does not change it; `device` and `verbose` are left out.
    """
    digest = hashlib.sha256()
    for module in imputer.model_.modules:
        for name, tensor in module.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    digest.update(json.dumps(_facts(imputer), sort_keys=True).encode())
    return digest.hexdigest()[:_DIGITS]


def _facts(imputer: Identified) -> dict[str, Any]:
    """Everything but the weights, as plain data."""
    model = imputer.model_
    names = model.feature_names
    parameters = plain_parameters(imputer.get_params(deep=False))
    facts: dict[str, Any] = {
        "parameters": {k: v for k, v in parameters.items() if k not in _NOT_THE_MODEL},
        "seed": imputer.seed_,
        "network": asdict(model.network.config),
        "beta": model.schedule.beta.tolist(),
        "steps": [model.grid.index.tolist(), model.grid.alpha_bar.tolist()],
        "anchor": [model.anchor.kind, model.anchor.scale.tolist(), model.anchor.spread.tolist()],
        "feature_names": None if names is None else [str(name) for name in names],
        "window_steps": model.window_steps,
        "heads": sorted(model.heads),
        "noise_power": None if model.noise_power is None else str(model.noise_power.tolist()),
        "spectrum": None if model.spectrum is None else model.spectrum.tolist(),
    }
    parts = {item.name: getattr(model, item.name) for item in fields(model)}
    return facts | {k: part.to_dict() for k, part in parts.items() if hasattr(part, "to_dict")}
