"""Their side of `one_evaluation.py`: PyPOTS' SAITS, trained, and its CSDI, for its time alone."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pypots
import torch
from pypots.imputation import CSDI, SAITS
from pypots.optim import Adam
from rounds import Size, Task, serve

EXCHANGE = Path(__file__).resolve().parents[1] / ".cache" / "one_evaluation"
STEPS, FEATURES = 48, 35


SIZES: dict[str, dict[str, Any]] = {  # its authors' base and tuned ones for these data
    "saits": {
        "n_layers": 2,
        "n_heads": 4,
        "d_k": 64,
        "d_v": 64,
        "d_ffn": 128,
        "dropout": 0.1,
        "optimizer": Adam(lr=1e-3),
    },
    "saits_tuned": {
        "n_layers": 5,
        "n_heads": 8,
        "d_k": 32,
        "d_v": 32,
        "d_ffn": 512,
        "dropout": 0.0,
        "optimizer": Adam(lr=6.8e-4),
    },
}


def saits(name: str, size: Size) -> SAITS:
    """SAITS, trained until validation stops to improve."""
    model = SAITS(
        n_steps=STEPS,
        n_features=FEATURES,
        d_model=256,
        epochs=size.updates,
        patience=5,
        device="cpu",
        saving_path=None,
        model_saving_strategy=None,
        verbose=True,
        **SIZES[name],
    )
    kept = EXCHANGE / f"{name}-{size.updates}.pypots"
    if kept.exists():
        model.load(str(kept))
        return model
    with np.load(EXCHANGE / "data.npz") as data:
        held_out = {"X": data["valid_hidden"], "X_ori": data["valid"]}
        model.fit({"X": data["train"]}, held_out)
    model.save(str(kept))
    return model


def csdi() -> CSDI:
    """CSDI of the width of the official weights; untrained, which is as quick."""
    return CSDI(
        n_steps=STEPS,
        n_features=FEATURES,
        n_layers=4,
        n_heads=8,
        n_channels=64,
        d_time_embedding=128,
        d_feature_embedding=16,
        d_diffusion_embedding=128,
        n_diffusion_steps=50,
        batch_size=16,
        device="cpu",
        model_saving_strategy=None,
        verbose=False,
    )


def prepare(size: Size) -> tuple[dict[str, str], dict[str, Task]]:
    """Tasks by name."""
    torch.set_num_threads(size.threads)
    with np.load(EXCHANGE / "data.npz") as data:
        hidden = data["test_hidden"]
    second = csdi()

    @cache
    def model(name: str) -> SAITS:
        return saits(name, size)

    def impute(name: str) -> None:
        found = model(name).predict({"X": hidden})["imputation"]
        np.save(EXCHANGE / f"{name}.npy", found)

    def one_window() -> None:
        second.predict({"X": hidden[:1]}, n_sampling_times=size.samples)

    tasks: dict[str, Task] = {name: partial(impute, name) for name in SIZES}
    return {"pypots": pypots.__version__}, tasks | {"csdi": one_window}


if __name__ == "__main__":
    serve(prepare)
