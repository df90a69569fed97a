"""Their side: the same with PyPOTS' CSDI, in its own environment; `run.py` starts it."""

from __future__ import annotations

import itertools

import pypots
import rounds
import torch
from pypots.imputation import CSDI
from pypots.imputation.csdi.data import DatasetForCSDI
from rounds import Size, Task, holed_windows, serve
from torch.utils.data import DataLoader


def imputer() -> CSDI:
    """CSDI of the same width on the CPU."""
    return CSDI(
        n_steps=rounds.WINDOW_STEPS,
        n_features=rounds.N_FEATURES,
        n_layers=rounds.LAYERS,
        n_heads=rounds.HEADS,
        n_channels=rounds.CHANNELS,
        d_time_embedding=rounds.TIME_WIDTH,
        d_feature_embedding=rounds.FEATURE_WIDTH,
        d_diffusion_embedding=rounds.STEP_WIDTH,
        n_diffusion_steps=rounds.DIFFUSION_STEPS,
        batch_size=rounds.BATCH_SIZE,
        device="cpu",
        model_saving_strategy=None,
        verbose=False,
    )


def training(updates: int) -> Task:
    """The body of its training loop; batches and targets are drawn beforehand, not timed."""
    model = imputer()
    data = DatasetForCSDI({"X": holed_windows(rounds.BATCH_SIZE)}, "random", return_X_ori=False)
    loader = DataLoader(data, rounds.BATCH_SIZE, shuffle=True)
    batches = itertools.cycle(loader)

    def task() -> None:
        model.model.train()
        for batch in itertools.islice(batches, updates):
            inputs = model._assemble_input_for_training(batch)
            model.optimizer.zero_grad()
            loss = model.model(inputs, calc_criterion=True)["loss"].sum()
            loss.backward()
            model.optimizer.step()
            loss.item()

    return task


def imputing(size: Size) -> Task:
    """Samples of every window, by the public method."""
    model, windows = imputer(), holed_windows(size.windows)
    return lambda: model.predict({"X": windows}, n_sampling_times=size.samples)


def prepare(size: Size) -> tuple[dict[str, str], dict[str, Task]]:
    """Tasks by name."""
    torch.set_num_threads(size.threads)
    tasks = {"train": training(size.updates), "impute 50 steps": imputing(size)}
    return {"pypots": pypots.__version__, "torch": torch.__version__}, tasks


if __name__ == "__main__":
    serve(prepare)
