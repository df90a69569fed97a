"""Anchors against numpy's interpolation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.denoiser.test_lines import by_numpy, case
from tsimpute.denoiser.anchor import (
    ANCHORS,
    SMALLEST_SCALE,
    Anchor,
    AnchorPlan,
)
from tsimpute.denoiser.lines import linear_between
from tsimpute.denoiser.season import Season
from tsimpute.errors import InputError


def _season(n_features=4):
    return Season(3, *torch.tensor([[0.7], [1.0], [0.5]]).expand(3, n_features))


PLANS = [*map(AnchorPlan, ANCHORS), AnchorPlan("linear", 3), AnchorPlan("local", 3)]
each_plan = pytest.mark.parametrize("plan", PLANS, ids=str)


def _anchor(kind, n_features=4, **parts):
    return replace(Anchor.none(n_features), kind=kind, **parts)


def _planned(plan, n_features=4):
    season = None if plan.period is None else _season(n_features)
    return _anchor(plan.kind, n_features, season=season)


def test_none_leaves_values_as_they_are():
    values, given_mask = (torch.from_numpy(part) for part in case(0, 8, 0.5))
    frame = Anchor.none(4).frame(values, given_mask)
    assert not frame.centre.any()
    assert torch.equal(frame.shown, values * given_mask)
    fitted = Anchor.fit(AnchorPlan("none"), values, given_mask, ~given_mask)
    assert (fitted.kind, fitted.scale.tolist()) == ("none", [1.0] * 4)


def test_linear_measures_and_shows_the_line():
    values, given_mask = (torch.from_numpy(part) for part in case(1, 8, 0.5))
    frame = _anchor("linear").frame(values, given_mask)
    line = linear_between(values, given_mask)
    assert torch.equal(frame.centre, line)
    assert torch.equal(frame.shown, line)


def test_local_shows_the_line_without_its_level():
    values, given_mask = case(1, 8, 0.5)
    spread = torch.tensor([0.5, 1.0, 2.0, 3.0])
    parts = (torch.from_numpy(part) for part in (values, given_mask))
    frame = _anchor("local", spread=spread).frame(*parts)
    line = by_numpy(values, given_mask)
    np.testing.assert_allclose(frame.centre, line, atol=2e-6)
    shown = (line - line.mean(axis=1, keepdims=True)) / spread.numpy()
    np.testing.assert_allclose(frame.shown, shown, atol=1e-5)


def test_the_spread_brings_what_local_shows_to_unit_size():
    values, given_mask = (torch.from_numpy(part) for part in case(1, 8, 0.5))
    values = values * torch.tensor([0.1, 1.0, 5.0, 20.0]) + 100
    anchor = Anchor.fit(AnchorPlan("local"), values, given_mask, ~given_mask)
    size = anchor.frame(values, given_mask).shown.square().mean((0, 1)).sqrt()
    torch.testing.assert_close(size, torch.ones(4, dtype=size.dtype), rtol=1e-5, atol=0)
    linear = Anchor.fit(AnchorPlan("linear"), values, given_mask, ~given_mask)
    assert torch.equal(anchor.scale, linear.scale)
    assert linear.spread.tolist() == [1.0] * 4


@given(st.integers(0, 2**32 - 1), st.floats(-10, 10))
@settings(max_examples=25, deadline=None)
def test_local_does_not_show_the_level(seed, level):
    values, given_mask = case(seed, 8, 0.5)
    given_mask[:, 0] = True
    given_cells = torch.from_numpy(given_mask)
    frame = _anchor("local").frame(torch.from_numpy(values), given_cells)
    other = _anchor("local").frame(torch.from_numpy(values + level), given_cells)
    torch.testing.assert_close(other.shown, frame.shown, rtol=0, atol=1e-5)
    torch.testing.assert_close(other.centre, frame.centre + level, rtol=0, atol=1e-5)


def _padded(part):
    """Three rows more at the end, of zeros or False."""
    return torch.nn.functional.pad(part, (0, 0, 0, 3))


def _is_real(n_series, length):
    return (torch.arange(length + 3) < length).expand(n_series, -1)


@each_plan
def test_a_frame_does_not_depend_on_padding(plan):
    values = torch.tensor([1.0, 3.0, 2.0, 5.0])[None, :, None]
    given_mask = torch.ones_like(values, dtype=torch.bool)
    anchor = _planned(plan, 1)
    frame = anchor.frame(values, given_mask)
    padded = anchor.frame(_padded(values), _padded(given_mask), _is_real(1, 4))
    torch.testing.assert_close(padded.centre[:, :4], frame.centre)
    torch.testing.assert_close(padded.shown[:, :4], frame.shown)


def test_each_window_has_padding_of_its_own():
    values, given_mask = (torch.from_numpy(part) for part in case(5, 8, 0.6))
    n_real = [8, 5, 2]
    is_real = torch.arange(8) < torch.tensor(n_real)[:, None]
    given_mask = given_mask & is_real[..., None]
    together = _anchor("local").frame(values, given_mask, is_real)
    for i, n in enumerate(n_real):
        alone = _anchor("local").frame(values[i : i + 1, :n], given_mask[i : i + 1, :n])
        torch.testing.assert_close(together.shown[i, :n], alone.shown[0])


@each_plan
def test_the_scale_does_not_depend_on_padding(plan):
    anchor, padded = _fitted_with_and_without_padding(plan)
    torch.testing.assert_close(padded.scale, anchor.scale)


def test_the_spread_does_not_depend_on_padding():
    anchor, padded = _fitted_with_and_without_padding(AnchorPlan("local"))
    torch.testing.assert_close(padded.spread, anchor.spread)


def _fitted_with_and_without_padding(plan):
    values, given_mask = (torch.from_numpy(part) for part in case(4, 8, 0.5))
    parts = (values, given_mask, ~given_mask)
    padded = Anchor.fit(plan, *map(_padded, parts), _is_real(len(values), 8))
    return Anchor.fit(plan, *parts), padded


def test_windows_with_a_single_given_cell_do_not_rule_the_scale():
    """Standard normal cells; such a window, one in four here, has no spread of its own."""
    values = torch.randn(64, 12, 1, generator=torch.Generator().manual_seed(0))
    given_mask = torch.arange(12)[None, :, None].repeat(64, 1, 1) % 2 == 0
    given_mask[::4, 1:] = False
    for kind in ("linear", "local"):
        anchor = Anchor.fit(AnchorPlan(kind), values, given_mask, ~given_mask)
        assert 0.5 < float(anchor.scale) < 2
        assert 0.2 < float(anchor.spread) < 2


@each_plan
def test_a_frame_knows_nothing_of_hidden_cells(plan):
    values, given_mask = case(3, 9, 0.5)
    anchor, given_cells = _planned(plan), torch.from_numpy(given_mask)
    frame = anchor.frame(torch.from_numpy(values), given_cells)
    other = anchor.frame(torch.from_numpy(np.where(given_mask, values, 77.0)), given_cells)
    for one, same in zip(frame, other, strict=True):
        assert torch.equal(one, same)
    assert frame.centre.shape == frame.shown.shape == values.shape


def test_the_scale_is_the_distance_of_targets_from_the_line():
    values, given_mask = case(2, 9, 0.5)
    target_mask = ~given_mask & (np.random.default_rng(0).random(values.shape) < 0.7)
    parts = (torch.from_numpy(part) for part in (values, given_mask, target_mask))
    scale = Anchor.fit(AnchorPlan("linear"), *parts).scale
    away = values - by_numpy(values, given_mask)
    for k in range(4):
        expected = np.sqrt(np.mean(np.square(away[..., k][target_mask[..., k]])))
        assert float(scale[k]) == pytest.approx(expected, rel=1e-6)


def test_the_scale_never_vanishes():
    """A trend is explained perfectly; a feature without targets has nothing to go by: 1."""
    values = torch.arange(8.0)[None, :, None].repeat(1, 1, 2)
    given_mask = torch.zeros(1, 8, 2, dtype=torch.bool)
    given_mask[:, ::7] = True
    target_mask = ~given_mask
    target_mask[..., 1] = False
    for kind in ("linear", "local"):
        anchor = Anchor.fit(AnchorPlan(kind), values, given_mask, target_mask)
        assert anchor.scale.tolist() == pytest.approx([SMALLEST_SCALE, 1.0])


def test_moves_to_a_device():
    anchor = _anchor("linear", 2, scale=torch.tensor([2.0, 3.0])).to(torch.device("cpu"))
    assert (anchor.kind, anchor.scale.tolist()) == ("linear", [2.0, 3.0])


def test_an_unknown_kind_is_named():
    with pytest.raises(InputError, match="anchor='spline' is unknown"):
        _anchor("spline")
