"""Settings, the learning rate, the moving average and the history."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tsimpute.errors import InputError
from tsimpute.training.config import TrainingConfig, learning_rate_at
from tsimpute.training.ema import WeightAverage, copy_weights, load_weights
from tsimpute.training.history import EpochRecord, history_frame


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kept_steps": 0}, "kept_steps=0 .* at least 1"),
        ({"epochs": 0}, "epochs=0 .* at least 1"),
        ({"epochs": None}, "epochs=None .* or time_budget_s must be one"),
        ({"time_budget_s": 0.0}, "time_budget_s=0.0 .* positive number of seconds"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 .* positive"),
        ({"warmup": 1.0}, r"warmup=1.0 .* in \[0, 1\)"),
        ({"ema_decay": 1.0}, "ema_decay=1.0"),
        ({"ema_decay": -0.1}, "ema_decay=-0.1"),
        ({"mask_rule": "greedy"}, "mask_rule='greedy' .* one of"),
        ({"target_strategy": "future"}, "target_strategy='future' .* one of"),
    ],
)
def test_settings_that_cannot_be_used(settings, message):
    with pytest.raises(InputError, match=message):
        TrainingConfig(**{"kept_steps": 3, **settings})


def test_a_time_budget_alone_is_enough():
    config = TrainingConfig(kept_steps=3, epochs=None, time_budget_s=1.0)
    assert config.epochs is None


@pytest.mark.parametrize(
    ("progress", "share"),
    [(0.0, 1.0), (0.7499, 1.0), (0.75, 0.1), (0.8999, 0.1), (0.9, 0.01), (1.0, 0.01)],
)
def test_the_learning_rate_falls_twice_by_ten(progress, share):
    assert learning_rate_at(progress, 1e-3) == pytest.approx(1e-3 * share)


@pytest.mark.parametrize(
    ("progress", "share"), [(0.0, 0.05), (0.001, 0.05), (0.02, 0.4), (0.05, 1.0), (0.8, 0.1)]
)
def test_the_learning_rate_rises_in_a_warmup(progress, share):
    assert learning_rate_at(progress, 1e-3, warmup=0.05) == pytest.approx(1e-3 * share)


# --------------------------------------------------------------------------------- moving average


@pytest.mark.parametrize("decay", [0.0, 0.2, 0.5, 0.999])
def test_the_average_equals_a_plain_loop(decay):
    network = nn.Linear(2, 1)
    average = WeightAverage(network, decay)
    expected = network.weight.detach().clone()
    for n in range(1, 30):
        network.weight.data = torch.randn(1, 2)
        average.update(network)
        kept = min(decay, (1 + n) / (10 + n))
        expected = kept * expected + (1 - kept) * network.weight.detach()
        torch.testing.assert_close(average.weights["weight"], expected, rtol=0, atol=1e-6)
    assert average.n_updates == 29


def test_the_average_starts_as_a_copy():
    network = nn.Linear(2, 1)
    average = WeightAverage(network, 0.9)
    before = network.weight.detach().clone()
    network.weight.data += 1
    assert torch.equal(average.weights["weight"], before)


def test_the_average_is_lent_and_taken_back():
    network = nn.Linear(2, 1)
    average = WeightAverage(network, 0.9)
    network.weight.data += 1
    own = copy_weights(network)
    with pytest.raises(KeyboardInterrupt), average.applied_to(network):
        assert torch.equal(network.weight, average.weights["weight"])
        raise KeyboardInterrupt
    assert all(torch.equal(p, own[name]) for name, p in network.named_parameters())
    load_weights(network, average.weights)
    assert torch.equal(network.weight, average.weights["weight"])


# ---------------------------------------------------------------------------------------- history


def test_the_history_has_a_row_an_epoch():
    records = [EpochRecord(e, "search", 0.5, 0.4, 1e-3, 9.5, 3, 1.5 * e) for e in range(2)]
    frame = history_frame(records)
    assert frame["epoch"].tolist() == [0, 1]
    assert frame["seconds"].tolist() == [0.0, 1.5]
    assert list(history_frame([]).columns) == list(frame.columns)
