"""The loop of pre-training: what a step reads, what it costs, how a run goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tsimpute.denoiser.anchor import AnchorPlan
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.diffusion.schedule import make_schedule
from tsimpute.errors import DivergenceError, ModelFileError
from tsimpute.panel.side import SideShape
from tsimpute.training.batches import Windows, WindowSource
from tsimpute.training.cell_masks import MASK_KINDS, Masking
from tsimpute.training.config import TrainingConfig
from tsimpute.training.pretraining import Pretrainer, PretrainingSet, fit_sparse_anchor
from tsimpute.training.pretraining_checkpoint import restore_pretraining, save_pretraining
from tsimpute.training.progress import TrainingBar

CPU = torch.device("cpu")
PLANS = (*map(AnchorPlan, ("linear", "local", "none")), AnchorPlan("linear", 4))


def source_of(n_times: int, n_features: int, seed: int = 0, side: SideShape | None = None):
    """A noisy wave with a tenth of the cells missing; 8 rows a window."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 6, n_features) + np.arange(n_times)[:, None] / 3
    values = np.sin(phase) + 0.1 * rng.normal(size=(n_times, n_features))
    values[rng.random(values.shape) < 0.1] = np.nan
    return WindowSource([values], [np.ones(n_times, dtype=bool)], 8, 4, side or SideShape())


def make_run(
    seed: int = 0,
    kind: str = "block",
    rate: float = 0.5,
    plan: AnchorPlan = PLANS[0],
    **settings: Any,
) -> Pretrainer:
    """Two data sets, of 3 and of 2 features, one of them in common."""
    masking, sources = Masking(kind, rate), [source_of(67, 3), source_of(31, 2, seed=1)]
    config = TrainingConfig(
        **{"kept_steps": 12, "epochs": 3, "batch_size": 4, "weight_decay": 0.03, **settings}
    )
    torch.manual_seed(seed)
    network = CSDIDenoiser(DenoiserConfig(4, channels=8, heads=2, layers=1, dropout=0.0))
    anchors = [fit_sparse_anchor(plan, source, masking, "random", 0) for source in sources]
    numbers = [torch.tensor([0, 1, 2]), torch.tensor([3, 1])]
    return Pretrainer(
        network=network,
        sets=[PretrainingSet(*one) for one in zip(sources, numbers, anchors, strict=True)],
        grid=make_schedule(n_steps=12).full(),
        config=config,
        masking=masking,
        device=CPU,
        rng=np.random.default_rng(seed),
        generator=torch.Generator().manual_seed(seed),
    )


def loosened(run: Pretrainer) -> Pretrainer:
    """With a last layer that is not 0, as it is at first."""
    for parameter in run.network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return run


def batch_of(run: Pretrainer) -> Windows:
    source = run.sets[0].source
    return source.load(source.places(None)[:4])


# ------------------------------------------------------------------------------------- one step


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_the_loss_is_the_same_whatever_stands_in_hidden_cells(kind, plan):
    run = loosened(make_run(kind=kind, plan=plan))
    batch = batch_of(run)
    drawn = run.draw(batch)
    error, n_cells = run.errors(run.sets[0], batch, drawn)
    error.backward()
    gradients = {name: p.grad.clone() for name, p in run.network.named_parameters()}
    run.network.zero_grad()
    other = 100 * torch.randn(batch.values.shape) - 7
    spoilt = replace(batch, values=torch.where(drawn.visible, batch.values, other))
    again, n_again = run.errors(run.sets[0], spoilt, drawn)
    again.backward()
    assert n_cells == n_again == int(drawn.targets.sum()) > 0
    assert error > 0 and torch.equal(error, again)
    for name, parameter in run.network.named_parameters():
        assert torch.equal(parameter.grad, gradients[name]), name


def test_what_is_visible_counts():
    run = loosened(make_run())
    batch = batch_of(run)
    drawn = run.draw(batch)
    error, _ = run.errors(run.sets[0], batch, drawn)
    other = replace(batch, values=torch.where(drawn.targets, batch.values, batch.values + 1))
    assert not torch.isclose(run.errors(run.sets[0], other, drawn)[0], error)


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_targets_are_visible_and_what_is_visible_was_observed(kind):
    run = make_run(kind=kind)
    batch = batch_of(run)
    drawn = run.draw(batch)
    assert not (drawn.targets & ~drawn.visible).any()
    assert not (drawn.visible & ~batch.observed_mask).any()
    assert (drawn.visible & ~drawn.targets).any()


def test_the_loss_is_that_of_noise_prediction():
    """A network that says 0 everywhere is wrong by the noise in the targets."""
    run = make_run()
    for parameter in run.network.output_projection.parameters():
        parameter.data.zero_()
    batch = batch_of(run)
    drawn = run.draw(batch)
    error, _ = run.errors(run.sets[0], batch, drawn)
    torch.testing.assert_close(error, drawn.noise[drawn.targets].square().sum())


def test_a_step_costs_less_the_more_is_hidden():
    costs = []
    for rate in (0.1, 0.5, 0.9):
        run = make_run(rate=rate)
        batch = batch_of(run)
        drawn = run.draw(batch)
        with FlopCounterMode(display=False) as counter:
            run.step(run.sets[0], batch, drawn)
        costs.append(counter.get_total_flops())
    assert costs == sorted(costs, reverse=True)
    assert costs[2] < 0.5 * costs[0]


def test_a_step_moves_only_embeddings_of_its_data_set_s_features():
    run = loosened(make_run())
    embedding = run.network.feature_embedding.weight
    batch = run.sets[1].source.load(run.sets[1].source.places(None)[:4])
    error, _ = run.errors(run.sets[1], batch, run.draw(batch))
    error.backward()
    assert embedding.grad.any(1).tolist() == [False, True, False, True]


def test_padding_is_never_seen():
    run = loosened(make_run(rate=0.1))
    short = source_of(5, 3)
    data = replace(run.sets[0], source=short)
    batch = short.load([(0, 0)])
    drawn = run.draw(batch)
    assert batch.is_real.sum() == 5 and not drawn.visible[:, 5:].any()
    error, _ = run.errors(data, batch, drawn)
    assert error.isfinite()


def test_covariates_reach_the_network():
    torch.manual_seed(0)
    shape = DenoiserConfig(2, channels=8, heads=2, layers=1, dropout=0.0, n_covariates=1)
    run = make_run()
    source = source_of(31, 3, side=SideShape(1))  # the last column is a covariate
    source.series[0][:, 2] = np.arange(31)
    run.network = CSDIDenoiser(shape)
    run = loosened(run)
    data = PretrainingSet(source, torch.arange(2), run.sets[1].anchor)
    batch = source.load(source.places(None)[:4])
    drawn = run.draw(batch)
    one, _ = run.errors(data, batch, drawn)
    moved = replace(batch, context=batch.context.each(lambda part: part + 3))
    assert not torch.isclose(run.errors(data, moved, drawn)[0], one)


def test_the_anchor_s_scale_is_larger_where_less_is_known():
    source = source_of(200, 3)
    scales = [
        fit_sparse_anchor(
            AnchorPlan("linear"), source, Masking("block", rate), "random", 0
        ).scale.mean()
        for rate in (0.1, 0.5, 0.9)
    ]
    assert scales[0] < scales[1] < scales[2]


# ---------------------------------------------------------------------------------------- a run


def test_an_epoch_takes_every_window_of_every_data_set_once():
    run = make_run()
    seen = [(run.sets.index(data), len(batch)) for _, data, batch in run._batches()]
    for i, data in enumerate(run.sets):
        n = sum(length for at, length in seen if at == i)
        assert abs(n - len(data.source.places(None))) <= 1
    assert seen != sorted(seen)  # in no order


def test_the_loss_falls_and_the_averaged_weights_remain():
    run = make_run(epochs=30, learning_rate=5e-3)
    run.fit()
    losses = [record.train_loss for record in run.records]
    assert len(losses) == 30
    assert np.mean(losses[-15:]) < 0.85 * np.mean(losses[:3])
    for name, parameter in run.network.named_parameters():
        assert torch.equal(parameter, run.average.weights[name])
    assert not run.network.training
    assert run.records[-1].visible_share == pytest.approx(0.5, abs=0.1)
    assert run.records[-1].n_iterations == run.n_iterations
    assert run.records[-1].learning_rate == pytest.approx(5e-5)


def test_the_clock_ends_a_run():
    run = make_run(epochs=None, time_budget_s=0.2)
    run.fit()
    assert 0.2 <= run.seconds < 5
    assert run.progress == 1


def test_it_is_adam_with_the_paper_s_settings():
    group = make_run().optimiser.param_groups[0]
    assert isinstance(make_run().optimiser, torch.optim.AdamW)
    assert (group["betas"], group["weight_decay"]) == ((0.9, 0.99), 0.03)


def test_ctrl_c_keeps_the_averaged_weights():
    run = make_run(epochs=50)

    def stop(running: Pretrainer) -> None:
        if running.n_iterations == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.fit(on_step=stop)
    assert run.n_iterations == 3
    for name, parameter in run.network.named_parameters():
        assert torch.equal(parameter, run.average.weights[name])


def test_a_run_that_leaves_the_finite_numbers_is_an_error():
    run = make_run(epochs=20, learning_rate=1e12)
    with pytest.raises(DivergenceError, match=r"the loss is (nan|inf); lower learning_rate \(now"):
        run.fit()


def test_the_bar_tells_of_every_epoch(capsys):
    with TrainingBar("pre-train", silent=False) as bar:
        make_run(epochs=2).fit(bar.on_epoch, bar.on_step)
    shown = capsys.readouterr().err
    assert "pre-train: 100%" in shown
    assert "epoch 2, loss" in shown and "visible" in shown


# -------------------------------------------------------------------------------- checkpoints


def test_a_restored_run_goes_on_bit_for_bit(tmp_path):
    whole, second = make_run(), make_run(seed=99)
    whole.run_epoch()
    save_pretraining(whole, tmp_path / "run.pt")
    assert restore_pretraining(second, tmp_path / "run.pt")
    state = torch.get_rng_state()
    whole.fit()
    torch.set_rng_state(state)
    second.fit()
    assert [r.train_loss for r in whole.records] == [r.train_loss for r in second.records]
    for one, other in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert second.seconds >= second.records[0].seconds


def test_there_may_be_no_checkpoint_yet(tmp_path):
    assert restore_pretraining(make_run(), tmp_path / "run.pt") is False


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"kind": "cell"}, "mask_kind, data"),
        ({"rate": 0.6}, "mask_rate, data"),
        ({"learning_rate": 0.1}, "learning_rate"),
    ],
)
def test_another_run_s_checkpoint_is_refused_by_name(tmp_path, settings, named):
    save_pretraining(make_run(), tmp_path / "run.pt")
    with pytest.raises(ModelFileError, match=rf"other settings \({named}\); pass the same"):
        restore_pretraining(make_run(**settings), tmp_path / "run.pt")


def test_a_checkpoint_of_ordinary_training_is_refused(make_trainer, tmp_path):
    from tsimpute.training.checkpoint import save_checkpoint

    save_checkpoint(make_trainer(), tmp_path / "run.pt")
    with pytest.raises(ModelFileError, match="other settings"):
        restore_pretraining(make_run(), tmp_path / "run.pt")
