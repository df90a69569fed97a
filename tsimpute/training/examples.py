"""Windows with some of their observed cells hidden: what every head is trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from tsimpute.denoiser.anchor import Anchor
from tsimpute.denoiser.context import NO_CONTEXT, Context
from tsimpute.diffusion.losses import noise_to_level
from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.errors import InputError
from tsimpute.training.batches import WindowSource
from tsimpute.training.divergence import ON_A_FIXED_RATE, check_loss
from tsimpute.training.hiding import check_hides, hide


@dataclass(frozen=True)
class Example:
    """A batch of windows as the network sees them.

    Attributes
    ----------
    away : Tensor of float32, shape (B, L, K)
        What is diffused: (value - centre) / scale of the anchor.
    shown : Tensor of float32, shape (B, L, K)
        The condition.
    given_mask, target_mask : Tensor of bool, shape (B, L, K)
        Observed cells that are shown, and those that are hidden.
    is_real : Tensor of bool, shape (B, L), or None
        False on padding rows.
    context : Context
    """

    away: Tensor
    shown: Tensor
    given_mask: Tensor
    target_mask: Tensor
    is_real: Tensor | None
    context: Context = NO_CONTEXT

    def take(self, rows: Tensor | slice) -> Example:
        """Some of the windows, by indices, by a mask or in a row."""
        is_real = None if self.is_real is None else self.is_real[rows]
        given, target = self.given_mask[rows], self.target_mask[rows]
        context = self.context.each(lambda part: part[rows])
        return Example(self.away[rows], self.shown[rows], given, target, is_real, context)


@dataclass(frozen=True)
class Noised:
    """An example at random levels of a grid: state and noise (B, L, K), place and step (B,)."""

    x: Tensor
    noise: Tensor
    place: Tensor
    step: Tensor

    def take(self, rows: Tensor) -> Noised:
        """Some of the windows, by indices or by a mask."""
        return Noised(self.x[rows], self.noise[rows], self.place[rows], self.step[rows])


@dataclass(frozen=True)
class ExampleSource:
    """Where examples come from.

    Attributes
    ----------
    windows : WindowSource
    strategy : str
        By which cells are hidden, as in training.
    anchor : Anchor
    batch_size : int
    device : torch.device
    seed : int
    patterns : WindowSource or None
        Where the holes of "historical" and "mix" targets come from; None: the windows themselves.
    """

    windows: WindowSource
    strategy: str
    anchor: Anchor
    batch_size: int
    device: torch.device
    seed: int
    patterns: WindowSource | None = None

    def checked(self) -> ExampleSource:
        """Itself; raises InputError if no cell is hidden in the first batches."""
        patterns = self.patterns or self.windows
        check_hides(self.strategy, self.windows, patterns, self.batch_size, self.seed)
        return self

    def draw(self) -> Iterator[Example]:
        """Endless examples, epoch by epoch; the same ones at each call."""
        rng = np.random.default_rng([self.seed, 4])
        generator = torch.Generator().manual_seed(self.seed)
        anchor, patterns = self.anchor.to(self.device), self.patterns or self.windows
        for batch in self.windows.endless(self.batch_size, rng):
            hidden = hide(self.strategy, batch, patterns, rng, generator)
            windows, targets = batch.to(self.device), hidden.to(self.device)
            given = windows.observed_mask & ~targets
            at = windows.context.positions
            frame = anchor.frame(windows.values, given, windows.padding, at)
            away = (windows.values - frame.centre) / anchor.scale
            known = (frame.shown, given, targets, windows.padding, windows.context)
            yield Example(away, *known)


def noised(
    example: Example, grid: TimeGrid, generator: torch.Generator, place: Tensor | None = None
) -> Noised:
    """Take each window of an example to a level of a grid, a random one or that of its place."""
    device = example.away.device
    if place is None:
        place = torch.randint(len(grid), (len(example.away),), generator=generator)
    noise = torch.randn(example.away.shape, generator=generator).to(device)
    x = noise_to_level(example.away, noise, torch.from_numpy(grid.alpha_bar)[place])
    step = torch.from_numpy(grid.network_step)[place].float().to(device)
    return Noised(x, noise, place, step)


def nothing_hidden(name: str, n_batches: int) -> InputError:
    """What is said where no example had a hidden cell, and the parameter that asks for more."""
    return InputError(
        f"{name}={n_batches} batches of windows had no hidden cell to learn from; pass more, or "
        f"data with more observed cells"
    )


def all_in_turn(n: int, generator: torch.Generator) -> Iterator[int]:
    """Endless numbers 0 to n - 1 in random order, each once before one comes again."""
    while True:
        yield from torch.randperm(n, generator=generator).tolist()


def by_backward(loss: Callable[[Example], Tensor]) -> Callable[[Example], float]:
    """Take all gradients of a loss at once, for `minimise`."""

    def backward(example: Example) -> float:
        value = loss(example)
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    return backward


def minimise(
    backward: Callable[[Example], float],
    parameters: Iterable[torch.nn.Parameter],
    examples: Iterator[Example],
    iterations: int,
    learning_rate: float,
    on_step: Callable[[float], object] | None = None,
) -> list[float]:
    """Adam with a learning rate that falls to 0 as a cosine; the loss of every iteration.

    `backward` adds the gradients of an example to those of the parameters, and tells its loss.
    Ctrl-C after the first iteration ends it early, and what was learned until then remains.
    """
    optimiser = torch.optim.Adam(list(parameters), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    losses = []
    try:
        for example in islice(examples, iterations):
            optimiser.zero_grad(set_to_none=True)
            value = backward(example)
            torch.nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 1.0)
            optimiser.step()
            schedule.step()
            losses.append(value)
            check_loss(losses[-1], f"iteration {len(losses)}", ON_A_FIXED_RATE)
            if on_step is not None:
                on_step(losses[-1])
    except KeyboardInterrupt:
        if not losses:
            raise
    return losses
