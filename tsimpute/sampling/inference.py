"""From holes to samples: windows, per-series noise, the sampler, and stitching."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsimpute.denoiser.marginals import LEVELS
from tsimpute.denoiser.quantile_function import moments
from tsimpute.model import FittedModel
from tsimpute.panel.windows import stitch
from tsimpute.samplers.protocol import Callback, DrawNoise, StepRecord, clamped
from tsimpute.sampling.methods import DEFAULT_METHOD, Method
from tsimpute.sampling.noise import BlockNoise
from tsimpute.sampling.placing import Place, hole_windows, window_stride
from tsimpute.sampling.prepared import PreparedWindows, WindowDenoiser, marginal_marks, prepare

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
# Of the samples that are walked together: on a processor few, so that progress is told often.
STATE_BYTES = {"cpu": 16 * 2**20, "cuda": 128 * 2**20, "mps": 128 * 2**20}
HEAD_BYTES = 128 * 2**20  # of quantiles that are read together: enough windows for many cores


@dataclass(frozen=True)
class Stretch:
    """What was found for some consecutive rows of one series, in scaled units.

    Attributes
    ----------
    series : int
        Place of the series in the input.
    start, stop : int
        Rows.
    samples : ndarray of float, shape (S, stop - start, K)
        Samples; from `head_quantiles`, quantiles at the head's levels. Observed cells hold
        whatever the network made of them: the caller keeps the originals.
    deviations : ndarray of float32, shape (S, stop - start, K), or None
        With `SamplingPlan.mixture`, each trajectory ends in a Gaussian for every cell: `samples`
        are its means, and these its standard deviations.
    places : ndarray of int64, shape (3, n_cells), or None
        Where the arrays hold some cells only, (S, n_cells): series, row and feature of each.
    """

    series: int
    start: int
    stop: int
    samples: NDArray[np.floating]
    deviations: NDArray[np.float32] | None = None
    places: NDArray[np.int64] | None = None


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
    method : Method
        Sampler and variance.
    mixture : bool
        Return the Gaussians in which the trajectories end, instead of a draw from each.
    antithetic : bool
        The second half of the samples has the noise of the first with the opposite sign.
    corrected_start : bool
        Start from the marginals' mean and variance instead of pure noise; needs
        `model.marginals`.
    mode : str
        Which windows answer for a hole: see `panel.modes`.
    origin : (int, int), optional
        (series, row) that the first row of the first series stands for: what its noise
        belongs to.
    callback : callable, optional
        Called after every diffusion step; may raise to stop.
    """

    n_samples: int
    seed: int
    overlap: float
    device: torch.device
    method: Method = DEFAULT_METHOD
    mixture: bool = False
    antithetic: bool = False
    corrected_start: bool = False
    mode: str = "offline"
    origin: Place | None = None
    callback: Callback | None = None


def sample_holes(
    model: FittedModel,
    series: Sequence[FloatArray],
    plan: SamplingPlan,
    on_steps: Callable[[int], object] | None = None,
    wanted: Sequence[BoolArray] | None = None,
) -> Iterator[Stretch]:
    """Sample every stretch of rows that holds a missing cell.

    Parameters
    ----------
    series : sequence of ndarray (n_times_i, K)
        Scaled values, NaN where missing.
    on_steps : callable, optional
        Told, after each diffusion step, how many windows took it.
    wanted : sequence of ndarray of bool (n_times_i, K), optional
        Sample only windows that hold one of these missing cells.

    Yields
    ------
    Stretch
        In order of series and rows, as soon as no later window touches it, so that memory does
        not grow with the number of windows.
    """
    places = hole_windows(model, series, plan.overlap, wanted, plan.mode)

    def answers(chunk: list[Place]) -> NDArray[np.float32]:
        draw = block_noise(model, plan, chunk, plan.seed)
        return sample_windows(model, series, chunk, plan, draw, on_steps)

    yield from stitched(model, series, places, plan, answers)


def head_quantiles(
    model: FittedModel,
    series: Sequence[FloatArray],
    overlap: float,
    device: torch.device,
    wanted: Sequence[BoolArray] | None = None,
    mode: str = "offline",
) -> Iterator[Stretch]:
    """Quantiles at the marginal head's levels, one evaluation a window; see `sample_holes`."""
    assert model.marginals is not None
    places = hole_windows(model, series, overlap, wanted, mode)

    def answers(chunk: list[Place]) -> NDArray[np.float32]:
        prepared = prepare(model, series, chunk, device)
        marks = marginal_marks(model, prepared).movedim(-1, 1)  # (N, n_levels, L, K)
        return prepared.unscaled(marks)

    windows = _in_chunks(model, places, len(model.marginals.levels), HEAD_BYTES, answers)
    yield from _joined(model, series, places, windows, mode)


def stitched(
    model: FittedModel,
    series: Sequence[FloatArray],
    places: list[Place],
    plan: SamplingPlan,
    answers: Callable[[list[Place]], NDArray[np.float32]],
) -> Iterator[Stretch]:
    """Stretches from what `answers` gives for chunks of windows, as `sample_windows` does."""
    state_bytes = STATE_BYTES[plan.device.type]
    windows = _in_chunks(model, places, plan.n_samples, state_bytes, answers)
    for part in _joined(model, series, places, windows, plan.mode):
        if plan.mixture:
            samples, deviations = np.split(part.samples, 2)
            yield replace(part, samples=samples, deviations=deviations)
        else:
            yield part


def _in_chunks(
    model: FittedModel,
    places: list[Place],
    n_samples: int,
    most_bytes: int,
    answers: Callable[[list[Place]], NDArray[np.float32]],
) -> Iterator[NDArray[np.float32]]:
    """Answers window by window, asked for in chunks of about `most_bytes`."""
    cell_bytes = 4 * model.window_steps * model.n_features
    together = max(1, most_bytes // (8 * cell_bytes * n_samples))
    chunks = (places[i : i + together] for i in range(0, len(places), together))
    return chain.from_iterable(answers(chunk) for chunk in chunks)


def _joined(
    model: FittedModel,
    series: Sequence[FloatArray],
    places: list[Place],
    windows: Iterator[NDArray[np.float32]],
    mode: str,
) -> Iterator[Stretch]:
    """Overlapping answers of each series blended; of windows of the past only the last rows."""
    if mode == "online":
        for (i, start), samples in zip(places, windows, strict=True):
            row = start + model.window_steps - 1
            yield Stretch(i, row, row + 1, samples[:, -1:])
        return
    by_series = {i: [start for _, start in group] for i, group in groupby(places, lambda p: p[0])}
    for i, starts in by_series.items():
        own = islice(windows, len(starts))
        for start, stop, samples in stitch(own, starts, model.window_steps, len(series[i])):
            yield Stretch(i, start, stop, samples)


def block_noise(
    model: FittedModel, plan: SamplingPlan, places: Sequence[Place], seed: int
) -> DrawNoise:
    """Source of noise that belongs to the rows of the windows at places."""
    shape = (plan.n_samples, model.window_steps, model.n_features)
    block = window_stride(model.window_steps, plan.overlap) if plan.mode == "offline" else 1
    first_series, first_row = plan.origin or (0, 0)
    rows = [(i + first_series, start + first_row) for i, start in places]
    return BlockNoise(seed, rows, shape, block, plan.device, plan.antithetic).draw


@torch.no_grad()
def sample_windows(
    model: FittedModel,
    series: Sequence[FloatArray],
    places: Sequence[Place],
    plan: SamplingPlan,
    draw: DrawNoise,
    on_steps: Callable[[int], object] | None = None,
) -> NDArray[np.float32]:
    """Scaled samples (N, S, L, K) of the windows at places; with a mixture 2 S, means first.

    Parameters
    ----------
    series : sequence of ndarray (n_times_i, K)
        Scaled values, NaN where missing.
    places : sequence of (series, first row)
    draw : callable
        Standard normal numbers (N, S, L, K); `plan.seed` is not read.
    on_steps : callable, optional
        Told, after each diffusion step, how many windows took it.
    """
    prepared = prepare(model, series, places, plan.device)
    start = draw()
    if plan.corrected_start:
        marks = marginal_marks(model, prepared)
        start = start_at_marginals(start, marks, float(model.grid.alpha_bar[-1]))
    method = plan.method
    denoise = WindowDenoiser(model, prepared.windows, prepared.shown, plan.n_samples, method.head)
    ends: list[StepRecord] = []

    def after_step(record: StepRecord) -> None:
        ends[:] = [record]
        denoise.after_step(record)
        if on_steps is not None:
            on_steps(len(places))
        if plan.callback is not None:
            plan.callback(record)

    guarded = clamped(denoise, prepared.low, prepared.high)
    away = method.sampler(guarded, start, model.grid, method.variance, draw, after_step)
    if plan.mixture:
        return _gaussians(ends[0], prepared)
    return prepared.unscaled(away)


def _gaussians(last: StepRecord, prepared: PreparedWindows) -> NDArray[np.float32]:
    """Means, then standard deviations, of where each trajectory ends."""
    spread = torch.as_tensor(last.spread, dtype=last.x0.dtype, device=last.x0.device)
    deviations = (prepared.unit * spread.sqrt()).expand(last.x0.shape).cpu().numpy()
    return np.concatenate([prepared.unscaled(last.x0), deviations], axis=1)


def start_at_marginals(noise: Tensor, marks: Tensor, alpha_bar: float) -> Tensor:
    """Start at N(sqrt(A) mean, 1 - A + A variance): what the chain's noisiest level holds."""
    mean, variance = (part[:, None] for part in moments(marks, LEVELS))
    spread = 1 - alpha_bar + alpha_bar * variance
    start: Tensor = alpha_bar**0.5 * mean + spread.sqrt() * noise
    return start
