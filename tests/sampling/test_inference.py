"""Windows through the sampler: holes, batches, callbacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from tests.samplers.oracle import GRIDS, exact_noise, exact_variance, laws, moments, true_start
from tsimpute.denoiser.anchor import Anchor
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.marginals import LEVELS
from tsimpute.diffusion.schedule import make_schedule
from tsimpute.model import FittedModel
from tsimpute.panel.scaling import FeatureScaler
from tsimpute.samplers.ancestral import ancestral
from tsimpute.sampling import inference, prepared
from tsimpute.sampling.inference import SamplingPlan, sample_holes, start_at_marginals
from tsimpute.sampling.placing import hole_windows, window_stride

CPU = torch.device("cpu")


def _series(n_times, seed, holes=()):
    values = np.random.default_rng(seed).normal(size=(n_times, 2))
    values[list(holes), 0] = np.nan
    return values


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CSDIDenoiser(DenoiserConfig(2, channels=8, heads=2, layers=1)).eval()
        torch.nn.init.normal_(network.output_projection.weight)
    scaler = FeatureScaler(np.zeros(2), np.ones(2), np.full(2, -3.0), np.full(2, 3.0))
    schedule = make_schedule(n_steps=12)
    return FittedModel(
        network=network,
        schedule=schedule,
        grid=schedule.respaced([2, 5, 9]),
        keep_prob=np.ones(12),
        scaler=scaler,
        anchor=replace(Anchor.none(2), kind="linear", scale=torch.tensor([0.5, 0.7])),
        feature_names=None,
        window_steps=8,
    )


def _samples(model, series, **changes):
    plan = SamplingPlan(**{"n_samples": 3, "seed": 0, "overlap": 0.5, "device": CPU, **changes})
    return list(sample_holes(model, series, plan))


@pytest.mark.parametrize(("overlap", "stride"), [(0.0, 8), (0.5, 4), (0.99, 1), (0.3, 6)])
def test_stride_of_an_overlap(overlap, stride):
    assert window_stride(8, overlap) == stride


def test_only_windows_with_holes_are_sampled(model):
    series = [_series(20, 0), _series(20, 1, holes=[9]), _series(5, 2, holes=[0])]
    assert hole_windows(model, series, 0.5) == [(1, 4), (1, 8), (2, 0)]


def test_stretches_cover_every_hole_in_order(model):
    series = [_series(30, 1, holes=[0, 9, 29]), _series(3, 2, holes=[1])]
    stretches = _samples(model, series)
    places = [(s.series, s.start, s.stop) for s in stretches]
    assert places == sorted(places)
    covered = {(s.series, row) for s in stretches for row in range(s.start, s.stop)}
    assert {(0, 0), (0, 9), (0, 29), (1, 1)} <= covered
    for stretch in stretches:
        assert stretch.samples.shape == (3, stretch.stop - stretch.start, 2)
        assert np.abs(stretch.samples).max() <= 3 * (1 + 0.5) + 1e-5  # the widened range


def test_samples_do_not_depend_on_the_batches(model, monkeypatch):
    series = [_series(30, 1, holes=range(3, 25)), _series(11, 2, holes=[1, 10])]
    expected = _samples(model, series)
    monkeypatch.setattr(inference, "STATE_BYTES", {"cpu": 1})  # one window at a time
    monkeypatch.setattr(prepared, "ACTIVATION_BYTES", {"cpu": 1})  # one sample at a time
    for one, other in zip(_samples(model, series), expected, strict=True):
        assert (one.series, one.start, one.stop) == (other.series, other.start, other.stop)
        np.testing.assert_allclose(one.samples, other.samples, atol=1e-5)
    alone = _samples(model, series[:1])
    for one, other in zip(alone, expected, strict=False):
        np.testing.assert_allclose(one.samples, other.samples, atol=1e-5)


def test_the_seed_decides(model):
    series = [_series(10, 1, holes=[4])]
    first, same, other = (
        np.concatenate([part.samples for part in _samples(model, series, seed=seed)], axis=1)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first[:, 4, 0], other[:, 4, 0])
    observed = ~np.isnan(series[0])[: first.shape[1]]
    np.testing.assert_allclose(first[:, observed], other[:, observed])  # pinned


def test_finished_windows_and_steps_are_reported(model, monkeypatch):
    monkeypatch.setattr(inference, "STATE_BYTES", {"cpu": 1})
    series = [_series(30, 1, holes=range(3, 25))]
    n_windows = len(hole_windows(model, series, 0.5))
    finished, records = [], []
    plan = SamplingPlan(3, 0, 0.5, CPU, callback=records.append)
    list(sample_holes(model, series, plan, finished.append))
    assert finished == [1] * (3 * n_windows)  # once a step
    assert [record.position for record in records] == [2, 1, 0] * n_windows


@pytest.mark.parametrize("grid", ["respaced one", "respaced two", "masked one", "masked 5"])
@laws
def test_a_chain_that_starts_at_true_marginals_ends_at_them(grid, mu, v):
    """The start is affine in the noise: two values of it tell its mean and its variance."""
    grid = GRIDS[grid]
    marks = torch.from_numpy(norm.ppf(LEVELS, loc=mu, scale=v**0.5)).view(1, 1, 1, -1)
    noise = torch.tensor([0.0, 1.0], dtype=torch.float64).view(1, 2, 1, 1)
    first, second = start_at_marginals(noise, marks, float(grid.alpha_bar[-1])).flatten().tolist()
    start = first, (second - first) ** 2
    assert start == pytest.approx(true_start(grid, mu, v), rel=0.005, abs=1e-9)
    found = moments(ancestral, grid, exact_noise(mu, v), exact_variance(v), *start)
    assert found == pytest.approx((mu, v), rel=0.005, abs=1e-9)
