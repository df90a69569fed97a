"""Noise schedules and the time grids that samplers walk.

A :class:`NoiseSchedule` is the full chain of T steps. A :class:`TimeGrid` is any shorter chain
of K noise levels cut from it. Everything is float64 numpy: precision is lost only where a
sampler hands numbers to the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsimpute.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class TimeGrid:
    """A chain of K noise levels, from the cleanest to the noisiest.

    Attributes
    ----------
    index : ndarray of int64, shape (K,)
        Original 0-based diffusion step of each level, strictly increasing.
    alpha_bar : ndarray of float64, shape (K,)
        Share of signal variance that is left at each level, strictly decreasing in (0, 1).
    network_step : ndarray of float64, shape (K,)
        What the network is told about each level, in units of the original step index.
    chain : NoiseSchedule, optional
        The full chain that the levels lie on; None where they lie on none (EDDPM's masked ones).
    """

    index: IntArray
    alpha_bar: FloatArray
    network_step: FloatArray
    chain: NoiseSchedule | None = None

    def __post_init__(self) -> None:
        levels = np.concatenate([[1.0], self.alpha_bar])
        if not len(self.index) == len(self.alpha_bar) == len(self.network_step) > 0:
            raise InputError(
                f"a TimeGrid needs as many indices as levels and at least one; got "
                f"{len(self.index)} and {len(self.alpha_bar)}"
            )
        if not (np.all(np.diff(levels) < 0) and levels[-1] > 0):
            raise InputError(f"alpha_bar must fall strictly within (0, 1); got {self.alpha_bar}")

    def __len__(self) -> int:
        return len(self.index)

    @property
    def alpha_bar_previous(self) -> FloatArray:
        """Signal share at the next cleaner level, 1 for the first; float64, shape (K,)."""
        return np.concatenate([[1.0], self.alpha_bar[:-1]])

    @property
    def alpha_step(self) -> FloatArray:
        """Signal share that survives the single step onto each level; float64, shape (K,)."""
        return self.alpha_bar / self.alpha_bar_previous

    @property
    def posterior_variance(self) -> FloatArray:
        """Variance of q(x_prev | x, x_0), beta-tilde of DDPM (Ho et al. 2020, Eq. 7)."""
        ratio: FloatArray = (1 - self.alpha_bar_previous) / (1 - self.alpha_bar)
        return (1 - self.alpha_step) * ratio

    def step_at(self, alpha_bar: float) -> float:
        """What the network is told at a level between those of the grid."""
        if self.chain is not None:
            return float(self.chain.equivalent_step(alpha_bar))
        return float(np.interp(-half_log_snr(alpha_bar), -self.log_snr, self.network_step))

    @property
    def log_snr(self) -> FloatArray:
        """Half the log signal-to-noise ratio, 0.5 ln(A / (1 - A)); float64, shape (K,)."""
        return half_log_snr(self.alpha_bar)


def half_log_snr(alpha_bar: ArrayLike) -> FloatArray:
    """0.5 ln(A / (1 - A)): the noise level on the scale that solvers integrate over."""
    a = np.asarray(alpha_bar, dtype=np.float64)
    return 0.5 * (np.log(a) - np.log1p(-a))


@dataclass(frozen=True)
class NoiseSchedule:
    """The full chain of T diffusion steps.

    Attributes
    ----------
    beta : ndarray of float64, shape (T,)
        Noise variance added by each step, in (0, 1).
    conditioning : {"index", "logsnr"}
        What the network is told: the original step index (as in the papers), or the place on
        the full chain whose signal-to-noise ratio equals the present one.
    """

    beta: FloatArray
    conditioning: str = "index"

    def __post_init__(self) -> None:
        if self.beta.ndim != 1 or not np.all((self.beta > 0) & (self.beta < 1)):
            raise InputError(f"beta must be a vector with values in (0, 1); got {self.beta}")
        if self.conditioning not in ("index", "logsnr"):
            raise InputError(
                f"conditioning={self.conditioning!r} is unknown; expected 'index' or 'logsnr'"
            )

    @property
    def n_steps(self) -> int:
        """T, the number of diffusion steps."""
        return len(self.beta)

    @property
    def alpha_bar(self) -> FloatArray:
        """Cumulative product of 1 - beta; float64, shape (T,)."""
        return np.asarray(np.cumprod(1 - self.beta), dtype=np.float64)

    def full(self) -> TimeGrid:
        """Every step of the chain."""
        return self.respaced(np.arange(self.n_steps))

    def masked(self, step_mask: ArrayLike) -> TimeGrid:
        """Chain in which a dropped step is the identity (EDDPM, Eq. 7): it adds no noise.

        The products run over the kept steps only, so the last level may hold much signal.
        """
        kept = np.asarray(step_mask, dtype=bool)
        if kept.shape != self.beta.shape or not kept.any():
            raise InputError(
                f"step_mask must have {self.n_steps} entries with at least one True; got shape "
                f"{kept.shape} with {int(kept.sum())} True"
            )
        index = np.flatnonzero(kept)
        return self._grid(index, np.asarray(np.cumprod(1 - self.beta[index])))

    def respaced(self, indices: Sequence[int] | IntArray) -> TimeGrid:
        """Chain that jumps over dropped steps but keeps their noise (DDIM, Song et al. 2021).

        The level at a kept step is that of the full chain, so any network trained on the full
        chain can walk it.
        """
        index = np.unique(np.asarray(indices, dtype=np.int64))
        if len(index) == 0 or index[0] < 0 or index[-1] >= self.n_steps:
            raise InputError(
                f"indices must name steps in 0..{self.n_steps - 1}, at least one; got "
                f"{list(np.asarray(indices))}"
            )
        return self._grid(index, self.alpha_bar[index])

    def _grid(self, index: IntArray, alpha_bar: FloatArray) -> TimeGrid:
        step = index.astype(np.float64)
        if self.conditioning == "logsnr":
            step = self.equivalent_step(alpha_bar)
        return self.grid(index, alpha_bar, step)

    def grid(self, index: IntArray, alpha_bar: FloatArray, network_step: FloatArray) -> TimeGrid:
        """Grid of given levels, for example from a file, tied to this chain where they are its."""
        ours = self.conditioning == "logsnr" or np.array_equal(alpha_bar, self.alpha_bar[index])
        return TimeGrid(index, alpha_bar, network_step, self if ours else None)

    def equivalent_step(self, alpha_bar: ArrayLike) -> FloatArray:
        """Place on the full chain, in steps, where the signal-to-noise ratio is that of A."""
        wanted = half_log_snr(alpha_bar)
        known = half_log_snr(self.alpha_bar)
        return np.interp(-wanted, -known, np.arange(self.n_steps, dtype=np.float64))


def quad_beta(n_steps: int, beta_start: float = 1e-4, beta_end: float = 0.5) -> FloatArray:
    """Betas whose square roots are evenly spaced (CSDI, Tashiro et al. 2021, Section 6)."""
    return np.linspace(np.sqrt(beta_start), np.sqrt(beta_end), n_steps) ** 2


def linear_beta(n_steps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> FloatArray:
    """Evenly spaced betas (DDPM, Ho et al. 2020)."""
    return np.linspace(beta_start, beta_end, n_steps)


BETA_RULES: dict[str, Callable[[int, float, float], FloatArray]] = {
    "quad": quad_beta,
    "linear": linear_beta,
}


def make_schedule(
    name: str = "quad",
    n_steps: int = 50,
    beta_start: float = 1e-4,
    beta_end: float = 0.5,
    conditioning: str = "index",
) -> NoiseSchedule:
    """Build a schedule by name ("quad" or "linear").

    Raises
    ------
    InputError
        If the name is unknown or a beta lies outside (0, 1).
    """
    if name not in BETA_RULES:
        raise InputError(f"schedule={name!r} is unknown; expected one of {sorted(BETA_RULES)}")
    if n_steps < 1:
        raise InputError(f"diffusion_steps={n_steps} is too few; expected at least 1")
    if not 0 < beta_start <= beta_end < 1:
        raise InputError(
            f"beta_start={beta_start} and beta_end={beta_end} must satisfy 0 < start <= end < 1"
        )
    return NoiseSchedule(BETA_RULES[name](n_steps, beta_start, beta_end), conditioning)


def spaced_indices(n_steps: int, kept_steps: int, top: int | None = None) -> IntArray:
    """Evenly placed step indices that end at `top`, the usual respacing without training.

    Parameters
    ----------
    n_steps : int
        T of the full chain.
    kept_steps : int
        How many indices to return.
    top : int, optional
        The noisiest kept index; default: the one whose share of the chain is 0.8, because the
        very last steps of a chain carry almost no signal and amplify the network's errors.
    """
    if not 1 <= kept_steps <= n_steps:
        raise InputError(f"kept_steps={kept_steps} cannot be used; expected 1 to {n_steps}")
    highest = round(0.8 * n_steps) if top is None else top
    highest = min(max(highest, kept_steps - 1), n_steps - 1)
    spacing = max(1.0, highest / kept_steps)
    places = highest - spacing * np.arange(kept_steps)[::-1]
    return np.round(places).astype(np.int64)
