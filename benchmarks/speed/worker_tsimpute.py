"""Our side: training updates and imputations on demand; `run.py` starts it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from rounds import BATCH_SIZE, DIFFUSION_STEPS, WINDOW_STEPS, Size, Task, holed_windows, serve

import tsimpute
from tsimpute import EDDPMImputer
from tsimpute.denoiser.anchor import AnchorPlan
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.diffusion.schedule import make_schedule, spaced_indices
from tsimpute.training.config import TrainingConfig
from tsimpute.training.setup import DataPlan, start_run

KEPT_STEPS = 10


def training(attention_dropout: float, updates: int) -> Task:
    """Updates as `fit` makes them: targets, loss, gradient, Adam, averaged weights, step search."""
    series = list(holed_windows(BATCH_SIZE).astype(np.float64))
    shape = DenoiserConfig(series[0].shape[1], attention_dropout=attention_dropout)
    trainer = start_run(
        CSDIDenoiser(shape),
        make_schedule(n_steps=DIFFUSION_STEPS),
        series,
        DataPlan(WINDOW_STEPS, stride=WINDOW_STEPS, validation_fraction=0.0),
        TrainingConfig(kept_steps=KEPT_STEPS, epochs=10_000, batch_size=BATCH_SIZE),
        torch.device("cpu"),
        seed=0,
        anchor=AnchorPlan("linear"),
    )
    batch = trainer.source.load(trainer.source.places(None))

    def task() -> None:
        trainer.network.train()
        for _ in range(updates):
            trainer.step(batch)

    return task


def imputing(kept_steps: int, size: Size) -> Task:
    """Samples of every window, by the public method."""
    windows = holed_windows(size.windows)
    imputer = EDDPMImputer(
        WINDOW_STEPS,
        kept_steps=DIFFUSION_STEPS,
        epochs=1,
        overlap=0.0,
        validation_fraction=0.0,
        device="cpu",
        random_state=0,
        verbose=0,
    ).fit(holed_windows(1))
    if kept_steps < DIFFUSION_STEPS:
        places = spaced_indices(DIFFUSION_STEPS, kept_steps)
        grid = imputer.model_.schedule.respaced(places)
        imputer.model_ = replace(imputer.model_, grid=grid)
    return lambda: imputer.sample(windows, size.samples)


def prepare(size: Size) -> tuple[dict[str, str], dict[str, Task]]:
    """Tasks by name."""
    torch.set_num_threads(size.threads)
    tasks = {
        "train": training(0.0, size.updates),
        "train with attention dropout": training(0.1, size.updates),
        "impute 50 steps": imputing(DIFFUSION_STEPS, size),
        "impute 10 steps": imputing(KEPT_STEPS, size),
    }
    return {"tsimpute": tsimpute.__version__, "torch": torch.__version__}, tasks


if __name__ == "__main__":
    serve(prepare)
