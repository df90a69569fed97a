"""Official CSDI checkpoints as fitted models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tsimpute.denoiser.anchor import Anchor
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.csdi_weights import read_csdi_file, translate
from tsimpute.diffusion.schedule import make_schedule
from tsimpute.errors import InputError, ModelFileError
from tsimpute.model import FittedModel
from tsimpute.panel.scaling import FeatureScaler

# CSDI trains on standardised data, where nearly all values lie within this range.
_UNKNOWN_RANGE = 10.0


def model_from_csdi(
    path: str | Path,
    mean: ArrayLike | None,
    std: ArrayLike | None,
    feature_names: Sequence[str] | None,
    parameters: dict[str, Any],
) -> tuple[FittedModel, dict[str, int]]:
    """Fitted model from official CSDI weights, and the imputer parameters that they imply."""
    weights = translate(read_csdi_file(path))
    shape = {
        "channels": len(weights["input_projection.weight"]),
        "layers": sum(name.endswith(".step_projection.bias") for name in weights),
        "heads": int(parameters.get("heads", 8)),
    }
    k = len(weights["feature_embedding.weight"])
    network = CSDIDenoiser(DenoiserConfig(n_features=k, **shape))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelFileError(f"{path} has tensors of unknown shapes: {error}") from error
    names = {"schedule": "name", "diffusion_steps": "n_steps"}
    options = ("schedule", "diffusion_steps", "beta_start", "beta_end", "conditioning")
    chosen = {names.get(o, o): parameters[o] for o in options if o in parameters}
    schedule = make_schedule(**chosen)
    model = FittedModel(
        network=network.eval(),
        schedule=schedule,
        grid=schedule.full(),
        keep_prob=np.ones(schedule.n_steps),
        scaler=_given_scaler(mean, std, k),
        anchor=Anchor.none(k),
        feature_names=_given_names(feature_names, k),
        window_steps=int(parameters["window_steps"]),
    )
    return model, shape


def _given_scaler(mean: ArrayLike | None, std: ArrayLike | None, k: int) -> FeatureScaler:
    center = np.zeros(k) if mean is None else np.asarray(mean, dtype=np.float64)
    scale = np.ones(k) if std is None else np.asarray(std, dtype=np.float64)
    if center.shape != (k,) or scale.shape != (k,):
        raise InputError(
            f"mean has shape {center.shape} and std {scale.shape}; expected ({k},), one number "
            f"for each feature of the checkpoint"
        )
    return FeatureScaler(center, scale, np.full(k, -_UNKNOWN_RANGE), np.full(k, _UNKNOWN_RANGE))


def _given_names(names: Sequence[str] | None, k: int) -> tuple[str, ...] | None:
    if names is not None and len(names) != k:
        raise InputError(f"feature_names has {len(names)} names; expected {k}, the checkpoint's")
    return None if names is None else tuple(names)
