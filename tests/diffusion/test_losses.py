"""Noising and the loss against plain loops."""

from __future__ import annotations

import pytest
import torch

from tsimpute.diffusion.losses import noise_to_level, squared_error_per_series
from tsimpute.samplers.protocol import clean_values


def test_noise_to_level_of_known_numbers():
    x0, noise = torch.full((2, 1, 1), 3.0), torch.full((2, 1, 1), -1.0)
    noisy = noise_to_level(x0, noise, torch.tensor([0.64, 1.0], dtype=torch.float64))
    assert noisy.flatten().tolist() == pytest.approx([0.8 * 3 - 0.6, 3.0])
    assert noisy.dtype == torch.float32


def test_noise_to_level_takes_states_of_any_shape():
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(3, 1, 4, 2, generator=generator) for _ in range(2))
    level = torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64)
    flat = noise_to_level(x0.reshape(3, 8), noise.reshape(3, 8), level)
    torch.testing.assert_close(noise_to_level(x0, noise, level).reshape(3, 8), flat)
    torch.testing.assert_close(flat[2], 0.1**0.5 * x0[2].flatten() + 0.9**0.5 * noise[2].flatten())


def test_clean_values_undo_the_noise():
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(3, 4, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    level = torch.tensor([0.9, 0.5, 3.4e-5], dtype=torch.float64)
    noisy = noise_to_level(x0, noise, level)
    for i, a in enumerate(level.tolist()):
        torch.testing.assert_close(clean_values(noisy[i], noise[i], a), x0[i], rtol=0, atol=1e-11)


def test_squared_error_is_summed_over_target_cells_only():
    generator = torch.Generator().manual_seed(1)
    noise, predicted = (torch.randn(3, 4, 2, generator=generator) for _ in range(2))
    target_mask = torch.rand(3, 4, 2, generator=generator) < 0.5
    target_mask[2] = False
    predicted[~target_mask] = torch.nan  # must not be read
    error, n_cells = squared_error_per_series(noise, predicted, target_mask)
    for i in range(3):
        cells = [(t, k) for t in range(4) for k in range(2) if target_mask[i, t, k]]
        expected = sum(float(noise[i, t, k] - predicted[i, t, k]) ** 2 for t, k in cells)
        assert float(error[i]) == pytest.approx(expected, rel=1e-6)
        assert int(n_cells[i]) == len(cells)


def test_a_cell_outside_the_target_passes_no_gradient():
    predicted = torch.zeros(1, 2, 1, requires_grad=True)
    target_mask = torch.tensor([[[True], [False]]])
    error, _ = squared_error_per_series(torch.ones(1, 2, 1), predicted, target_mask)
    error.sum().backward()
    assert predicted.grad is not None
    assert predicted.grad.flatten().tolist() == [-2.0, 0.0]
