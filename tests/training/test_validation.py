"""The validation loss: fixed draws, plain arithmetic."""

from __future__ import annotations

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tsimpute.denoiser.anchor import Anchor
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.context import NO_CONTEXT
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.lines import linear_between
from tsimpute.diffusion.schedule import make_schedule
from tsimpute.training import validation
from tsimpute.training.batches import Windows
from tsimpute.training.validation import Validator

CPU = torch.device("cpu")
GRID = make_schedule(n_steps=12).respaced([1, 4, 6, 9, 11])
ANCHOR = replace(Anchor.none(2), kind="linear", scale=torch.tensor([0.5, 2.0]))


class Guess(nn.Module):
    """Some function of all that a network is told."""

    def forward(self, x, condition, given_mask, step, is_real=None, context=NO_CONTEXT):
        assert not (given_mask & ~torch.isfinite(condition)).any()
        return torch.tanh(x) + 0.1 * condition * given_mask + 0.01 * step[:, None, None]


def _windows(n=6, length=8):
    values = np.random.default_rng(0).normal(size=(n, length, 2))
    values[np.random.default_rng(1).random(values.shape) < 0.2] = np.nan
    return Windows.from_arrays(values, np.ones((n, length), dtype=bool))


def _validator(seed=0, **more):
    return Validator(_windows(), "random", ANCHOR, CPU, seed, **more)


def test_equals_a_plain_loop():
    validator = _validator(repeats=3)
    total, cells = 0.0, 0
    for i in range(18):
        values, observed = (
            part[i : i + 1] for part in (validator.windows.values, validator.windows.observed_mask)
        )
        targets, noise = validator.targets[i : i + 1], validator.noise[i : i + 1]
        j = math.floor(float(validator.place[i]) * len(GRID))
        given_mask = observed & ~targets
        centre = linear_between(values, given_mask)
        level = float(GRID.alpha_bar[j])
        x = math.sqrt(level) * (values - centre) / ANCHOR.scale + math.sqrt(1 - level) * noise
        predicted = Guess()(x, centre, given_mask, torch.tensor([GRID.network_step[j]]))
        total += float(((noise - predicted)[targets] ** 2).sum())
        cells += int(targets.sum())
    assert validator.loss(Guess(), GRID) == pytest.approx(total / cells, rel=1e-5)


def test_a_quick_loss_sees_each_window_once():
    """It is that of the first of each window's draws."""
    whole = _validator(repeats=3)
    first = torch.arange(0, len(whole.windows), 3)
    one = _validator(repeats=1)
    one.windows, one.targets = whole.windows.take(first.numpy()), whole.targets[first]
    one.noise, one.place = whole.noise[first], whole.place[first]
    assert whole.loss(Guess(), GRID, quick=True) == one.loss(Guess(), GRID)
    assert whole.loss(Guess(), GRID, quick=True) != whole.loss(Guess(), GRID)


def test_does_not_depend_on_the_number_of_threads(monkeypatch, threads):
    """The network's windows are evaluated side by side, in parts of bounded memory."""
    monkeypatch.setattr(validation, "PART_BYTES", 4 * 12 * 8 * 2 * 16 * 5)  # five windows
    network = CSDIDenoiser(DenoiserConfig(n_features=2, channels=16, layers=2))
    validator, losses = _validator(), []
    for n in (1, 3):
        threads(n)
        losses.append(validator.loss(network, GRID))
    assert losses[0] == losses[1] != 0


def test_other_networks_see_one_batch_after_the_other(threads):
    """A narrowed one swaps its weights in at every call, so that two at once would mix them up."""
    threads(3)
    calls = []

    class Watched(Guess):
        def forward(self, *arguments, **more):
            calls.append(threading.get_ident())
            return super().forward(*arguments, **more)

    _validator(batch_size=5).loss(Watched(), GRID)
    assert calls == [threading.get_ident()] * 5


def test_is_the_same_at_every_call_and_in_every_run():
    first, second, other = _validator(), _validator(), _validator(seed=1)
    loss = first.loss(Guess(), GRID)
    torch.rand(5)  # the global generator has no say
    assert first.loss(Guess(), GRID) == loss
    assert second.loss(Guess(), GRID) == loss
    assert other.loss(Guess(), GRID) != loss


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_does_not_depend_on_the_batches(batch_size):
    expected = _validator().loss(Guess(), GRID)
    loss = _validator(batch_size=batch_size).loss(Guess(), GRID)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_steps_are_spread_evenly_over_any_grid():
    validator = _validator(repeats=5)  # 30 rows
    for n_levels in (1, 2, 5, 10, 30):
        place = (validator.place * n_levels).long().clamp(max=n_levels - 1)
        counts = torch.bincount(place, minlength=n_levels)
        assert counts.tolist() == [30 // n_levels] * n_levels


@pytest.mark.parametrize(("n", "repeats"), [(1, 4), (50, 4), (60, 3), (99, 2), (500, 2)])
def test_many_windows_are_seen_at_fewer_steps_each(n, repeats):
    assert Validator(_windows(n), "random", ANCHOR, CPU, seed=0).repeats == repeats


def test_targets_are_observed():
    validator = _validator()
    assert not (validator.targets & ~validator.windows.observed_mask).any()
    assert len(validator.windows) == 4 * 6


def test_leaves_the_network_as_it_was():
    """Loss is taken without dropout and without gradients, whatever the mode before."""
    modes = []

    class Watched(Guess):
        def forward(self, *arguments, **more):
            modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(*arguments, **more)

    for training in (True, False):
        network = Watched().train(training)
        _validator().loss(network, GRID)
        assert network.training is training
    assert set(modes) == {(False, False)}


def test_without_target_cells_there_is_no_loss():
    values = np.full((2, 8, 2), np.nan)
    windows = Windows.from_arrays(values, np.ones((2, 8), dtype=bool))
    assert math.isnan(Validator(windows, "random", ANCHOR, CPU, 0).loss(Guess(), GRID))


def test_a_quick_loss_without_a_target_cell_is_a_whole_one():
    validator = _validator()
    validator.targets[:: validator.repeats] = False
    whole = validator.loss(Guess(), GRID)
    assert math.isfinite(whole) and validator.loss(Guess(), GRID, quick=True) == whole


def test_every_level_is_measured_on_the_same_windows(make_trainer):
    trainer = make_trainer()
    grid = trainer.search.schedule.full()
    sample = trainer.validator.level_errors(trainer.network, grid)
    n = len(sample.steps) // len(grid)
    assert sample.steps.tolist() == np.repeat(grid.index, n).tolist()
    cells = sample.n_cells.reshape(len(grid), n)
    assert (cells == cells[0]).all() and (sample.error >= 0).all()
    again = trainer.validator.level_errors(trainer.network, grid)
    np.testing.assert_array_equal(sample.error, again.error)


def test_the_search_measures_levels_a_few_times_and_goes_on_training(make_trainer, monkeypatch):
    trainer = make_trainer()
    modes = []
    measured = trainer.validator.level_errors

    def count(network, grid):
        sample = measured(network, grid)
        modes.append(network.training)
        return sample

    monkeypatch.setattr(trainer.validator, "level_errors", count)
    trainer.fit(on_step=lambda run: modes.append("train" if run.network.training else "eval"))
    assert modes.count(False) == 2  # measured without dropout
    assert "eval" not in modes
