"""Windows as the network sees them, and the network as samplers see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.heads import OutputHead
from tsimpute.denoiser.parallel import even_parts, side_by_side
from tsimpute.denoiser.slimmable import narrowed_head
from tsimpute.model import FittedModel
from tsimpute.panel.windows import cut
from tsimpute.samplers.protocol import Denoise, Prediction, StepRecord
from tsimpute.training.batches import Windows

FloatArray = NDArray[np.float64]
# Of one evaluation of the network: what keeps a processor's core busy, or an accelerator.
ACTIVATION_BYTES = {"cpu": 16 * 2**20, "cuda": 4 * 2**30, "mps": 2**30}


@dataclass(frozen=True)
class PreparedWindows:
    """Windows in the network's units: (value - centre) / unit, within [low, high]."""

    windows: Windows
    shown: Tensor
    centre: Tensor
    unit: Tensor
    low: Tensor
    high: Tensor

    def unscaled(self, away: Tensor) -> NDArray[np.float32]:
        """Clamped scaled values of states (N, S, L, K)."""
        values = self.centre + self.unit * away.clamp(self.low, self.high)
        return np.asarray(values.cpu().numpy())


def prepare(
    model: FittedModel,
    series: Sequence[FloatArray],
    places: Sequence[tuple[int, int]],
    device: torch.device,
) -> PreparedWindows:
    """Cut the windows at places (series, first row) of scaled series."""
    cuts = [cut(series[i], [start], model.window_steps) for i, start in places]
    values, is_real = (np.concatenate(parts) for parts in zip(*cuts, strict=True))
    windows = Windows.from_arrays(values, is_real, model.side_shape).to(device)
    anchor = model.anchor.to(device)
    at = windows.context.positions
    frame = anchor.frame(windows.values, windows.observed_mask, windows.padding, at)
    centre, unit = frame.centre[:, None], anchor.scale
    low, high = ((bound.to(device) - centre) / unit for bound in model.clamp_range())
    # What the network says of given cells means nothing; some samplers mix cells over time.
    known = ((windows.values - frame.centre) / unit)[:, None]
    free = (~windows.observed_mask & windows.is_real[..., None])[:, None]
    low, high = (torch.where(free, bound, known) for bound in (low, high))
    return PreparedWindows(windows, frame.shown, centre, unit, low, high)


@torch.no_grad()
def marginal_marks(model: FittedModel, prepared: PreparedWindows) -> Tensor:
    """Quantiles (N, L, K, n_levels) of what is diffused, in evaluations of bounded memory."""
    assert model.marginals is not None
    windows, head = prepared.windows, model.marginals

    def read(rows: slice) -> Tensor:
        part = windows.take(rows)
        marks: Tensor = head(prepared.shown[rows], part.observed_mask, part.padding, part.context)
        return marks

    batches = _batches(model.network, windows, len(windows))
    return torch.cat(side_by_side(read, batches, prepared.shown.device))


def _batches(network: CSDIDenoiser, windows: Windows, n: int) -> list[slice]:
    """Rows of n windows that fit into one evaluation each, as even as can be."""
    n_cells, device = windows.values[0].numel(), windows.values.device
    return even_parts(n, n_cells, network.config.channels, ACTIVATION_BYTES[device.type])


class WindowDenoiser:
    """Denoiser of states (N, S, L, K) for N windows, in evaluations of bounded memory.

    The network is as wide as the model has it at the kept step that is being taken, also where
    a sampler evaluates it at other levels in the course of that step. The side information is
    projected once for all steps and samples.

    Parameters
    ----------
    model : FittedModel
    windows : Windows
    condition : Tensor of float, shape (N, L, K)
    n_samples : int
        S.
    head : OutputHead, optional
        Second output.
    """

    def __init__(
        self,
        model: FittedModel,
        windows: Windows,
        condition: Tensor,
        n_samples: int,
        head: OutputHead | None = None,
    ) -> None:
        networks = model.step_networks
        one_each = {
            id(network): _one_network(network, windows, condition, n_samples, head)
            for network in networks
        }
        self._by_step = [one_each[id(network)] for network in networks]
        self._position = len(networks) - 1

    def __call__(self, x: Tensor, network_step: float, alpha_bar: float) -> Prediction:
        """What the network of the present step says of a state."""
        return self._by_step[self._position](x, network_step, alpha_bar)

    def after_step(self, record: StepRecord) -> None:
        """Go on to the next step; a sampler's callback."""
        self._position = max(0, record.position - 1)


def _one_network(
    network: CSDIDenoiser,
    windows: Windows,
    condition: Tensor,
    n_samples: int,
    head: OutputHead | None,
) -> Denoise:
    n, length, k = windows.values.shape
    positions = torch.arange(length, device=windows.values.device)
    sides = network.project_side(positions, windows.context)
    batches = _batches(network, windows, n * n_samples)
    read = None if head is None else narrowed_head(head, network.config.channels)

    def denoise(x: Tensor, network_step: float, alpha_bar: float) -> Prediction:
        flat = x.reshape(n * n_samples, length, k)

        def evaluate(rows: slice) -> tuple[Tensor, Tensor | None]:
            window = torch.arange(rows.start, rows.stop, device=flat.device) // n_samples
            part = windows.take(window)
            step = torch.full((len(window),), network_step, device=flat.device)
            side = [block.take(window) for block in sides]
            trunk = network.trunk(
                flat[rows], condition[window], part.observed_mask, step, part.padding, side
            )
            return network.noise(trunk), None if read is None else read(trunk)

        noise, seconds = zip(*side_by_side(evaluate, batches, x.device), strict=True)
        second = None if read is None else torch.cat(seconds).view(x.shape)
        return Prediction(torch.cat(noise).view(x.shape), second)

    return denoise
