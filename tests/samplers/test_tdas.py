"""Spectral preconditioning: what stays exact, and the spectrum of windows with holes.

With an affine denoiser the covariance of the samples is exact: the chain is run on every unit
vector, as the start and as each draw, and the products of the answers are summed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.fft import irfft, rfft

from tests.samplers.oracle import GRIDS, SCHEDULE, every_grid, exact_noise, exact_variance
from tsimpute.errors import InputError
from tsimpute.samplers import Prediction, ancestral
from tsimpute.samplers.protocol import clamped
from tsimpute.samplers.tdas import tdas, temporal_spectrum
from tsimpute.samplers.variance import fixed

lengths = pytest.mark.parametrize("n_times", [1, 2, 7, 12])


def _red(n_times, rho=0.8):
    """Spectrum of an autoregression of order one on a circle, with mean 1."""
    turn = 2 * math.pi * torch.arange(n_times // 2 + 1, dtype=torch.float64) / n_times
    power = 1 / (1 - 2 * rho * torch.cos(turn) + rho**2)
    return power / irfft(power + 0j, n=n_times)[0]


def _exact_stationary(power, n_times):
    """Denoiser that knows E[noise | x] for stationary Gaussian data of this spectrum."""

    def denoise(x, network_step, alpha_bar):
        gain = math.sqrt(1 - alpha_bar) / (alpha_bar * power + 1 - alpha_bar)
        return Prediction(irfft(rfft(x, dim=-2) * gain[:, None], n=n_times, dim=-2))

    return denoise


def _exact_amount(power, n_times):
    """Mean over cells of Var[x_0 | x] for such data."""

    def variance(grid, position, prediction):
        a = float(grid.alpha_bar[position])
        unknown = power * (1 - a) / (a * power + 1 - a)
        return float(irfft(unknown + 0j, n=n_times)[0])

    return variance


def _covariances(sampler, denoise, grid, variance, n_times, start=None):
    """Covariance (L, L) of the state of one feature after each step, by position."""
    unit = torch.eye(n_times, dtype=torch.float64)
    sources = torch.zeros(len(grid) + 1, len(grid) + 1, n_times, n_times, 1, dtype=torch.float64)
    for i in range(len(sources)):
        sources[i, i] = unit[..., None]  # the i-th input is all unit states for the i-th run
    sources[0, 0] = (unit if start is None else start)[..., None]
    inputs, states = iter(sources), {}

    def note(record):
        responses = record.x.reshape(-1, n_times)
        states[record.position] = responses.T @ responses

    sampler(denoise, next(inputs), grid, variance, lambda: next(inputs), note)
    return states


# --------------------------------------------------------------------------------- flat: ancestral


@every_grid
@lengths
@pytest.mark.parametrize("variance", [fixed, exact_variance(0.7), "by cell"])
def test_a_flat_spectrum_is_ancestral_sampling_draw_for_draw(grid, n_times, variance):
    if variance == "by cell":
        by_cell = torch.linspace(0, 1, n_times * 2, dtype=torch.float64).view(n_times, 2)

        def variance(grid, position, prediction):
            return exact_variance(0.7)(grid, position, prediction) * by_cell

    def denoise(x, network_step, alpha_bar):
        return Prediction(torch.sin(x + 0.1 * network_step))

    ends, counts, records = [], [], [[], []]
    for i, sampler in enumerate((ancestral, tdas(torch.full((n_times // 2 + 1,), 3.0)))):
        generator, draws = torch.Generator().manual_seed(0), []

        def draw(generator=generator, draws=draws):
            draws.append(torch.randn(5, n_times, 2, generator=generator, dtype=torch.float64))
            return draws[-1]

        ends.append(sampler(denoise, draw(), grid, variance, draw, records[i].append))
        counts.append(len(draws))
    assert counts[0] == counts[1]
    torch.testing.assert_close(ends[1], ends[0], rtol=0, atol=1e-9)
    for ours, theirs in zip(records[1], records[0], strict=True):
        assert ours.position == theirs.position
        torch.testing.assert_close(ours.x0, theirs.x0, rtol=0, atol=1e-8)
        expected = torch.as_tensor(theirs.spread, dtype=torch.float64)
        spread = torch.as_tensor(ours.spread, dtype=torch.float64)
        torch.testing.assert_close(spread.expand(n_times, 2), expected.expand(n_times, 2))


# ----------------------------------------------------------------------------- why it is valid


@every_grid
@pytest.mark.parametrize("rho", [0.8, -0.5, 0.99])
def test_whatever_the_spectrum_the_noise_of_every_state_is_white(grid, rho):
    """Where x_0 is known, each state is sqrt(S) x_0 plus white noise of variance 1 - S."""
    known = exact_noise(0.0, 0.0)
    states = _covariances(tdas(_red(8, rho)), known, grid, fixed, 8)
    for position, found in states.items():
        level = float(grid.alpha_bar_previous[position])
        expected = (1 - level) * torch.eye(8, dtype=torch.float64)
        # the start has variance 1, as it should where x_0 is 0 and A tiny
        top = 1 - float(grid.alpha_bar[-1])
        start_is_wrong = 1 / top - 1
        torch.testing.assert_close(
            found, expected, rtol=0, atol=(1 - level) * start_is_wrong + 1e-9
        )


@every_grid
@pytest.mark.parametrize("n_times", [7, 12])
def test_stationary_gaussians_are_sampled_exactly_on_every_grid(grid, n_times):
    power = _red(n_times)
    top = float(grid.alpha_bar[-1])
    by_frequency = (top * power + 1 - top).sqrt()
    unit = torch.eye(n_times, dtype=torch.float64)
    start = irfft(rfft(unit, dim=0) * by_frequency[:, None], n=n_times, dim=0)  # the true law
    states = _covariances(
        tdas(7 * power),
        _exact_stationary(power, n_times),
        grid,
        _exact_amount(power, n_times),
        n_times,
        start,
    )
    truth = irfft(rfft(unit, dim=0) * power[:, None], n=n_times, dim=0)
    torch.testing.assert_close(states[0], truth, rtol=0, atol=1e-8)


def test_ancestral_sampling_does_not_know_how_what_is_missing_lies_in_time():
    grid, power = GRIDS["respaced 5"], _red(12)
    errors = []
    for sampler in (ancestral, tdas(power)):
        states = _covariances(
            sampler, _exact_stationary(power, 12), grid, _exact_amount(power, 12), 12
        )
        unit = torch.eye(12, dtype=torch.float64)
        truth = irfft(rfft(unit, dim=0) * power[:, None], n=12, dim=0)
        errors.append(float((states[0] - truth).abs().max()))
    assert errors[1] < 0.02 < 0.2 < errors[0]


def test_where_the_data_have_power_a_step_renews_more_of_the_noise():
    grid, power = SCHEDULE.respaced([10, 30]), _red(12)
    draws = []

    def draw():
        draws.append(1)
        return torch.eye(12, dtype=torch.float64)[0][:, None]  # all frequencies alike

    records = []
    start = torch.zeros(12, 1, dtype=torch.float64)
    tdas(power)(exact_noise(0, 0), start, grid, fixed, draw, records.append)
    found = rfft(records[0].x[:, 0]).abs().square()
    room = (1 - grid.alpha_bar[0]) / grid.posterior_variance[1]
    expected = grid.posterior_variance[1] * power.clamp(max=float(room))
    torch.testing.assert_close(found, expected)


# ------------------------------------------------------------------------------------ given cells


def test_pinned_cells_do_not_spoil_the_others():
    """The network talks nonsense of given cells; equal bounds replace it by an exact answer."""
    grid, is_given = GRIDS["respaced 5"], (torch.arange(8) % 3 == 0)[:, None]

    def denoise(x, network_step, alpha_bar):
        noise = exact_noise(0.0, 0.0)(x, network_step, alpha_bar).noise
        return Prediction(torch.where(is_given, 0.2 * x, noise))

    bound = torch.full((8, 1), 1e9, dtype=torch.float64).where(~is_given, 0.0)
    errors = []
    for network in (clamped(denoise, -bound, bound), denoise):
        states = _covariances(tdas(_red(8)), network, grid, fixed, 8)
        level = float(grid.alpha_bar[0])
        white = (1 - level) * torch.eye(8, dtype=torch.float64)
        off = (states[1] - white)[~is_given[:, 0]][:, ~is_given[:, 0]]
        errors.append(float(off.abs().max()) / (1 - level))
    assert errors[0] < 0.01 < 0.1 < errors[1]


# -------------------------------------------------------------------------------------- mechanics


@every_grid
def test_callback_draws_and_dtype(grid):
    records, draws = [], []

    def draw():
        draws.append(1)
        return torch.ones(3, 12, 2)

    start = torch.ones(3, 12, 2)
    spectrum = torch.stack([_red(12), _red(12, -0.3)], dim=1)
    end = tdas(spectrum)(exact_noise(0.4, 1), start, grid, fixed, draw, records.append)
    assert [record.position for record in records] == list(reversed(range(len(grid))))
    assert len(draws) == len(grid) - 1
    assert records[-1].x is end
    assert records[-1].spread == 0
    torch.testing.assert_close(records[-1].x0, end)
    assert (end.shape, end.dtype) == (start.shape, torch.float32)


def test_without_a_source_of_noise_the_global_one_is_used():
    ends = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            ends.append(tdas(_red(6))(exact_noise(0, 1), torch.ones(6, 2), SCHEDULE.full()))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_each_feature_may_have_a_spectrum_of_its_own():
    spectrum, grid = torch.stack([_red(12), _red(12, -0.3)], dim=1), GRIDS["respaced 5"]
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randn(12, 2, generator=generator) for _ in range(5)]
    both = tdas(spectrum)(exact_noise(0, 1), draws[0], grid, fixed, iter(draws[1:]).__next__)
    for k in range(2):
        one = [draw[:, k : k + 1] for draw in draws]
        alone = tdas(spectrum[:, k])(exact_noise(0, 1), one[0], grid, fixed, iter(one[1:]).__next__)
        torch.testing.assert_close(both[:, k : k + 1], alone)


@pytest.mark.parametrize(
    ("spectrum", "message"),
    [
        (torch.ones(2, 2, 2), "shape"),
        (torch.ones(0), "shape"),
        (torch.tensor([1.0, -1.0]), "negative"),
        (torch.tensor([1.0, math.nan]), "finite"),
        (torch.zeros(4), "0 throughout"),
    ],
)
def test_a_spectrum_that_cannot_be_used_is_refused(spectrum, message):
    with pytest.raises(InputError, match=message):
        tdas(spectrum)


@pytest.mark.parametrize("shape", [(6,), (8,), (7, 3)])
def test_a_spectrum_has_to_fit_the_windows(shape):
    with pytest.raises(InputError, match=r"expected \(7, 2\) for windows of 12"):
        tdas(torch.ones(shape))(exact_noise(0, 1), torch.ones(12, 2), SCHEDULE.full())


# -------------------------------------------------------------------------------- the spectrum


def _windows(n, n_times, seed=0):
    """Windows with the spectra of _red and of white noise, far from 0 mean."""
    white = torch.randn(n, n_times, 2, generator=torch.Generator().manual_seed(seed)).double()
    gain = torch.stack([_red(n_times).sqrt(), torch.ones(n_times // 2 + 1)], dim=1)
    return 5 + irfft(rfft(white, dim=1) * gain, n=n_times, dim=1)


@lengths
def test_without_holes_the_spectrum_is_the_mean_periodogram(n_times):
    windows = _windows(30, n_times)
    found = temporal_spectrum(windows, torch.ones_like(windows, dtype=torch.bool))
    centred = windows - windows.mean((0, 1))
    periodogram = np.abs(np.fft.fft(centred.numpy(), axis=1)) ** 2
    expected = periodogram.mean(0) / periodogram.mean((0, 1))
    torch.testing.assert_close(found, torch.from_numpy(expected[: n_times // 2 + 1]))


def test_with_holes_it_is_the_transform_of_the_mean_over_pairs():
    windows = _windows(4, 7)
    seen = torch.rand(4, 7, 2, generator=torch.Generator().manual_seed(3)) < 0.6
    found = temporal_spectrum(windows.where(seen, math.nan), seen)
    for k in range(2):
        mean = windows[..., k][seen[..., k]].mean()
        covariance = []
        for lag in range(7):
            products = [
                float((windows[n, t, k] - mean) * (windows[n, (t + lag) % 7, k] - mean))
                for n in range(4)
                for t in range(7)
                if seen[n, t, k] and seen[n, (t + lag) % 7, k]
            ]
            covariance.append(np.mean(products) if products else 0.0)
        power = np.fft.fft(covariance).real.clip(min=0)
        np.testing.assert_allclose(found[:, k], (power / power.mean())[:4], atol=1e-9)


def test_cells_missing_at_random_do_not_bend_the_spectrum():
    windows = _windows(4000, 12)
    seen = torch.rand(windows.shape, generator=torch.Generator().manual_seed(4)) < 0.3
    found = temporal_spectrum(windows.where(seen, math.nan), seen)
    expected = torch.stack([_red(12), torch.ones(7, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.1)


def test_what_never_varies_or_is_never_seen_counts_as_flat():
    windows = torch.full((3, 6, 2), 4.2)
    seen = torch.ones(3, 6, 2, dtype=torch.bool)
    seen[..., 1] = False
    assert torch.equal(temporal_spectrum(windows, seen), torch.ones(4, 2, dtype=torch.float64))


@pytest.mark.parametrize(("shape", "mask_shape"), [((6, 2), (6, 2)), ((3, 6, 2), (3, 6, 1))])
def test_windows_and_their_mask_have_one_shape(shape, mask_shape):
    with pytest.raises(InputError, match="same shape"):
        temporal_spectrum(torch.ones(shape), torch.ones(mask_shape, dtype=torch.bool))
