"""Training of all widths at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.slimmable import AtWidth
from tsimpute.errors import InputError, ModelFileError
from tsimpute.training.checkpoint import restore_checkpoint, save_checkpoint
from tsimpute.training.config import TrainingConfig
from tsimpute.training.sandwich import Sandwich


def channels(networks) -> list[int]:
    return [n.width if isinstance(n, AtWidth) else 8 for n in networks]


def test_each_iteration_has_the_narrowest_the_whole_and_different_random_widths(rng):
    sandwich = Sandwich(CSDIDenoiser(DenoiserConfig(2, channels=16, heads=8, layers=1)), 2)
    drawn = [channels(sandwich.draw(rng)) for _ in range(60)]
    assert all(widths[0] == 2 and widths[-1] == 8 for widths in drawn)
    assert all(len(set(widths)) == 4 for widths in drawn)
    assert {width for widths in drawn for width in widths} == {2, 3, 4, 5, 6, 7, 8}
    assert channels(sandwich.judged()) == [8, 2, 4]


def test_with_two_heads_there_are_two_widths(rng):
    sandwich = Sandwich(CSDIDenoiser(DenoiserConfig(2, channels=8, heads=2, layers=1)), 2)
    assert channels(sandwich.draw(rng)) == [4, 8]
    assert channels(sandwich.judged()) == [8, 4]


def test_the_gradient_is_the_mean_over_the_widths(make_trainer):
    trainer = make_trainer(random_widths=2)
    network = trainer.network.eval()  # no dropout
    grid = trainer.search.schedule.full()
    _, batch = next(iter(trainer.source.epoch(4, trainer.rng)))
    targets, place = trainer._draw_targets(batch), torch.tensor([0, 3, 6, 11])[: len(batch)]
    noised = trainer._noised(batch, targets, grid, place)
    losses = []
    for width in (4, 8):
        error, n_cells = trainer._errors(AtWidth(network, width), noised)
        losses.append(error.sum() / n_cells.sum())
    wanted = torch.autograd.grad(sum(losses) / 2, network.blocks[0].time_layer.qkv.weight)[0]
    trainer._backward(noised)
    torch.testing.assert_close(network.blocks[0].time_layer.qkv.weight.grad, wanted)


@pytest.mark.slow
def test_narrow_widths_learn_too(make_trainer):
    def narrow_loss(**settings):
        trainer = make_trainer(kept_steps=12, epochs=25, learning_rate=1e-2, **settings)
        trainer.fit()
        narrow = AtWidth(trainer.network, 4)
        return trainer.validator.loss(narrow, trainer.fixed_grid)

    assert narrow_loss(random_widths=0) < narrow_loss() - 0.01


def test_the_validation_loss_is_the_mean_over_widths(make_trainer):
    trainer = make_trainer(kept_steps=12, epochs=1, ema_decay=0.0, random_widths=0)
    trainer.fit()
    grid = trainer.fixed_grid
    each = [trainer.validator.loss(n, grid) for n in (trainer.network, AtWidth(trainer.network, 4))]
    assert trainer.records[-1].validation_loss == pytest.approx(np.mean(each), rel=1e-5)


def test_a_stopped_run_of_widths_goes_on_and_no_other(make_trainer, tmp_path):
    whole = make_trainer(random_widths=1)
    whole.fit()
    stopped, file = make_trainer(random_widths=1), tmp_path / "run"
    stopped.run_epoch()
    save_checkpoint(stopped, file)
    again = make_trainer(random_widths=1)
    assert restore_checkpoint(again, file)
    again.fit()
    torch.testing.assert_close(again.network.state_dict(), whole.network.state_dict())
    with pytest.raises(ModelFileError, match="random_widths"):
        restore_checkpoint(make_trainer(), file)


def test_a_negative_number_of_widths_is_refused():
    with pytest.raises(InputError, match="random_widths=-1 cannot be used"):
        TrainingConfig(kept_steps=2, random_widths=-1)
