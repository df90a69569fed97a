"""A small run that trains in a fraction of a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tsimpute.denoiser.anchor import Anchor
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.diffusion.schedule import make_schedule
from tsimpute.training.batches import WindowSource
from tsimpute.training.config import TrainingConfig
from tsimpute.training.loop import Trainer
from tsimpute.training.search import make_search
from tsimpute.training.validation import Validator

CPU = torch.device("cpu")
N_STEPS = 12


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only lose by threads, and a sum in another order is another sum."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def own_random_numbers() -> Iterator[None]:
    """Dropout draws from torch's global generator; leave it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def waves(n_series: int = 3, n_times: int = 47) -> list[np.ndarray]:
    """Two noisy sines a series, a tenth of the cells missing.

    47 rows hold 5 windows of 8 at every offset, so that each epoch has 4 batches of up to 4.
    """
    rng = np.random.default_rng(1)
    series = []
    for _ in range(n_series):
        phase = rng.uniform(0, 6, 2) + np.arange(n_times)[:, None] / 3
        values = 1.4 * np.sin(phase) + 0.1 * rng.normal(size=(n_times, 2))
        values[rng.random(values.shape) < 0.1] = np.nan
        series.append(values)
    return series


def source_of(series: list[np.ndarray], window_steps: int = 8, stride: int = 8) -> WindowSource:
    usable = [np.ones(len(values), dtype=bool) for values in series]
    return WindowSource(series, usable, window_steps, stride)


MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def make_trainer() -> MakeTrainer:
    """Run by its settings; `seed` decides the first weights and every draw."""

    def make(
        seed: int = 0,
        patterns: WindowSource | None = None,
        series: list[np.ndarray] | None = None,
        **settings: Any,
    ) -> Trainer:
        config = TrainingConfig(**{"kept_steps": 3, "epochs": 4, "batch_size": 4, **settings})
        torch.manual_seed(seed)
        network = CSDIDenoiser(DenoiserConfig(2, channels=8, heads=2, layers=1))
        source, anchor = (
            source_of(waves() if series is None else series),
            replace(Anchor.none(2), kind="linear", scale=torch.tensor([0.5, 0.7])),
        )
        held = source.load(source.places(None))
        return Trainer(
            network=network,
            search=make_search(
                config.mask_rule, make_schedule(n_steps=N_STEPS), config.mask_learning_rate
            ),
            source=source,
            validator=Validator(held, config.target_strategy, anchor, CPU, seed=7),
            anchor=anchor,
            config=config,
            device=CPU,
            rng=np.random.default_rng(seed),
            generator=torch.Generator().manual_seed(seed),
            patterns=patterns,
        )

    return make


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
