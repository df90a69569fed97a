"""From holes to samples: windows, per-series noise, the sampler, and stitching."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsimpute.model import FittedModel
from tsimpute.noise import BlockNoise
from tsimpute.panel.windows import cut, stitch, window_starts
from tsimpute.samplers import Sampler, ancestral
from tsimpute.samplers.protocol import (
    Callback,
    Denoise,
    ReverseVariance,
    StepRecord,
    clamped,
)
from tsimpute.samplers.variance import fixed
from tsimpute.training.batches import Windows

FloatArray = NDArray[np.float64]
STATE_BYTES = 128 * 2**20  # of the samples that are walked together
# Of one evaluation of the network: what a processor is busy with, or what an accelerator fills.
ACTIVATION_BYTES = {"cpu": 96 * 2**20, "cuda": 4 * 2**30, "mps": 2**30}


@dataclass(frozen=True)
class Stretch:
    """Samples of some consecutive rows of one series, in scaled units.

    Attributes
    ----------
    series : int
        Place of the series in the input.
    start, stop : int
        Rows.
    samples : ndarray of float32, shape (S, stop - start, K)
        Observed cells hold whatever the network made of them: the caller keeps the originals.
    """

    series: int
    start: int
    stop: int
    samples: NDArray[np.float32]


@dataclass(frozen=True)
class SamplingPlan:
    """How samples are drawn.

    Attributes
    ----------
    n_samples : int
    seed : int
        Same seed, same samples, however the windows are batched.
    overlap : float
        Share of a window that it has in common with the next, in [0, 1).
    device : torch.device
    sampler, variance
        See :mod:`tsimpute.samplers`.
    callback : callable, optional
        Called after every diffusion step; may raise to stop.
    """

    n_samples: int
    seed: int
    overlap: float
    device: torch.device
    sampler: Sampler = ancestral
    variance: ReverseVariance = fixed
    callback: Callback | None = None


Place = tuple[int, int]


def hole_windows(model: FittedModel, series: Sequence[FloatArray], overlap: float) -> list[Place]:
    """(series, first row) of every window that holds a missing cell, in order."""
    stride = window_stride(model.window_steps, overlap)
    places = []
    for i, values in enumerate(series):
        for start in window_starts(len(values), model.window_steps, stride):
            if np.isnan(values[start : start + model.window_steps]).any():
                places.append((i, int(start)))
    return places


def window_stride(window_steps: int, overlap: float) -> int:
    """Rows from one window to the next."""
    return max(1, window_steps - int(overlap * window_steps))


def sample_holes(
    model: FittedModel,
    series: Sequence[FloatArray],
    plan: SamplingPlan,
    on_steps: Callable[[int], object] | None = None,
) -> Iterator[Stretch]:
    """Sample every stretch of rows that holds a missing cell.

    Parameters
    ----------
    series : sequence of ndarray (n_times_i, K)
        Scaled values, NaN where missing.
    on_steps : callable, optional
        Told, after each diffusion step, how many windows took it.

    Yields
    ------
    Stretch
        In order of series and rows, as soon as no later window touches it, so that memory does
        not grow with the number of windows.
    """
    places = hole_windows(model, series, plan.overlap)
    drawn = _window_samples(model, series, places, plan, on_steps)
    by_series = {i: [start for _, start in group] for i, group in groupby(places, lambda p: p[0])}
    for i, starts in by_series.items():
        windows = (next(drawn) for _ in starts)
        n_times = len(series[i])
        for start, stop, samples in stitch(windows, starts, model.window_steps, n_times):
            yield Stretch(i, start, stop, samples)


def _window_samples(
    model: FittedModel,
    series: Sequence[FloatArray],
    places: list[Place],
    plan: SamplingPlan,
    on_steps: Callable[[int], object] | None,
) -> Iterator[NDArray[np.float32]]:
    cell_bytes = 4 * model.window_steps * model.n_features
    together = max(1, STATE_BYTES // (8 * cell_bytes * plan.n_samples))
    for first in range(0, len(places), together):
        chunk = places[first : first + together]
        yield from _sample_chunk(model, series, chunk, plan, on_steps)


@torch.inference_mode()
def _sample_chunk(
    model: FittedModel,
    series: Sequence[FloatArray],
    places: list[Place],
    plan: SamplingPlan,
    on_steps: Callable[[int], object] | None,
) -> NDArray[np.float32]:
    cuts = [cut(series[i], [start], model.window_steps) for i, start in places]
    values, is_real = (np.concatenate(parts) for parts in zip(*cuts, strict=True))
    windows = Windows.from_arrays(values, is_real).to(plan.device)
    noise = BlockNoise(
        plan.seed,
        places,
        shape=(plan.n_samples, model.window_steps, model.n_features),
        block=window_stride(model.window_steps, plan.overlap),
        device=plan.device,
    )
    anchor = model.anchor.to(plan.device)
    frame = anchor.frame(windows.values, windows.observed_mask, windows.padding)
    centre, unit = frame.centre[:, None], anchor.scale
    bounds = (bound.to(plan.device) for bound in model.clamp_range())
    low, high = ((bound - centre) / unit for bound in bounds)
    denoise = clamped(window_denoiser(model, windows, frame.shown, plan.n_samples), low, high)

    def after_step(record: StepRecord) -> None:
        if on_steps is not None:
            on_steps(len(places))
        if plan.callback is not None:
            plan.callback(record)

    x = plan.sampler(denoise, noise.draw(), model.grid, plan.variance, noise.draw, after_step)
    samples = centre + unit * x.clamp(low, high)
    return np.asarray(samples.cpu().numpy())


def window_denoiser(
    model: FittedModel, windows: Windows, condition: Tensor, n_samples: int
) -> Denoise:
    """Denoiser of states (N, S, L, K) for N windows, in evaluations of bounded memory.

    The side information is projected once, for all steps and samples.
    """
    network = model.network
    n, length, k = windows.values.shape
    side = network.project_side(torch.arange(length, device=windows.values.device))
    row_bytes = 4 * length * k * network.config.channels * 12
    batch = max(1, min(ACTIVATION_BYTES[windows.values.device.type] // row_bytes, n * n_samples))

    def denoise(x: Tensor, network_step: float, alpha_bar: float) -> Tensor:
        flat = x.reshape(n * n_samples, length, k)
        out = torch.empty_like(flat)
        for first in range(0, len(flat), batch):
            rows = torch.arange(first, min(first + batch, len(flat)), device=flat.device)
            window = rows // n_samples
            part = windows.take(window)
            step = torch.full((len(rows),), network_step, device=flat.device)
            out[rows] = network(
                flat[rows], condition[window], part.observed_mask, step, part.padding, side
            )
        return out.view(x.shape)

    return denoise
