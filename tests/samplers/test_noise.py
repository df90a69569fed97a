"""Noise that belongs to a row of a series, whatever window and batch it is seen in."""

from __future__ import annotations

import pytest
import torch

from tsimpute.sampling.noise import BlockNoise

CPU = torch.device("cpu")


def _noise(places, seed=0, shape=(3, 8, 2), block=4):
    return BlockNoise(seed, places, shape, block, CPU)


@pytest.mark.parametrize(("length", "block"), [(8, 4), (8, 8), (10, 4), (7, 3), (5, 1), (3, 8)])
def test_overlapping_windows_see_the_same_numbers_on_common_rows(length, block):
    starts = [block * i for i in range(4)]
    noise = _noise([(0, start) for start in starts], shape=(3, length, 2), block=block)
    for _ in range(3):
        drawn = noise.draw()
        assert drawn.shape == (4, 3, length, 2)
        for i, first in enumerate(starts):
            for j, second in enumerate(starts[:i]):
                common = second + length - first
                if common > 0:
                    assert torch.equal(drawn[i][:, :common], drawn[j][:, first - second :])


def test_a_window_does_not_depend_on_its_batch():
    places = [(0, 0), (0, 4), (2, 8), (1, 0), (0, 12)]
    together = _noise(places)
    alone = [_noise([place]) for place in places]
    backwards = _noise(places[::-1])
    for _ in range(3):
        drawn = together.draw()
        assert torch.equal(torch.cat([noise.draw() for noise in alone]), drawn)
        assert torch.equal(backwards.draw().flip(0), drawn)


def test_everything_else_is_different():
    first, second = (_noise([(0, 0), (1, 0), (0, 8)]) for _ in range(2))
    drawn = first.draw()
    assert torch.equal(second.draw(), drawn)
    assert not torch.equal(first.draw(), drawn)  # the next draw
    assert not torch.equal(_noise([(0, 0), (1, 0), (0, 8)], seed=1).draw(), drawn)
    assert not torch.equal(drawn[0], drawn[1])  # another series
    assert not torch.equal(drawn[0], drawn[2])  # other rows
    assert not torch.equal(drawn[0, 0], drawn[0, 1])  # another sample
    assert drawn.unique().numel() == drawn.numel()


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**63])
def test_takes_large_seeds(seed):
    assert torch.isfinite(_noise([(0, 0)], seed=seed).draw()).all()


def test_is_standard_normal():
    places = [(i, 8 * b) for i in range(5) for b in range(5)]
    noise = _noise(places, shape=(20, 8, 3), block=8)
    drawn = torch.stack([noise.draw() for _ in range(5)])
    assert drawn.dtype == torch.float32
    n = drawn.numel()
    assert abs(float(drawn.mean())) < 5 / n**0.5
    assert abs(float(drawn.var()) - 1) < 5 * (2 / n) ** 0.5
    assert abs(float(drawn.pow(4).mean()) - 3) < 5 * (96 / n) ** 0.5
    for axis in range(drawn.ndim):  # neighbours along every axis have nothing in common
        ahead, behind = drawn.narrow(axis, 1, drawn.shape[axis] - 1), drawn
        behind = behind.narrow(axis, 0, drawn.shape[axis] - 1)
        assert abs(float((ahead * behind).mean())) < 5 / ahead.numel() ** 0.5
