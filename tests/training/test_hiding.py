"""Hidden cells: by the holes of all windows, not of a batch; and where there are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tsimpute.errors import InputError
from tsimpute.training.batches import Windows, WindowSource
from tsimpute.training.hiding import BY_PATTERNS, check_hides, hide
from tsimpute.training.targets import STRATEGIES, draw_targets


def _source(values: np.ndarray) -> WindowSource:
    return WindowSource([values], [np.ones(len(values), dtype=bool)], 4, 4)


def _holed(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((40, 2)) < 0.3, np.nan, 1.0)


def _hidden(strategy: str, windows: Windows, patterns: WindowSource, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return hide(strategy, windows, patterns, np.random.default_rng(seed), generator)


def test_a_batch_of_one_has_the_holes_of_other_windows_laid_over_it() -> None:
    source = _source(_holed())
    alone = source.load([(0, 4)])
    assert any(_hidden("historical", alone, source, seed).any() for seed in range(5))


@pytest.mark.parametrize("strategy", BY_PATTERNS)
def test_holes_come_from_the_patterns(strategy: str) -> None:
    """Every window of the patterns lacks its second half, and nothing is missing here."""
    half = np.tile([[1.0], [1.0], [np.nan], [np.nan]], (10, 2))
    patterns = WindowSource([half[:4]], [np.ones(4, dtype=bool)], 4, 4)
    windows = _source(np.ones((40, 2))).load([(0, i) for i in range(0, 36, 4)])
    expected = torch.tensor([False, False, True, True])[:, None].expand(4, 2)
    is_laid = (_hidden(strategy, windows, patterns, 0) == expected).all(2).all(1)
    assert is_laid.all() if strategy == "historical" else is_laid.any()


@pytest.mark.parametrize("strategy", sorted({*STRATEGIES} - {*BY_PATTERNS}))
def test_other_strategies_ignore_patterns_and_draw_what_they_always_drew(strategy: str) -> None:
    windows = _source(_holed()).load([(0, i) for i in range(0, 36, 4)])
    observed, rng = windows.observed_mask, np.random.default_rng(3)
    shuffled = observed[rng.permutation(len(windows))]
    expected = draw_targets(strategy, observed, shuffled, torch.Generator().manual_seed(3))
    rng_after = np.random.default_rng(3)
    found = hide(strategy, windows, _source(_holed(1)), rng_after, torch.Generator().manual_seed(3))
    assert torch.equal(found, expected)
    assert rng_after.random() == rng.random()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_hides_cells_passes_the_check(strategy: str) -> None:
    source = _source(_holed())
    check_hides(strategy, source, source, batch_size=1, seed=0)


def test_where_no_cell_is_ever_hidden_it_is_said() -> None:
    full = _source(np.ones((40, 2)))
    check_hides("historical", full, _source(_holed()), 4, 0)
    check_hides("mix", full, full, 4, 0)  # half of it is random
    with pytest.raises(InputError, match=r"target_strategy='historical' hid no cell.*patterns="):
        check_hides("historical", full, full, 4, 0)
    same = _holed()
    same[:, 1] = np.nan  # a hole that all windows have hides nothing
    same[:, 0] = 1.0
    with pytest.raises(InputError, match="hid no cell"):
        check_hides("historical", _source(same), _source(same), 4, 0)
