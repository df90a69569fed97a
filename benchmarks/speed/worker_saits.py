"""Their side of `one_evaluation.py`: PyPOTS' SAITS, trained, and its CSDI, for its time alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pypots
import torch
from pypots.imputation import CSDI, SAITS
from rounds import Size, Task, serve

EXCHANGE = Path(__file__).resolve().parents[1] / ".cache" / "one_evaluation"
STEPS, FEATURES = 48, 35


def saits(size: Size) -> SAITS:
    """SAITS of its authors' size for these data, trained until validation stops to improve."""
    model = SAITS(
        n_steps=STEPS,
        n_features=FEATURES,
        n_layers=2,
        d_model=256,
        n_heads=4,
        d_k=64,
        d_v=64,
        d_ffn=128,
        dropout=0.1,
        epochs=size.updates,
        patience=5,
        device="cpu",
        saving_path=None,
        model_saving_strategy=None,
        verbose=True,
    )
    kept = EXCHANGE / f"saits-{size.updates}.pypots"
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
    first, second = saits(size), csdi()

    def impute() -> None:
        found = first.predict({"X": hidden})["imputation"]
        np.save(EXCHANGE / "saits.npy", found)

    def one_window() -> None:
        second.predict({"X": hidden[:1]}, n_sampling_times=size.samples)

    return {"pypots": pypots.__version__}, {"impute": impute, "csdi": one_window}


if __name__ == "__main__":
    serve(prepare)
