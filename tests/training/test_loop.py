"""The training loop: phases, grids, best weights, interruption."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from tsimpute.denoiser.lines import linear_between
from tsimpute.diffusion.budget import kept_steps_at
from tsimpute.errors import DivergenceError
from tsimpute.training import gradients
from tsimpute.training.ema import copy_weights
from tsimpute.training.loop import Trainer
from tsimpute.training.search import StepSearch

T = 12
both = pytest.mark.parametrize("rule", ["paper", "guarded"])


def _losses(trainer, monkeypatch, losses):
    """Let validation report these losses, one an epoch."""
    stream = iter(losses)
    monkeypatch.setattr(trainer.validator, "loss", lambda network, grid, quick: next(stream))


def _weights_are(trainer, expected):
    return all(torch.equal(p, expected[name]) for name, p in trainer.network.named_parameters())


# ------------------------------------------------------------------------------------------- runs


def test_the_loss_falls(make_trainer):
    """Straight lines: what is diffused is 0, so that the noise can be told from what is seen."""
    slopes = np.random.default_rng(0).normal(size=(20, 2))
    lines = [np.linspace(-1, 1, 47)[:, None] * slope for slope in slopes]
    trainer = make_trainer(
        series=lines, batch_size=20, epochs=10, learning_rate=1e-2, ema_decay=0.9
    )
    trainer.fixed_grid = trainer.search.schedule.respaced([5, 8, 11])
    trainer.fit()
    validation = [record.validation_loss for record in trainer.records]
    assert trainer.best[0] == min(validation) < 0.3 * validation[0]
    assert trainer.records[-1].train_loss < 0.3 * trainer.records[0].train_loss


def test_a_run_gets_to_its_end_whatever_the_offsets(make_trainer):
    """16 rows hold two windows of 8 at offset 0 and one at every other."""
    series = [np.sin(np.arange(16.0)[:, None] / 3 + [i, 2 * i]) for i in range(4)]
    trainer = make_trainer(series=series, epochs=10)
    trainer.fit()
    assert trainer.records[-1].phase == "fixed"
    assert trainer.records[-1].learning_rate == pytest.approx(1e-2 * trainer.config.learning_rate)
    assert len(trainer.records) == 10
    assert trainer.progress == 1.0


def test_progress_counts_epochs_and_the_windows_of_the_present_one(make_trainer):
    """15 windows in batches of 4; a batch is told of the windows before it."""
    trainer = make_trainer(epochs=2)
    seen = []
    trainer.fit(on_step=lambda running: seen.append(running.progress))
    shares = [first / 15 for first in (0, 4, 8, 12)]
    assert seen == pytest.approx([(epoch + share) / 2 for epoch in range(2) for share in shares])
    assert trainer.progress == 1.0


@both
def test_a_run_has_three_phases_and_ends_on_a_fixed_grid(make_trainer, rule):
    trainer = make_trainer(epochs=10, mask_rule=rule)
    trainer.fit()
    phases = [record.phase for record in trainer.records]
    assert set(phases) == {"all steps", "search", "fixed"}
    order = ["all steps", "search", "fixed"]
    assert [order.index(phase) for phase in phases] == sorted(map(order.index, phases))
    assert len(trainer.fixed_grid) == 3
    assert not trainer.network.training
    assert len(trainer.keep_prob_history) == len(trainer.records) == 10
    assert [record.epoch for record in trainer.records] == list(range(10))
    assert trainer.finished and trainer.progress == 1


@both
def test_the_grid_at_the_end_has_the_levels_of_its_rule(make_trainer, rule):
    trainer = make_trainer(mask_rule=rule)
    trainer.fit()
    schedule, grid = trainer.search.schedule, trainer.fixed_grid
    masked = np.cumprod(1 - schedule.beta[grid.index])
    respaced = schedule.alpha_bar[grid.index]
    np.testing.assert_allclose(grid.alpha_bar, masked if rule == "paper" else respaced, rtol=1e-12)
    assert not np.allclose(masked, respaced)


@both
def test_the_budget_falls_to_the_kept_steps(make_trainer, rule):
    """The last batch of an epoch comes after 12 of 15 windows; the last one searched, in epoch 6.

    The seven epochs before 0.7 of the run are numbered from 0.
    """
    trainer = make_trainer(epochs=10, mask_rule=rule)
    trainer.fit()
    allowed = []
    for record in trainer.records:
        progress = (min(record.epoch, 6) + 12 / 15) / 10
        share = (progress - 0.2) / 0.5
        allowed.append(kept_steps_at(share, T, 3) if progress > 0.2 else T)
    kept = np.array([record.expected_kept for record in trainer.records])
    assert np.all(kept <= np.array(allowed) + 1e-9)
    assert kept[0] == T
    assert kept[-1] <= 3 + 0.1
    np.testing.assert_allclose(kept, np.sum(trainer.keep_prob_history, axis=1))


class NoSearch(StepSearch):
    """A search that must not be asked for anything."""

    def __init__(self, search):
        self.schedule, self.learner = search.schedule, search.learner

    @property
    def n_steps(self):
        return self.schedule.n_steps

    def _forbidden(self, *arguments):
        raise AssertionError("no step is to be pruned")

    draw_grid = observe = update = best_grid = _forbidden


@both
def test_with_every_step_kept_nothing_is_searched(make_trainer, rule):
    trainer = make_trainer(kept_steps=T, epochs=2, mask_rule=rule)
    trainer.search = NoSearch(trainer.search)
    trainer.fit()
    assert np.array_equal(trainer.fixed_grid.alpha_bar, trainer.search.schedule.alpha_bar)
    assert {record.phase for record in trainer.records} == {"fixed"}
    assert all(row.tolist() == [1.0] * T for row in trainer.keep_prob_history)


@both
def test_before_the_search_every_step_is_trained(make_trainer, rule):
    trainer = make_trainer(epochs=4, mask_rule=rule, search_start=0.5)
    sizes = []
    draw = trainer.search.draw_grid

    def watched(masked, rng):
        grid = draw(masked, rng)
        sizes.append((masked, trainer.progress, len(grid)))
        return grid

    trainer.search.draw_grid = watched
    trainer.fit()
    assert sizes
    assert all(masked == (progress >= 0.5) for masked, progress, _ in sizes)
    assert all(size == T for masked, _, size in sizes if not masked)


def test_fixed_steps_are_the_only_ones_trained(make_trainer):
    trainer = make_trainer(epochs=2)
    trainer.fixed_grid = trainer.search.schedule.respaced([2, 7])
    seen = []
    trainer.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[3]))
    trainer.fit()
    assert set(torch.cat(seen).tolist()) == {2.0, 7.0}
    assert trainer.fixed_grid.index.tolist() == [2, 7]


# ------------------------------------------------------------------------------------ one update


def test_the_network_is_shown_what_it_will_see_when_sampling(make_trainer):
    """Anchor as condition, given cells apart, noise level of the grid."""
    trainer = make_trainer(kept_steps=T, batch_size=64)
    shown = []
    trainer.network.register_forward_pre_hook(lambda module, inputs: shown.append(inputs))
    ((_, batch),) = trainer.source.epoch(64, np.random.default_rng(0))
    trainer.step(batch)
    noisy, condition, given_mask, step = shown[0]
    assert not (given_mask & ~batch.observed_mask).any()
    assert torch.equal(condition, linear_between(batch.values, given_mask))
    torch.testing.assert_close(condition[given_mask], batch.values[given_mask])
    assert set(step.tolist()) <= set(range(T))
    level = torch.from_numpy(trainer.search.schedule.alpha_bar)[step.long()]
    assert noisy.shape == batch.values.shape
    target = (batch.observed_mask & ~given_mask).float()
    away = (batch.values - condition) / trainer.anchor.scale
    noise = (noisy - level.sqrt()[:, None, None] * away) / (1 - level).sqrt()[:, None, None]
    spread = float((noise.square() * target).sum() / target.sum())
    assert spread == pytest.approx(1.0, abs=0.3)


def test_an_update_returns_the_sum_and_number_of_its_errors(make_trainer):
    trainer = make_trainer()
    ((_, batch),) = trainer.source.epoch(64, np.random.default_rng(0))
    before = copy_weights(trainer.network)
    error, n_cells = trainer.step(batch)
    assert error > 0
    assert 0 < n_cells <= int(batch.observed_mask.sum())
    assert trainer.n_iterations == 1
    assert not _weights_are(trainer, before)


def test_an_update_in_parts_is_that_of_the_whole_batch(make_trainer, monkeypatch):
    """Small parts, as large windows have them."""
    found = []
    for part_bytes in (gradients.PART_BYTES, 1):
        monkeypatch.setattr(gradients, "PART_BYTES", part_bytes)
        trainer = make_trainer()
        trainer.network.apply(_without_dropout)
        ((_, batch),) = trainer.source.epoch(64, np.random.default_rng(0))
        found.append((trainer.step(batch), copy_weights(trainer.network)))
    (whole, weights), (in_parts, own) = found
    assert in_parts == pytest.approx(whole, rel=1e-5)
    for name, weight in weights.items():
        torch.testing.assert_close(own[name], weight, rtol=1e-3, atol=1e-5)


def _without_dropout(module):
    if hasattr(module, "dropout"):
        module.dropout = 0.0


def test_patterns_come_from_where_they_are_said_to(make_trainer):
    """Holes of another source: here the second half of every window is missing."""
    plain = make_trainer(kept_steps=T)
    values = [np.where(np.arange(8)[:, None] < 4, np.zeros((8, 2)), np.nan)]
    elsewhere = type(plain.source)(values, [np.ones(8, dtype=bool)], 8, 8)
    trainer = make_trainer(kept_steps=T, target_strategy="historical", patterns=elsewhere)
    shown = []
    trainer.network.register_forward_pre_hook(lambda module, inputs: shown.append(inputs[2]))
    ((_, batch),) = trainer.source.epoch(64, np.random.default_rng(0))
    trainer.step(batch)
    expected = batch.observed_mask.clone()
    expected[:, 4:] = False
    assert torch.equal(shown[0], expected)


def test_the_learning_rate_follows_the_run(make_trainer):
    trainer = make_trainer(kept_steps=T, epochs=10, learning_rate=1e-2)
    trainer.fit()
    rates = [record.learning_rate for record in trainer.records]
    assert rates[0] == 1e-2
    assert rates[-1] == pytest.approx(1e-4)
    assert sorted(rates, reverse=True) == rates


# ---------------------------------------------------------------------------------- ends of a run


def test_the_best_averaged_weights_are_put_back(make_trainer, monkeypatch):
    trainer = make_trainer(kept_steps=T, epochs=5)
    _losses(trainer, monkeypatch, [0.9, 0.5, 0.4, 0.8, 0.7])
    averages = []
    trainer.fit(
        on_epoch=lambda t: averages.append({n: w.clone() for n, w in t.average.weights.items()})
    )
    assert trainer.best[0] == 0.4
    assert trainer.epochs_since_best == 2
    assert _weights_are(trainer, averages[2])
    assert not _weights_are(trainer, averages[4])


def test_only_the_fixed_grid_decides_what_is_best(make_trainer, monkeypatch):
    """A loss over all steps, before they are fixed, is no measure of the kept ones."""
    trainer = make_trainer(epochs=4, search_start=0.25, search_end=0.75)
    _losses(trainer, monkeypatch, [0.1, 0.1, 0.1, 0.8])
    trainer.fit()
    assert trainer.best[0] == 0.8


def test_without_validation_the_last_weights_count(make_trainer, monkeypatch):
    trainer = make_trainer(kept_steps=T, epochs=3)
    _losses(trainer, monkeypatch, [float("nan")] * 3)
    trainer.validator.targets[:] = False
    trainer.fit()
    assert _weights_are(trainer, trainer.average.weights)


def test_patience_ends_a_run(make_trainer, monkeypatch):
    trainer = make_trainer(kept_steps=T, epochs=10, patience=2)
    _losses(trainer, monkeypatch, [0.9, 0.8, 0.85, 0.8, 0.1])
    trainer.fit()
    assert len(trainer.records) == 4
    assert trainer.best[0] == 0.8


def test_a_time_budget_ends_a_run_within_an_epoch(make_trainer):
    trainer = make_trainer(epochs=None, time_budget_s=1e-9)
    trainer.fit()
    assert trainer.n_iterations == 1
    assert trainer.progress == 1
    assert trainer.finished
    assert len(trainer.fixed_grid) == 3
    assert trainer.seconds > 0


def test_time_is_kept_for_a_first_validation_that_is_not_quick(make_trainer, monkeypatch):
    """Five updates of ten seconds an epoch, validations of 4 or 16; the search ends at 77."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    trainer = make_trainer(epochs=None, time_budget_s=110.0, batch_size=3)
    update = trainer.step

    def loss(network, grid, quick):
        nonlocal now
        now += 4.0 if quick else 4.0 * trainer.validator.repeats
        return 0.5

    def step(batch):
        nonlocal now
        now += 10.0
        return update(batch)

    monkeypatch.setattr(trainer.validator, "loss", loss)
    monkeypatch.setattr(trainer, "step", step)
    trainer.fit()
    assert trainer.best is not None
    assert trainer.n_iterations == 9
    assert trainer.seconds == 110.0


@both
@pytest.mark.parametrize("at_step", [1, 8, 15])
def test_a_run_that_is_interrupted_is_still_of_use(make_trainer, rule, at_step):
    """Ctrl-C in any phase: a network in eval mode and a grid of the wanted size."""
    trainer = make_trainer(mask_rule=rule, search_start=0.25, search_end=0.75)

    def interrupt(running: Trainer) -> None:
        if running.n_iterations == at_step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(on_step=interrupt)
    assert trainer.n_iterations == at_step
    assert not trainer.network.training
    assert len(trainer.fixed_grid) == 3
    expected = trainer.best[1] if trainer.best else trainer.average.weights
    assert _weights_are(trainer, expected)


# ------------------------------------------------------------------------------------- divergence


@both
@pytest.mark.parametrize("kept_steps", [3, T])
def test_a_run_that_leaves_the_finite_numbers_is_an_error(make_trainer, rule, kept_steps):
    trainer = make_trainer(mask_rule=rule, kept_steps=kept_steps, learning_rate=1e12)
    with pytest.raises(DivergenceError, match=r"in epoch 1: the loss is (nan|inf); lower learning"):
        trainer.fit()
    assert trainer.records == []


def test_what_was_learned_before_a_run_diverged_is_kept_with_a_warning(make_trainer, monkeypatch):
    trainer = make_trainer(kept_steps=T)
    _losses(trainer, monkeypatch, [0.9, 0.5, float("nan")])
    best = {}

    def note(running: Trainer) -> None:
        best.update({name: weight.clone() for name, weight in running.best[1].items()})

    with pytest.warns(UserWarning, match="in epoch 3: the loss is nan.*weights of the best epoch"):
        trainer.fit(on_epoch=note)
    assert len(trainer.records) == 2 and not trainer.network.training
    assert _weights_are(trainer, best)


def test_weights_that_had_learned_nothing_are_not_kept(make_trainer, monkeypatch):
    trainer = make_trainer(kept_steps=T)
    _losses(trainer, monkeypatch, [1.1, float("inf")])
    with pytest.raises(DivergenceError, match="in epoch 2: the loss is inf"):
        trainer.fit()


def test_nothing_to_validate_on_is_no_divergence(make_trainer):
    trainer = make_trainer(kept_steps=T, epochs=1)
    trainer.validator.targets[:] = False
    trainer.fit()
    assert np.isnan(trainer.records[0].validation_loss)


def test_an_error_within_an_epoch_is_raised_as_it_is(make_trainer):
    """What is not Ctrl-C leaves no half-made network behind that would look like a result."""
    trainer = make_trainer()

    def fail(_: Trainer) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        trainer.fit(on_step=fail)
    assert trainer.fixed_grid is None
