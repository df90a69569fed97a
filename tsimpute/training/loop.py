"""The training loop: fit, epoch, step."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tsimpute.denoiser.anchor import Anchor
from tsimpute.denoiser.context import Context
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.diffusion.budget import kept_steps_at
from tsimpute.diffusion.losses import noise_to_level, squared_error_per_series
from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.errors import DivergenceError
from tsimpute.training.batches import Windows, WindowSource
from tsimpute.training.config import TrainingConfig, learning_rate_at
from tsimpute.training.divergence import KNOWS_NOTHING, WORSE_THAN_NOTHING, check_loss, lower
from tsimpute.training.ema import WeightAverage, load_weights
from tsimpute.training.gradients import add_gradients, whole_or_parts
from tsimpute.training.hiding import hide
from tsimpute.training.history import EpochRecord
from tsimpute.training.sandwich import Sandwich
from tsimpute.training.search import StepSearch
from tsimpute.training.validation import Validator

MEASUREMENTS = 2  # of the errors by level, in a search

Report = Callable[["Trainer"], None]


class _Noised(NamedTuple):
    """A batch at random levels: what the network sees, and what it is to say."""

    seen: tuple[Tensor, Tensor, Tensor, Tensor]  # noisy, shown, given, step
    is_real: Tensor | None
    context: Context
    noise: Tensor
    targets: Tensor

    def take(self, rows: slice) -> _Noised:
        """Some of the windows."""
        noisy, shown, given, step = (part[rows] for part in self.seen)
        is_real = None if self.is_real is None else self.is_real[rows]
        context = self.context.each(lambda part: part[rows])
        seen = (noisy, shown, given, step)
        return _Noised(seen, is_real, context, self.noise[rows], self.targets[rows])


@dataclass
class Trainer:
    """A run in progress: everything that a checkpoint must hold, and the levels that move it.

    Attributes
    ----------
    patterns : WindowSource or None
        Where the holes of "historical" and "mix" targets come from; None: the source itself.
    fixed_grid : TimeGrid or None
        The kept steps once they are decided; None while they are searched.
    next_measurement : float
        Share of the search from which errors by level are measured again.
    best : tuple of (float, dict) or None
        Lowest validation loss on the fixed grid, and the averaged weights that had it.
    """

    network: nn.Module
    search: StepSearch
    source: WindowSource
    validator: Validator
    anchor: Anchor
    config: TrainingConfig
    device: torch.device
    rng: np.random.Generator
    generator: torch.Generator
    patterns: WindowSource | None = None
    fixed_grid: TimeGrid | None = None
    records: list[EpochRecord] = field(default_factory=list)
    keep_prob_history: list[np.ndarray] = field(default_factory=list)
    best: tuple[float, dict[str, Tensor]] | None = None
    seconds: float = 0.0
    n_iterations: int = 0
    epochs_since_best: int = 0
    next_measurement: float = 0.0

    def __post_init__(self) -> None:
        self.average = WeightAverage(self.network, self.config.ema_decay)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )
        self.batches_per_epoch = self.source.n_batches(self.config.batch_size)
        self._sandwich: Sandwich | None = None
        if self.config.random_widths is not None and isinstance(self.network, CSDIDenoiser):
            self._sandwich = Sandwich(self.network, self.config.random_widths)
        self._epoch_share = 0.0  # of the present epoch
        self._validation_s = 0.0  # what one takes that is not quick
        self._clock = time.monotonic()
        if self.config.kept_steps >= self.search.n_steps:
            self.fixed_grid = self.search.schedule.full()

    # ---- fit -------------------------------------------------------------------------------

    def fit(self, on_epoch: Report | None = None, on_step: Report | None = None) -> None:
        """Run to the end, or until Ctrl-C; then the best averaged weights are in the network.

        A loss that is not finite ends it too, with a DivergenceError, or, where an epoch on the
        kept steps had learned something, with its weights and a warning.
        """
        self._clock = time.monotonic()
        try:
            while not self.finished:
                self.run_epoch(on_step)
                if on_epoch is not None:
                    on_epoch(self)
        except KeyboardInterrupt:
            self.finish()
            raise
        except DivergenceError as error:
            if self.best is None or not self.best[0] < KNOWS_NOTHING:
                raise
            kept = "the weights of the best epoch before that are kept"
            warnings.warn(f"{error}; {kept}", stacklevel=6)  # for who called fit
        self.finish()
        if self.best is not None and self.best[0] > WORSE_THAN_NOTHING:
            warnings.warn(
                f"the network has learned nothing: its validation loss is {self.best[0]:.3g}, and "
                f"that of predicting no noise is 1; {lower(self.config.learning_rate)}",
                stacklevel=6,
            )

    @property
    def progress(self) -> float:
        """Share of the run that is over, by epochs or by the clock, whichever is further."""
        return self.config.progress(len(self.records) + self._epoch_share, self.seconds)

    @property
    def finished(self) -> bool:
        """Whether the epochs, the time or the patience are used up."""
        epochs_over = self.config.epochs is not None and len(self.records) >= self.config.epochs
        patience = self.config.patience
        return (
            epochs_over
            or self._time_is_over
            or bool(patience and self.epochs_since_best >= patience)
        )

    @property
    def _time_is_over(self) -> bool:
        """Whether nothing is left of the time but what a validation takes."""
        budget = self.config.time_budget_s
        return budget is not None and self.seconds + self._validation_s >= budget

    def finish(self) -> None:
        """Decide the kept steps if they are open, and put the best weights into the network."""
        if self.fixed_grid is None:
            self.fixed_grid = self.search.best_grid(self.config.kept_steps)
        load_weights(self.network, self.best[1] if self.best else self.average.weights)
        self.network.eval()

    # ---- epoch -----------------------------------------------------------------------------

    def run_epoch(self, on_step: Report | None = None) -> None:
        """One pass over the windows, then validation."""
        self.network.train()
        total, cells = 0.0, 0
        for share, batch in self.source.epoch(self.config.batch_size, self.rng):
            self._epoch_share = share
            error, n = self.step(batch)
            total, cells = total + error, cells + n
            self._tick()
            if on_step is not None:
                on_step(self)
            if self._time_is_over:
                break
        self._close_epoch(total / max(cells, 1))

    def _close_epoch(self, train_loss: float) -> None:
        grid = self.fixed_grid
        judged = self._sandwich.judged() if self._sandwich else [self.network]
        with self.average.applied_to(self.network):
            levels = grid or self.search.schedule.full()
            quick = grid is None  # before the steps are fixed no weights are chosen by it
            losses = [self.validator.loss(network, levels, quick) for network in judged]
            loss = float(np.mean(losses))
        if self.validator.has_targets:  # else it is NaN
            self._check_loss(loss)
        before_s = self.seconds
        self._tick()
        at_all_steps = self.validator.repeats if quick else 1
        self._validation_s = at_all_steps * (self.seconds - before_s)
        if grid is not None:
            self._keep_if_best(loss)
        learner = self.search.learner
        self.keep_prob_history.append(learner.keep_prob.copy())
        self.records.append(
            EpochRecord(
                epoch=len(self.records),
                phase=self.phase,
                train_loss=train_loss,
                validation_loss=loss,
                learning_rate=self.optimiser.param_groups[0]["lr"],
                expected_kept=float(learner.keep_prob.sum()),
                n_undecided=learner.n_undecided(),
                seconds=self.seconds,
            )
        )
        self._epoch_share = 0.0

    def _check_loss(self, loss: float) -> None:
        check_loss(loss, f"epoch {len(self.records) + 1}", lower(self.config.learning_rate))

    def _keep_if_best(self, loss: float) -> None:
        if self.best is None or not loss >= self.best[0]:
            self.best = (loss, {name: w.clone() for name, w in self.average.weights.items()})
            self.epochs_since_best = 0
        else:
            self.epochs_since_best += 1

    @property
    def phase(self) -> str:
        """Which part of the run this is."""
        if self.fixed_grid is not None:
            return "fixed"
        return "all steps" if self.progress < self.config.search_start else "search"

    def _tick(self) -> None:
        now = time.monotonic()
        self.seconds += now - self._clock
        self._clock = now

    # ---- step ------------------------------------------------------------------------------

    def step(self, batch: Windows) -> tuple[float, int]:
        """One update of the weights and, during the search, of the keep-probabilities."""
        self._settle_steps()
        grid = self.fixed_grid or self.search.draw_grid(self.phase == "search", self.rng)
        targets = self._draw_targets(batch)
        place = torch.from_numpy(self.rng.integers(len(grid), size=len(batch)))
        noised = self._noised(batch, targets, grid, place)
        error, n_cells = self._backward(noised)
        self._update()
        error, n_cells = error.cpu(), n_cells.cpu()
        total = float(error.sum())
        self._check_loss(total)
        self._learn_mask(error, n_cells)
        return total, int(n_cells.sum())

    def _settle_steps(self) -> None:
        if self.fixed_grid is None and self.progress >= self.config.search_end:
            self.fixed_grid = self.search.best_grid(self.config.kept_steps)

    def _draw_targets(self, batch: Windows) -> Tensor:
        patterns = self.patterns or self.source
        return hide(self.config.target_strategy, batch, patterns, self.rng, self.generator)

    def _noised(self, batch: Windows, targets: Tensor, grid: TimeGrid, place: Tensor) -> _Noised:
        noise = torch.randn(batch.values.shape, generator=self.generator).to(self.device)
        on_device, targets = batch.to(self.device), targets.to(self.device)
        given = on_device.observed_mask & ~targets
        alpha_bar = torch.from_numpy(grid.alpha_bar)[place]
        step = torch.from_numpy(grid.network_step)[place].float().to(self.device)
        frame = self.anchor.frame(
            on_device.values, given, on_device.padding, on_device.context.positions
        )
        away = (on_device.values - frame.centre) / self.anchor.scale
        noisy = noise_to_level(away, noise, alpha_bar)
        seen = (noisy, frame.shown, given, step)
        return _Noised(seen, on_device.padding, on_device.context, noise, targets)

    def _backward(self, noised: _Noised) -> tuple[Tensor, Tensor]:
        """Gradients of the mean loss over the widths; errors of the whole network."""
        networks = self._sandwich.draw(self.rng) if self._sandwich else [self.network]
        self.optimiser.zero_grad(set_to_none=True)
        share = 1 / (noised.targets.sum().clamp(min=1) * len(networks))
        for network in networks:  # the last one is whole
            found = self._add_gradients(network, noised, share)
        error, n_cells = (torch.cat(parts) for parts in zip(*found, strict=True))
        return error, n_cells

    def _add_gradients(
        self, network: nn.Module, noised: _Noised, share: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Of a network's summed error times a share; errors and cells of its parts."""

        def loss(rows: slice) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            error, n_cells = self._errors(network, noised.take(rows))
            return error.sum() * share, (error.detach(), n_cells)

        parts = [slice(None)]  # a narrowed network cannot do several at once
        if isinstance(network, CSDIDenoiser):
            parts = whole_or_parts(noised.noise, network.config)
        return add_gradients(loss, parts, self.network.parameters(), self.device)

    def _errors(self, network: nn.Module, noised: _Noised) -> tuple[Tensor, Tensor]:
        half = self.config.mixed_precision and self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            predicted = network(*noised.seen, is_real=noised.is_real, context=noised.context)
        return squared_error_per_series(noised.noise, predicted, noised.targets)

    def _update(self) -> None:
        for group in self.optimiser.param_groups:
            rate, warmup = self.config.learning_rate, self.config.warmup
            group["lr"] = learning_rate_at(self.progress, rate, warmup)
        self.optimiser.step()
        self.average.update(self.network)
        self.n_iterations += 1

    def _learn_mask(self, error: Tensor, n_cells: Tensor) -> None:
        if self.phase != "search":
            return
        start, end = self.config.search_start, self.config.search_end
        share = (self.progress - start) / max(end - start, 1e-12)
        self.search.observe(error.numpy(), n_cells.numpy())
        if self.search.measures_levels and share >= self.next_measurement:
            self._measure_levels()
            self.next_measurement = share + 1 / MEASUREMENTS
        budget = kept_steps_at(share, self.search.n_steps, self.config.kept_steps)
        self.search.update(budget, self.rng)

    def _measure_levels(self) -> None:
        with self.average.applied_to(self.network):
            sample = self.validator.level_errors(self.network, self.search.schedule.full())
        self._check_loss(float(sample.error.sum()))
        self.network.train()
        self.search.measured(*sample)
