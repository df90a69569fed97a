"""Samplers around a sampler: one that counts, and one that keeps the noise of a longer chain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.autograd import forward_ad

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

# What a Jacobian-vector product costs, in plain evaluations: three to four.
PRODUCT_EVALUATIONS = 3


def evaluations(tensor: Tensor) -> int:
    """What a call with this state, or an output of one, counts: 1, or 3 if it has a derivative."""
    tangent = forward_ad.unpack_dual(tensor).tangent  # type: ignore[no-untyped-call]
    return 1 if tangent is None else PRODUCT_EVALUATIONS


def counting(sampler: Sampler, calls: list[int]) -> Sampler:
    """The sampler, which appends to `calls` how many evaluations each chain cost.

    That is the calls of the denoiser, of which a Jacobian-vector product ("genie") counts as 3.
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
            calls[-1] += evaluations(state)
            return denoise(state, network_step, alpha_bar)

        return sampler(told, x, grid, variance, draw_noise, callback)

    return walk


def on_longer_noise(sampler: Sampler, positions: Sequence[int], length: int) -> Sampler:
    """The sampler on some positions of a longer grid, with the noise of that one.

    The draws that would have belonged to the lacking steps are passed over: a sampler that draws
    once a step sees, at every step that is left, the numbers that it sees on the longer grid.

    Parameters
    ----------
    sampler : Sampler
    positions : sequence of int
        Places of the shorter grid's levels on the longer one, ascending.
    length : int
        Levels of the longer grid.
    """
    lacking = np.diff([*positions, length]) - 1  # steps above each one that are not there

    def walk(
        denoise: Denoise,
        x: Tensor,
        grid: TimeGrid,
        variance: ReverseVariance = fixed,
        draw_noise: DrawNoise | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        def pass_over(n: int) -> None:
            for _ in range(n):
                if draw_noise is not None:
                    draw_noise()

        def after_step(record: StepRecord) -> None:
            if record.position > 0:
                pass_over(int(lacking[record.position - 1]))
            if callback is not None:
                callback(record)

        pass_over(int(lacking[-1]))
        return sampler(denoise, x, grid, variance, draw_noise, after_step)

    return walk
