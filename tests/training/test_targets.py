"""Which observed cells are hidden."""

from __future__ import annotations

import pytest
import torch

from tsimpute.errors import InputError
from tsimpute.training.targets import (
    STRATEGIES,
    block_targets,
    draw_targets,
    forecast_targets,
    historical_targets,
    last_targets,
    random_targets,
)


def _observed(n=500, seed=0, share=0.7):
    return torch.rand(n, 10, 4, generator=torch.Generator().manual_seed(seed)) < share


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.7, 1.0])
def test_targets_are_observed_cells(strategy, share):
    observed = _observed(share=share)
    patterns = _observed(seed=1)
    targets = draw_targets(strategy, observed, patterns, _generator())
    assert targets.shape == observed.shape
    assert targets.dtype == torch.bool
    assert not (targets & ~observed).any()


def test_random_hides_a_uniform_share():
    observed = _observed(4000)
    n_observed = observed.sum((1, 2))
    share = random_targets(observed, _generator()).sum((1, 2)) / n_observed
    ranked = share.double().sort().values
    uniform = (torch.arange(4000) + 0.5) / 4000
    assert float((ranked - uniform).abs().max()) < 0.04  # Kolmogorov-Smirnov, and the rounding
    assert share.min() == 0
    assert share.max() == 1


def test_random_hides_the_rounded_number_of_cells():
    observed = _observed(100)
    n_hidden = random_targets(observed, _generator(5)).sum((1, 2))
    share = torch.rand(100, 1, generator=_generator(5))[:, 0]  # the first that is drawn
    assert torch.equal(n_hidden, (observed.sum((1, 2)) * share).round().long())


def test_random_hides_every_cell_alike():
    targets = random_targets(torch.ones(6000, 3, 2, dtype=torch.bool), _generator())
    frequency = targets.float().mean(0)
    assert float((frequency - 0.5).abs().max()) < 0.04


def test_historical_hides_what_is_missing_elsewhere():
    observed, patterns = _observed(), _observed(seed=1)
    expected = observed & ~patterns
    assert torch.equal(historical_targets(observed, patterns), expected)
    assert torch.equal(draw_targets("historical", observed, patterns, _generator()), expected)


def test_mix_is_each_for_about_half_of_the_windows():
    observed, patterns = _observed(2000), _observed(2000, seed=1)
    targets = draw_targets("mix", observed, patterns, _generator())
    is_historical = (targets == (observed & ~patterns)).all((1, 2))
    assert abs(float(is_historical.float().mean()) - 0.5) < 0.05
    drawn = random_targets(observed, _generator())
    assert torch.equal(targets[~is_historical], drawn[~is_historical])


@pytest.mark.parametrize("length", [1, 2, 3, 10])
def test_a_block_is_one_stretch_of_at_most_half_a_window(length):
    targets = block_targets(torch.ones(800, length, 4, dtype=torch.bool), _generator())
    steps = targets.sum(1)
    assert int(steps.max()) == max(1, length // 2)
    edges = torch.nn.functional.pad(targets.int(), (0, 0, 1, 1)).diff(dim=1) == 1
    assert torch.equal(edges.sum(1), (steps > 0).long())  # it begins once
    assert (steps > 0).any(1).all()  # in at least one feature
    assert {1, 2, 3, 4} == set((steps > 0).sum(1).tolist())
    assert targets.any(0).all()  # and anywhere


def test_block_is_random_cells_for_half_of_the_windows():
    observed = _observed(2000)
    targets = draw_targets("block", observed, observed, _generator())
    is_random = (targets == random_targets(observed, _generator())).all((1, 2))
    assert abs(float(is_random.float().mean()) - 0.5) < 0.05


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_generator_decides(strategy):
    observed, patterns = _observed(), _observed(seed=1)
    first, same, other = (
        draw_targets(strategy, observed, patterns, _generator(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, same)
    assert torch.equal(first, other) is (strategy == "historical")


def test_an_unknown_strategy_is_named():
    with pytest.raises(InputError, match="target_strategy='future' is unknown"):
        draw_targets("future", _observed(), _observed(), _generator())


def _ends(hidden, observed):
    """Per window and feature, whether the hidden cells are the observed ones from some row on."""
    first = torch.where(hidden.any(1), hidden.int().argmax(1), hidden.shape[1])
    after = torch.arange(hidden.shape[1])[None, :, None] >= first[:, None]
    return (hidden == (observed & after)).all(1)


def test_last_hides_the_end_of_some_features_and_mostly_one_row():
    observed = torch.ones(4000, 10, 4, dtype=torch.bool)
    hidden = last_targets(observed, _generator())
    assert _ends(hidden, observed).all()
    lengths = hidden.sum(1)
    assert hidden[:, -1].any(1).all()  # at least one feature
    share = (lengths[lengths > 0] == 1).float().mean()
    assert abs(float(share) - 1 / 2) < 0.03
    assert lengths.max() == 5
    assert {int(n) for n in (lengths > 0).sum(1)} == {1, 2, 3, 4}


def test_forecast_hides_the_end_of_every_feature_for_any_number_of_rows():
    observed = torch.ones(4000, 10, 4, dtype=torch.bool)
    hidden = forecast_targets(observed, _generator())
    assert _ends(hidden, observed).all()
    lengths = hidden.sum(1)
    assert (lengths == lengths[:, :1]).all()
    counts = torch.bincount(lengths[:, 0])
    assert len(counts) == 10 and counts[0] == 0
    assert float((counts[1:] / 4000 - 1 / 9).abs().max()) < 0.02


@pytest.mark.parametrize("hide", [last_targets, forecast_targets])
def test_the_end_of_a_window_is_its_last_reading(hide):
    observed = _observed()
    observed[:, 7:] = False  # padding
    last_row = torch.where(observed.any(2), torch.arange(10), 0).amax(1)
    hidden = hide(observed, _generator())
    assert _ends(hidden, observed).all()
    at_the_end = hidden[torch.arange(len(hidden)), last_row].any(1)
    assert float(at_the_end.float().mean()) > (0.5 if hide is last_targets else 0.99)
