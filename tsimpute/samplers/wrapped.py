"""Samplers around a sampler: one that counts, and one that keeps the noise of a longer chain."""

from __future__ import annotations

from torch import Tensor

from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.samplers.protocol import (
    Callback,
    Denoise,
    DrawNoise,
    Prediction,
    ReverseVariance,
    Sampler,
    StepRecord,
)
from tsimpute.samplers.variance import fixed


def counting(sampler: Sampler, calls: list[int]) -> Sampler:
    """The sampler, which appends to `calls` how often each chain called the denoiser.

    A Jacobian-vector product is one call, though it costs more.
    """

    def walk(
        denoise: Denoise,
        x: Tensor,
        grid: TimeGrid,
        variance: ReverseVariance = fixed,
        draw_noise: DrawNoise | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        calls.append(0)

        def told(state: Tensor, network_step: float, alpha_bar: float) -> Prediction:
            calls[-1] += 1
            return denoise(state, network_step, alpha_bar)

        return sampler(told, x, grid, variance, draw_noise, callback)

    return walk


def on_longer_noise(sampler: Sampler, position: int) -> Sampler:
    """The sampler on a grid that lacks one position of a longer one, with the noise of that one.

    The draw that would have belonged to the lacking step is passed over: a sampler that draws
    once a step sees, at every other step, the numbers that it sees on the longer grid.

    Parameters
    ----------
    sampler : Sampler
    position : int
        Place on the longer grid, 0 to the length of the shorter.
    """

    def walk(
        denoise: Denoise,
        x: Tensor,
        grid: TimeGrid,
        variance: ReverseVariance = fixed,
        draw_noise: DrawNoise | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        def pass_over() -> None:
            if draw_noise is not None:
                draw_noise()

        def after_step(record: StepRecord) -> None:
            if record.position == position > 0:  # of the level next above the lacking one
                pass_over()
            if callback is not None:
                callback(record)

        if position == len(grid):
            pass_over()
        return sampler(denoise, x, grid, variance, draw_noise, after_step)

    return walk
