"""Other steps for a fitted model, chosen among those that it has, without training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from tsimpute.arguments import is_count
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.diffusion.schedule import TimeGrid
from tsimpute.diffusion.step_selection import (
    align_steps,
    analytic_dpm_steps,
    least_elbo_steps,
    quadratic_steps,
    uniform_steps,
)
from tsimpute.errors import InputError
from tsimpute.evaluation.calibrations import NO_CALIBRATIONS
from tsimpute.fitting.fit import Settings, data_plan, training_strategy
from tsimpute.fitting.training_data import TrainingData
from tsimpute.model import FittedModel, resolve_device
from tsimpute.sampling.methods import known_name
from tsimpute.training.examples import Example, ExampleSource, noised
from tsimpute.training.setup import all_rows, pattern_windows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MEASURED_WINDOWS = 16  # behind one table of errors by level, the same ones at every level
TOP_SHARE = 0.8  # of a full chain: its last steps carry no signal and amplify errors
BY_RULE = {"uniform": uniform_steps, "quadratic": quadratic_steps}
BY_ERRORS = ("elbo", "analytic", "align")
STEP_CHOICES = (*BY_RULE, *BY_ERRORS)


@dataclass(frozen=True)
class LevelTable:
    """How a network does at each of K levels, over target cells of the same windows and noise.

    Attributes
    ----------
    clean_error : ndarray of float64, shape (K,)
        Mean squared error of the clean values that the predicted noise implies.
    noise_power : ndarray of float64, shape (K,)
        Mean squared predicted noise.
    second_moment : float
        Mean square of the clean values.
    """

    clean_error: FloatArray
    noise_power: FloatArray
    second_moment: float


def respaced(
    imputer: Settings,
    model: FittedModel,
    method: str,
    n_steps: int,
    data: TrainingData | None = None,
) -> FittedModel:
    """The model with fewer of its steps; network, heads and measured numbers stay.

    Each step keeps the noise level that it has, so that the chain jumps over the steps that are
    left out (DDIM, Song et al. 2021).

    Parameters
    ----------
    imputer : Settings
        Its target strategy and device serve the measurement.
    model : FittedModel
    method : {"uniform", "quadratic", "elbo", "analytic", "align"}
        See :mod:`tsimpute.diffusion.step_selection`. "elbo" chooses all steps freely. The others
        end at the model's noisiest step; on a full chain at 0.8 T, or as near as `n_steps` allow.
        "analytic" also begins at its cleanest, as in the paper, "align" where "quadratic" does.
    n_steps : int
        1 to the number of steps that the model has.
    data : TrainingData, optional
        On which "elbo", "analytic" and "align" measure the network at each step, with some
        observed cells hidden; best not those that it was trained on. 16 windows are read. Their
        seed is that of windows, hidden cells and noise.

    Returns
    -------
    FittedModel

    Raises
    ------
    InputError
        If the method is unknown, there are not so many steps, or data are needed and missing.
    """
    known_name("method", method, STEP_CHOICES)
    _check_count(n_steps, len(model.grid))
    if method in BY_RULE:
        chosen = BY_RULE[method](len(model.grid), n_steps, _top(model, n_steps))
        return with_steps(model, chosen)
    if data is None:
        raise InputError(
            f"method={method!r} chooses steps by the network's errors, which are measured on data; "
            f"pass X, or choose one of {list(BY_RULE)}"
        )
    table = measure_levels(model, _example(imputer, model, data), data.seed)
    return with_steps(model, _by_errors(model, method, n_steps, table))


def with_steps(model: FittedModel, positions: IntArray) -> FittedModel:
    """The model with the levels of its grid, and their widths, at ascending positions.

    Its calibration goes: it was that of the other steps.
    """
    old = model.grid
    levels = old.index[positions], old.alpha_bar[positions], old.network_step[positions]
    widths = None if model.widths is None else model.widths.take(positions)
    return replace(
        model, grid=model.schedule.grid(*levels), widths=widths, calibrations=NO_CALIBRATIONS
    )


@torch.no_grad()
def measure_levels(model: FittedModel, example: Example, seed: int) -> LevelTable:
    """Errors at every level of the model's grid, one evaluation a window and level.

    Raises
    ------
    InputError
        If the example has no target cell.
    """
    if not example.target_mask.any():
        raise InputError(
            "X: got windows without an observed cell that could be hidden, expected at least one; "
            "pass more data"
        )
    model.network.to(example.away.device)
    networks, grid = model.step_networks, model.grid
    found = np.array([_errors_at(networks[j], grid, j, example, seed) for j in range(len(grid))])
    clean_error = found[:, 0] * (1 - grid.alpha_bar) / grid.alpha_bar
    moment = float(example.away[example.target_mask].square().mean())
    return LevelTable(clean_error, found[:, 1], moment)


def _errors_at(
    network: CSDIDenoiser, grid: TimeGrid, position: int, example: Example, seed: int
) -> tuple[float, float]:
    """Mean squared error, and mean square, of the predicted noise at one level."""
    here = [position]
    level = TimeGrid(grid.index[here], grid.alpha_bar[here], grid.network_step[here])
    state = noised(example, level, torch.Generator().manual_seed(seed))
    known = (example.shown, example.given_mask)
    predicted = network(state.x, *known, state.step, example.is_real, context=example.context)
    target = example.target_mask
    error = (predicted - state.noise)[target].square().mean()
    return float(error), float(predicted[target].square().mean())


def _by_errors(model: FittedModel, method: str, n_steps: int, table: LevelTable) -> IntArray:
    levels, top = model.grid.alpha_bar, _top(model, n_steps)
    if method == "elbo":
        return least_elbo_steps(levels, table.clean_error, n_steps, table.second_moment)
    if method == "analytic":
        ends = (top if n_steps == 1 else 0, top)
        return analytic_dpm_steps(levels, table.noise_power, n_steps, ends)
    start = quadratic_steps(len(levels), n_steps, top)
    return align_steps(levels, table.clean_error, n_steps, start)


def _top(model: FittedModel, n_steps: int) -> int:
    """Position of the noisiest step: a pruned model's own, but not the last of a full chain."""
    n = len(model.grid)
    if n < model.schedule.n_steps:
        return n - 1
    return min(max(round(TOP_SHARE * n), n_steps - 1), n - 1)


def _example(imputer: Settings, model: FittedModel, data: TrainingData) -> Example:
    plan = replace(data_plan(imputer, model.side), window_steps=model.window_steps)
    windows = all_rows(model.scaled(data.panel), plan)
    patterns = pattern_windows(data.pattern_values, plan, windows)
    device = resolve_device(imputer.device)
    how = (training_strategy(imputer), model.anchor, MEASURED_WINDOWS, device, data.seed)
    return next(ExampleSource(windows, *how, patterns).checked().draw())


def _check_count(n_steps: int, available: int) -> None:
    if not is_count(n_steps) or n_steps > available:
        raise InputError(
            f"n_steps={n_steps!r} cannot be used; expected 1 to {available}, the steps that the "
            f"model has"
        )
