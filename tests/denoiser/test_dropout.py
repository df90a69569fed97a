"""Dropout with eight decisions to a random number."""

from __future__ import annotations

import pytest
import torch

from tsimpute.denoiser.dropout import dropout


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (2, 3, 4)])
def test_shape_stays_and_entries_are_zero_or_scaled(shape):
    out = dropout(torch.ones(shape), 0.5, training=True)
    assert out.shape == shape
    assert set(out.unique().tolist()) <= {0.0, 2.0}


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_rate_and_mean(rate):
    torch.manual_seed(0)
    out = dropout(torch.ones(400_000), rate, training=True)
    assert float((out == 0).float().mean()) == pytest.approx(rate, abs=0.004)
    assert float(out.mean()) == pytest.approx(1.0, abs=0.03)


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    dropped = dropout(torch.ones(400_000), 0.5, training=True) == 0
    for lag in (1, 2, 7, 8, 9):
        both = (dropped[lag:] & dropped[:-lag]).float().mean()
        assert float(both) == pytest.approx(0.25, abs=0.004)


def test_gradient_is_zero_exactly_where_dropped():
    x = torch.randn(1000, requires_grad=True)
    out = dropout(x, 0.3, training=True)
    out.sum().backward()
    assert torch.equal(x.grad == 0, out == 0)


def test_the_seed_decides_and_without_training_nothing_happens():
    x = torch.randn(64)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(dropout(x, 0.5, training=True))
    assert torch.equal(*drawn)
    assert dropout(x, 0.5, training=False) is x and dropout(x, 0.0, training=True) is x
