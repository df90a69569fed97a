"""Keeping the implied clean values within the range of the data."""

from __future__ import annotations

import pytest
import torch

from tsimpute.diffusion.schedule import make_schedule
from tsimpute.samplers import Prediction, ancestral
from tsimpute.samplers.protocol import clamped, clean_values

LEVELS = [0.9999, 0.5, 0.01, 3.4e-5]


def _some_noise(x, network_step, alpha_bar):
    return Prediction(torch.sin(3 * x) + 0.3)


@pytest.mark.parametrize("level", LEVELS)
def test_clean_values_stay_within_their_bounds(level):
    x = torch.linspace(-4, 4, 200, dtype=torch.float64).view(2, 25, 4)
    low = torch.tensor([-1.0, -0.5, -2.0, 0.0], dtype=torch.float64)
    high = torch.tensor([1.0, 0.5, 2.0, 0.1], dtype=torch.float64)
    noise = clamped(_some_noise, low, high)(x, 7.0, level).noise
    clean = clean_values(x, noise, level)
    assert torch.all(clean >= low - 1e-9)
    assert torch.all(clean <= high + 1e-9)
    expected = clean_values(x, _some_noise(x, 7.0, level).noise, level).clamp(low, high)
    torch.testing.assert_close(clean, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("level", LEVELS)
def test_inside_the_bounds_the_noise_is_untouched(level):
    x = torch.linspace(-4, 4, 200)
    raw = _some_noise(x, 7.0, level).noise
    clean = clean_values(x, raw, level)
    inside = clean.abs() <= 2
    bound = torch.tensor(2.0)
    noise = clamped(_some_noise, -bound, bound)(x, 7.0, level).noise
    assert torch.equal(noise[inside], raw[inside])
    assert torch.equal(noise != raw, ~inside)
    wide = torch.tensor(1e9)
    assert torch.equal(clamped(_some_noise, -wide, wide)(x, 7.0, level).noise, raw)


def test_bounds_may_differ_from_window_to_window():
    """(N, 1, L, K) bounds of states (N, S, L, K): the distance from an anchor has such bounds."""
    x = torch.randn(3, 5, 4, 2, generator=torch.Generator().manual_seed(0))
    low = -torch.rand(3, 1, 4, 2, generator=torch.Generator().manual_seed(1))
    noise = clamped(_some_noise, low, -low)(x, 0.0, 0.5).noise
    assert noise.shape == x.shape
    assert torch.all(clean_values(x, noise, 0.5).abs() <= -low + 1e-6)


def test_a_wild_network_cannot_leave_the_bounds():
    """At CSDI's last step an error of the noise is multiplied by 170."""
    bound = torch.tensor(3.0)
    denoise = clamped(lambda x, step, level: Prediction(torch.full_like(x, 5.0)), -bound, bound)
    records = []
    generator = torch.Generator().manual_seed(0)
    end = ancestral(
        denoise,
        torch.randn(100, generator=generator),
        make_schedule().full(),
        draw_noise=lambda: torch.randn(100, generator=generator),
        callback=records.append,
    )
    assert end.abs().max() <= 3 + 1e-4
    assert max(float(record.x0.abs().max()) for record in records) <= 3 + 1e-2


def test_passes_on_what_it_is_told():
    heard = []

    def denoise(x, network_step, alpha_bar):
        heard.append((network_step, alpha_bar))
        return Prediction(x)

    bound = torch.tensor(1.0)
    clamped(denoise, -bound, bound)(torch.zeros(1), 3.5, 0.25)
    assert heard == [(3.5, 0.25)]
