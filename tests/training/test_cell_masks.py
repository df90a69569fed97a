"""Which cells stay visible in pre-training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.flops import visible_flops
from tsimpute.denoiser.visible import VisibleCells
from tsimpute.errors import InputError
from tsimpute.training.cell_masks import MASK_KINDS, Masking, draw_visible, hidden_cells

FULL = torch.ones(8, 36, 7, dtype=torch.bool)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(MASK_KINDS),
    st.floats(0.01, 0.99),
    st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 5)),
    st.integers(0, 1000),
)
def test_something_observed_stays_visible_and_nothing_else_does(kind, rate, shape, seed):
    observed_mask = torch.rand(shape, generator=generator(seed)) < 0.5
    visible_mask = draw_visible(kind, rate, observed_mask, generator(seed + 1))
    assert not (visible_mask & ~observed_mask).any()
    torch.testing.assert_close(visible_mask.flatten(1).any(1), observed_mask.flatten(1).any(1))


@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.75, 0.9])
def test_the_rate_is_kept_on_average(kind, rate):
    draws = generator()
    shares = [draw_visible(kind, rate, FULL, draws).float().mean().item() for _ in range(300)]
    wanted = max(1 - rate, 1 / 7) if kind == "feature" else 1 - rate  # one of seven always stays
    assert np.mean(shares) == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize("kind", MASK_KINDS)
@pytest.mark.parametrize("rate", [0.3, 0.75, 0.9])
def test_what_is_hidden_on_average_is_known_before_anything_is_drawn(kind, rate):
    """Also where one of few rows, features or cells has to stay, and where a window is empty."""
    shape = (6, 9, 3)
    observed_mask = torch.rand(shape, generator=generator(3)) < torch.linspace(0.1, 1, 9)[:, None]
    observed_mask[0] = False
    observed_mask[1, 2:] = observed_mask[2, :, 1:] = observed_mask[3, 1:, 1:] = False
    draws = generator()
    visible = [draw_visible(kind, rate, observed_mask, draws).sum().item() for _ in range(1500)]
    hidden = observed_mask.sum().item() - np.mean(visible)
    assert hidden_cells(Masking(kind, rate), observed_mask) == pytest.approx(hidden, rel=0.03)


def test_blocks_hide_whole_rows_in_stretches():
    visible_mask = draw_visible("block", 0.5, FULL, generator())
    rows = visible_mask.any(2)
    assert torch.equal(visible_mask, rows[..., None].expand_as(visible_mask))
    assert not torch.equal(rows[0], rows[1])
    changes = (rows[:, 1:] != rows[:, :-1]).sum(1).float().mean()
    assert changes < 10  # single rows would change 17 times


def test_stretches_are_shorter_at_higher_rates():
    lengths = []
    for rate in (0.1, 0.5, 0.75, 0.9):
        many = torch.ones(500, 60, 1, dtype=torch.bool)
        rows = draw_visible("block", rate, many, generator())[..., 0]
        n_stretches = (rows[:, 1:] & ~rows[:, :-1]).sum() + rows[:, 0].sum()
        lengths.append((rows.sum() / n_stretches).item())
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > 10 and lengths[-1] < 1.5


def test_features_are_hidden_as_a_whole():
    visible_mask = draw_visible("feature", 0.5, FULL, generator())
    shown = visible_mask.any(1)
    assert torch.equal(visible_mask, shown[:, None].expand_as(visible_mask))
    assert 2 < shown.sum(1).float().mean() < 5


def test_a_single_feature_cannot_be_hidden():
    alone = torch.ones(4, 9, 1, dtype=torch.bool)
    assert draw_visible("feature", 0.9, alone, generator()).all()


def test_cells_are_hidden_one_by_one():
    visible_mask = draw_visible("cell", 0.5, FULL, generator())
    assert visible_mask.any(2).all() and not visible_mask.all(2).any()


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_windows_lose_alike_so_that_attention_needs_no_filling(kind):
    n_visible = draw_visible(kind, 0.6, FULL, generator()).flatten(1).sum(1)
    assert len(n_visible.unique()) == 1


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_operations_fall_with_the_rate(kind):
    config = DenoiserConfig(n_features=7, channels=16, heads=4, layers=2)
    costs = [
        visible_flops(config, VisibleCells.of(draw_visible(kind, rate, FULL, generator())))
        for rate in (0.1, 0.3, 0.5, 0.7, 0.9)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.3 * costs[0]


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, float("nan"), True, "half", None])
def test_a_rate_outside_0_and_1_is_refused(rate):
    with pytest.raises(InputError, match=r"mask_rate=.* between 0 and 1, both excluded"):
        draw_visible("block", rate, FULL, generator())


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"mask_kind='blocks' is unknown.*'feature', 'cell'; did"):
        draw_visible("blocks", 0.5, FULL, generator())
    with pytest.raises(InputError, match="mask_kind=None is unknown"):
        draw_visible(None, 0.5, FULL, generator())
