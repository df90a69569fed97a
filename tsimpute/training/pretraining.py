"""Masked score matching on visible cells: the first stage of MaskDM (Lei et al. 2023).

In each iteration most cells of a batch are hidden from the network altogether. Some of the others
are targets, as in ordinary training, and the rest are given. So an iteration is cheaper, and
the network learns from many data sets what series are like, before it learns one of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tsimpute.denoiser.anchor import Anchor, AnchorPlan
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.visible import VisibleCells, noise_at_visible
from tsimpute.diffusion.losses import noise_to_level
from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.training.batches import Windows, WindowSource
from tsimpute.training.cell_masks import Masking, draw_visible
from tsimpute.training.config import TrainingConfig, learning_rate_at
from tsimpute.training.divergence import check_loss, lower
from tsimpute.training.ema import WeightAverage, load_weights
from tsimpute.training.history import PretrainingRecord
from tsimpute.training.setup import MAX_ANCHOR_WINDOWS
from tsimpute.training.targets import draw_targets

BETAS = (0.9, 0.99)  # of AdamW, as in the paper
WEIGHT_DECAY = 0.03

Report = Callable[["Pretrainer"], None]


@dataclass(frozen=True, eq=False)
class PretrainingSet:
    """One data set among several.

    Attributes
    ----------
    source : WindowSource
    features : Tensor of int64, shape (K,)
        Numbers of its features among those that the network knows.
    anchor : Anchor
        With scales of its own.
    """

    source: WindowSource
    features: Tensor
    anchor: Anchor


class Drawn(NamedTuple):
    """Masks (B, L, K) of a batch, `targets` within `visible`, noise (B, L, K) and steps (B,)."""

    visible: Tensor
    targets: Tensor
    noise: Tensor
    place: Tensor


@dataclass
class Pretrainer:
    """A run of pre-training in progress.

    Attributes
    ----------
    network : CSDIDenoiser
        Knows the features of all data sets.
    sets : sequence of PretrainingSet
    grid : TimeGrid
        All steps of the chain.
    config : TrainingConfig
        `kept_steps` and what belongs to the search are not read.
    masking : Masking
    """

    network: CSDIDenoiser
    sets: Sequence[PretrainingSet]
    grid: TimeGrid
    config: TrainingConfig
    masking: Masking
    device: torch.device
    rng: np.random.Generator
    generator: torch.Generator
    records: list[PretrainingRecord] = field(default_factory=list)
    seconds: float = 0.0
    n_iterations: int = 0

    def __post_init__(self) -> None:
        self.average = WeightAverage(self.network, self.config.ema_decay)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.config.learning_rate,
            betas=BETAS,
            weight_decay=self.config.weight_decay,
        )
        self._epoch_share = 0.0  # of the present epoch
        self._clock = time.monotonic()

    # ---- fit -------------------------------------------------------------------------------

    def fit(self, on_epoch: Report | None = None, on_step: Report | None = None) -> None:
        """Run to the end, or until Ctrl-C; then the averaged weights are in the network.

        Raises
        ------
        DivergenceError
            If a loss is not finite.
        """
        self._clock = time.monotonic()
        try:
            while self.progress < 1:
                self.run_epoch(on_step)
                if on_epoch is not None:
                    on_epoch(self)
        except KeyboardInterrupt:
            self._finish()
            raise
        self._finish()

    def _finish(self) -> None:
        load_weights(self.network, self.average.weights)
        self.network.eval()

    @property
    def progress(self) -> float:
        """Share of the run that is over, by epochs or by the clock, whichever is further."""
        return self.config.progress(len(self.records) + self._epoch_share, self.seconds)

    # ---- epoch -----------------------------------------------------------------------------

    def run_epoch(self, on_step: Report | None = None) -> None:
        """Every window of every data set once."""
        self.network.train()
        error, counts = 0.0, np.zeros(3, dtype=np.int64)  # target, visible and observed cells
        for share, data, batch in self._batches():
            self._epoch_share = share
            drawn = self.draw(batch)
            error += self._checked(self.step(data, batch, drawn))
            counts += [int(m.sum()) for m in (drawn.targets, drawn.visible, batch.observed_mask)]
            self._tick()
            if on_step is not None:
                on_step(self)
            if self.progress >= 1:
                break
        self.records.append(
            PretrainingRecord(
                epoch=len(self.records),
                train_loss=error / max(int(counts[0]), 1),
                learning_rate=self.optimiser.param_groups[0]["lr"],
                visible_share=int(counts[1]) / int(counts[2]),
                n_iterations=self.n_iterations,
                seconds=self.seconds,
            )
        )
        self._epoch_share = 0.0

    def _checked(self, error: float) -> float:
        check_loss(error, f"epoch {len(self.records) + 1}", lower(self.config.learning_rate))
        return error

    def _batches(self) -> Iterator[tuple[float, PretrainingSet, Windows]]:
        """Batches of one data set each, in random order, and the share of the epoch before it."""
        size = self.config.batch_size
        batches = [
            (data, places) for data in self.sets for places in data.source.batches(size, self.rng)
        ]
        for i, at in enumerate(self.rng.permutation(len(batches))):
            data, places = batches[at]
            yield i / len(batches), data, data.source.load(places)

    def _tick(self) -> None:
        now = time.monotonic()
        self.seconds += now - self._clock
        self._clock = now

    # ---- step ------------------------------------------------------------------------------

    def draw(self, batch: Windows) -> Drawn:
        """Which cells are visible, which of these are targets, and noise at random steps."""
        visible, targets = draw_cells(
            self.masking, self.config.target_strategy, batch.observed_mask, self.generator
        )
        noise = torch.randn(batch.values.shape, generator=self.generator)
        place = torch.from_numpy(self.rng.integers(len(self.grid), size=len(batch)))
        return Drawn(visible, targets, noise, place)

    def step(self, data: PretrainingSet, batch: Windows, drawn: Drawn) -> float:
        """One update of the weights; the summed squared error of the targets."""
        half = self.config.mixed_precision and self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            error, n_cells = self.errors(data, batch, drawn)
        self.optimiser.zero_grad(set_to_none=True)
        (error / max(1, n_cells)).backward()  # type: ignore[no-untyped-call]
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate_at(self.progress, self.config.learning_rate)
        self.optimiser.step()
        self.average.update(self.network)
        self.n_iterations += 1
        return float(error.detach())

    def errors(self, data: PretrainingSet, batch: Windows, drawn: Drawn) -> tuple[Tensor, int]:
        """Summed squared error of the predicted noise over target cells, and their number."""
        windows, visible = batch.to(self.device), drawn.visible.to(self.device)
        noise, targets = drawn.noise.to(self.device), drawn.targets.to(self.device)
        given, at = visible & ~targets, windows.context.positions
        frame = data.anchor.frame(windows.values, given, windows.padding, at)
        away = (windows.values - frame.centre) / data.anchor.scale
        noisy = noise_to_level(away, noise, torch.from_numpy(self.grid.alpha_bar)[drawn.place])
        step = torch.from_numpy(self.grid.network_step)[drawn.place].float().to(self.device)
        seen = (noisy, frame.shown, given, step, VisibleCells.of(visible), data.features)
        predicted = noise_at_visible(self.network, *seen, context=windows.context)
        wrong = (noise[visible] - predicted).float()[targets[visible]]
        return wrong.square().sum(), len(wrong)


def draw_cells(
    masking: Masking, strategy: str, observed_mask: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Visible cells of windows (B, L, K), and the targets among them."""
    visible = draw_visible(masking.kind, masking.rate, observed_mask, generator)
    patterns = observed_mask[torch.randperm(len(observed_mask), generator=generator)]
    return visible, draw_targets(strategy, visible, patterns, generator)


def fit_sparse_anchor(
    plan: AnchorPlan, source: WindowSource, masking: Masking, strategy: str, seed: int
) -> Anchor:
    """Scale of the distances from the anchor where only visible cells are known.

    It is larger than in training, so that what is diffused has the same size in both.
    """
    windows = some_windows(source, seed)
    generator = torch.Generator().manual_seed(seed)
    visible, targets = draw_cells(masking, strategy, windows.observed_mask, generator)
    at = windows.context.positions
    return Anchor.fit(plan, windows.values, visible & ~targets, targets, windows.padding, at)


def some_windows(source: WindowSource, seed: int) -> Windows:
    """Random windows of a data set, all where they are few."""
    places = source.places(None)
    chosen = np.random.default_rng([seed, 3]).permutation(len(places))[:MAX_ANCHOR_WINDOWS]
    return source.load([places[i] for i in sorted(chosen)])
