"""Coefficients of a GGDM sampler, fitted by the quality of its own samples (Watson et al. 2021a).

The network is frozen. A few samples of hidden cells are drawn through the whole sampler, scored
against the truth by a proper score, and the score's gradient is taken through all steps. The
paper's score is the kernel distance of two sets of images; imputations have a truth for each
window, and the energy score is the kernel score of a forecast and its truth.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.step_widths import StepWidths, step_networks
from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.errors import InputError
from tsimpute.samplers.ggdm import Coefficients, Weights, ddim_coefficients, walk
from tsimpute.samplers.protocol import Denoise, Prediction
from tsimpute.training.examples import Example, ExampleSource, by_backward, minimise

SCORES = ("energy", "crps")
# Of the noise at the level that a step leaves, to begin with. At 0 the score has no slope in a
# deviation; and where the last step's is too small for long, earlier ones learn too much.
LEAST_DEVIATION = 0.5


def energy_score(samples: Tensor, truth: Tensor) -> Tensor:
    """Unbiased energy score of the law behind samples (Gneiting and Raftery 2007).

    E|X - y| - E|X - X'| / 2 with the second mean over pairs of different samples, so that its
    expectation does not depend on how many there are. With D = 1 it is the CRPS.

    Parameters
    ----------
    samples : Tensor of float, shape (S, ..., D)
        At least two samples.
    truth : Tensor of float, shape (..., D)

    Returns
    -------
    Tensor, shape (...)
    """
    n_samples = len(samples)
    first, second = torch.triu_indices(n_samples, n_samples, 1, device=samples.device)
    error = torch.linalg.vector_norm(samples - truth, dim=-1).mean(0)
    distance = torch.linalg.vector_norm(samples[first] - samples[second], dim=-1).mean(0)
    score: Tensor = error - distance / 2
    return score


def fit_ggdm(
    network: CSDIDenoiser,
    grid: TimeGrid,
    source: ExampleSource,
    iterations: int,
    *,
    n_samples: int = 4,
    n_windows: int = 8,
    score: str = "energy",
    start: Coefficients | None = None,
    learning_rate: float = 0.01,
    on_step: Callable[[float], object] | None = None,
    widths: StepWidths | None = None,
) -> Coefficients:
    """Fit the coefficients of a GGDM sampler; the network stays as it is.

    An evaluation of the network is computed again when its gradient is needed, so that memory is
    that of one evaluation with gradients, however many steps there are. The last step ends at
    the clean values that the network sees; only its noise is learned.

    Parameters
    ----------
    network : CSDIDenoiser
        In eval mode.
    grid : TimeGrid
        K levels.
    source : ExampleSource
    iterations : int
        Each costs 2K - 1 evaluations of n_samples * n_windows windows, and K - 1 gradients.
    n_samples : int, default=4
        Samples of each window, at least 2.
    n_windows : int, default=8
        Windows of an iteration, at most the source's batch size.
    score : {"energy", "crps"}
        "energy": a window's hidden cells are scored as one vector, which also rewards the right
        dependence between cells. "crps": each cell alone.
    start : Coefficients, optional
        For these levels; default: those of ancestral sampling. A deviation begins at no less
        than half of that of the noise at the level that its step leaves.
    learning_rate : float, default=0.01
        In units of the noise at the level that a step goes to, for weights; of a factor, for
        deviations.
    on_step : callable, optional
        Told the score after each iteration.
    widths : StepWidths, optional
        How wide the network is at each level; default: whole.

    Returns
    -------
    Coefficients

    Raises
    ------
    InputError
        If `n_samples` is below 2 or `score` is unknown.
    """
    if n_samples < 2:
        raise InputError(f"got n_samples={n_samples}, expected at least 2 to score a spread")
    if score not in SCORES:
        raise InputError(f"score={score!r} is unknown; expected one of {SCORES}")
    frozen = copy.deepcopy(network).requires_grad_(False).to(source.device)
    networks = step_networks(frozen, len(grid), widths)
    by_step = dict(zip(grid.network_step.tolist(), networks, strict=True))
    learned = _Learned(ddim_coefficients(grid) if start is None else start).to(source.device)
    generator = torch.Generator().manual_seed(source.seed + 1)

    def loss(example: Example) -> Tensor:
        shape = (n_samples, *example.away.shape)

        def draw() -> Tensor:
            return torch.randn(shape, generator=generator).to(example.away)

        denoise = _denoiser(by_step, example, n_samples)
        return _mean_score(score, walk(denoise, draw(), grid, learned(), draw), example)

    few = replace(source, batch_size=min(n_windows, source.batch_size))
    minimise(
        by_backward(loss), learned.parameters(), few.draw(), iterations, learning_rate, on_step
    )
    return learned.coefficients()


class _Learned(nn.Module):
    """Coefficients as a start and learned changes from it.

    A change of a weight is measured in the noise at the level that the step goes to: an equal
    change then disturbs every level equally. There is no noise after the last step, so that its
    weights stay what they are.
    """

    room: Tensor
    state_start: Tensor
    clean_start: Tensor

    def __init__(self, start: Coefficients) -> None:
        super().__init__()
        self.start = start
        cleaner = np.append(1.0, start.alpha_bar[:-1])
        least = LEAST_DEVIATION * np.sqrt(1 - start.alpha_bar)
        self.register_buffer("room", _float32(np.sqrt(1 - cleaner)))
        self.register_buffer("state_start", _float32(start.state_weight))
        self.register_buffer("clean_start", _float32(start.clean_weight))
        self.state = nn.Parameter(torch.zeros(start.state_weight.shape))
        self.clean = nn.Parameter(torch.zeros(len(cleaner)))
        self.log_deviation = nn.Parameter(_float32(np.log(np.maximum(start.deviation, least))))

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """State weights (K, K), clean weights (K,) and deviations (K,)."""
        state = self.state_start + self.room[:, None] * self.state.triu()
        return state, self.clean_start + self.room * self.clean, self.log_deviation.exp()

    def forward(self) -> Weights:
        state, clean, deviation = self.tensors()
        return Weights([row.unbind() for row in state], clean.unbind(), deviation.unbind())

    def coefficients(self) -> Coefficients:
        found = (tensor.detach().cpu().double().numpy() for tensor in self.tensors())
        return Coefficients(self.start.alpha_bar, *found)


def _float32(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _denoiser(networks: Mapping[float, nn.Module], example: Example, n_samples: int) -> Denoise:
    """Denoiser of states (S, N, L, K) that keeps nothing for its gradient but the state."""

    def repeated(windows: Tensor) -> Tensor:
        return windows.repeat(n_samples, *(1 for _ in windows.shape[1:]))

    shown, given_mask = repeated(example.shown), repeated(example.given_mask)
    is_real = None if example.is_real is None else repeated(example.is_real)
    context = example.context.each(repeated)

    def predict(x: Tensor, network_step: float) -> Tensor:
        step = torch.full((len(shown),), network_step, device=x.device)
        network = networks[network_step]
        noise: Tensor = network(x.flatten(0, 1), shown, given_mask, step, is_real, context=context)
        return noise.view(x.shape)

    def denoise(x: Tensor, network_step: float, alpha_bar: float) -> Prediction:
        return Prediction(checkpoint(predict, x, network_step, use_reentrant=False))

    return denoise


def _mean_score(score: str, samples: Tensor, example: Example) -> Tensor:
    """Mean over hidden cells, or over windows, each by the root of its number of hidden cells."""
    hidden = example.target_mask
    if score == "crps":
        each = energy_score(samples[:, hidden][..., None], example.away[hidden][..., None])
        return each.sum() / max(1, each.numel())
    n_cells = hidden.sum((1, 2))
    drawn, truth = samples.where(hidden, 0.0), example.away.where(hidden, 0.0)
    each = energy_score(drawn.flatten(2), truth.flatten(1)) / n_cells.clamp(min=1).sqrt()
    return each.sum() / (n_cells > 0).sum().clamp(min=1)
