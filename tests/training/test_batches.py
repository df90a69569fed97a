"""Windows and where they come from, against brute force."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.training.batches import Windows, WindowSource


def _numbered(lengths, n_features=2):
    """Series whose every value says where it is from: 1000 i + row."""
    return [
        np.repeat(1000.0 * i + np.arange(n)[:, None], n_features, axis=1)
        for i, n in enumerate(lengths)
    ]


def _random_source(seed):
    """Series of any length with unobserved rows, unusable rows, any window and stride."""
    rng = np.random.default_rng(seed)
    series = _numbered(rng.integers(1, 30, size=rng.integers(1, 4)))
    usable = []
    for values in series:
        values[rng.random(len(values)) < rng.choice([0.0, 0.5, 0.9])] = np.nan
        usable.append(rng.random(len(values)) >= rng.choice([0.0, 0.1]))
    window_steps = int(rng.integers(1, 9))
    return WindowSource(series, usable, window_steps, int(rng.integers(1, window_steps + 3)))


def _brute_starts(values, usable, window_steps, stride, offset):
    starts = []
    last = max(len(values) - window_steps, 0)
    for start in range(last + 1):
        rows = slice(start, start + window_steps)
        on_grid = start >= offset and (start - offset) % stride == 0
        if on_grid and usable[rows].all() and not np.isnan(values[rows]).all():
            starts.append(start)
    return starts


seeds = st.integers(0, 2**32 - 1)


@given(seeds)
@settings(max_examples=80, deadline=None)
def test_places_without_an_offset_equal_brute_force(seed):
    source = _random_source(seed)
    expected = [
        (i, start)
        for i, (values, usable) in enumerate(zip(source.series, source.usable_rows, strict=True))
        for start in _brute_starts(values, usable, source.window_steps, source.stride, 0)
    ]
    assert source.places(None) == expected


@given(seeds)
@settings(max_examples=80, deadline=None)
def test_places_of_an_epoch_equal_brute_force_at_some_offset(seed):
    source = _random_source(seed)
    places = source.places(np.random.default_rng(seed))
    for i, (values, usable) in enumerate(zip(source.series, source.usable_rows, strict=True)):
        slack = max(len(values) - source.window_steps, 0)
        possible = [
            _brute_starts(values, usable, source.window_steps, source.stride, offset)
            for offset in range(min(source.stride, slack + 1))
        ]
        assert [start for j, start in places if j == i] in possible


def test_every_alignment_is_seen():
    source = WindowSource(_numbered([20]), [np.ones(20, dtype=bool)], 5, 4)
    rng = np.random.default_rng(0)
    starts = {start for _ in range(100) for _, start in source.places(rng)}
    assert starts == set(range(16))


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_no_window_touches_an_unusable_row(seed):
    source = _random_source(seed)
    forbidden = {
        1000.0 * i + row
        for i, usable in enumerate(source.usable_rows)
        for row in np.flatnonzero(~usable)
    }
    rng = np.random.default_rng(seed)
    for _, batch in source.epoch(3, rng):
        assert not forbidden & set(batch.values[batch.observed_mask].tolist())
        assert batch.observed_mask.any(dim=2).any(dim=1).all()  # there is something to learn


@given(seeds, st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_an_epoch_holds_every_window_once(seed, batch_size):
    source = _random_source(seed)
    places = source.places(np.random.default_rng(seed))
    epoch = list(source.epoch(batch_size, np.random.default_rng(seed)))
    shares, batches = [share for share, _ in epoch], [batch for _, batch in epoch]
    assert shares == [i * batch_size / len(places) for i in range(len(batches))]
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    drawn = [batch.values[i].tolist() for batch in batches for i in range(len(batch))]
    expected = source.load(places).values.tolist() if places else []
    assert sorted(drawn) == sorted(expected)


def test_epochs_come_in_random_order():
    source = WindowSource(_numbered([80]), [np.ones(80, dtype=bool)], 4, 4)
    rng = np.random.default_rng(0)
    orders = [
        [float(value) for _, batch in source.epoch(4, rng) for value in batch.values[:, 0, 0]]
        for _ in range(2)
    ]
    assert orders[0] != sorted(orders[0])
    assert orders[0] != orders[1]


def test_a_short_series_is_padded():
    source = WindowSource(_numbered([3]), [np.ones(3, dtype=bool)], 5, 5)
    windows = source.load(source.places(None))
    assert windows.values[0, :, 0].tolist() == [0, 1, 2, 0, 0]
    assert windows.is_real.tolist() == [[True, True, True, False, False]]
    assert windows.observed_mask[0, :, 1].tolist() == [True, True, True, False, False]


def test_number_of_batches():
    def n_batches(n_times, batch_size):
        usable = [np.ones(n_times, dtype=bool)]
        return WindowSource(_numbered([n_times]), usable, 4, 4).n_batches(batch_size)

    assert n_batches(40, 3) == 4
    assert n_batches(36, 3) == 3
    assert n_batches(2, 16) == 1


def test_patterns_count_padding_as_observed():
    series = [np.where(np.arange(3)[:, None] == 1, np.nan, np.ones((3, 2)))]
    source = WindowSource(series, [np.ones(3, dtype=bool)], 5, 5)
    patterns = source.random_patterns(4, np.random.default_rng(0))
    assert patterns.shape == (4, 5, 2)
    assert patterns[..., 0].tolist() == [[True, False, True, True, True]] * 4


def test_patterns_are_those_of_windows():
    series = _numbered([24])
    series[0][np.random.default_rng(0).random((24, 2)) < 0.4] = np.nan
    source = WindowSource(series, [np.ones(24, dtype=bool)], 4, 4)
    known = {str((~np.isnan(series[0][i : i + 4])).tolist()) for i in range(21)}
    patterns = source.random_patterns(50, np.random.default_rng(0))
    drawn = {str(pattern.tolist()) for pattern in patterns}
    assert drawn <= known
    assert len(drawn) > 1


# --------------------------------------------------------------------------------------- windows


def _windows():
    values = np.arange(24.0).reshape(3, 4, 2)
    values[1, 2] = np.nan
    is_real = np.ones((3, 4), dtype=bool)
    is_real[2, 3] = False
    return Windows.from_arrays(values, is_real)


def test_missing_values_become_zero():
    windows = _windows()
    assert windows.values.dtype == torch.float32
    assert windows.values[1, 2].tolist() == [0, 0]
    assert windows.observed_mask[1].tolist() == [[True] * 2, [True] * 2, [False] * 2, [True] * 2]


def test_some_of_the_windows():
    windows = _windows()
    for rows in (np.array([2, 0]), torch.tensor([2, 0]), slice(1, None)):
        taken = windows.take(rows)
        assert len(taken) == 2
        assert torch.equal(taken.values, windows.values[rows])
        assert torch.equal(taken.observed_mask, windows.observed_mask[rows])
        assert torch.equal(taken.is_real, windows.is_real[rows])


def test_padding_is_none_where_there_is_none():
    windows = _windows()
    assert torch.equal(windows.padding, windows.is_real)
    assert windows.take(slice(0, 2)).padding is None


def test_moves_to_a_device():
    windows = _windows()
    moved = windows.to(torch.device("cpu"))
    assert torch.equal(moved.values, windows.values)
    assert len(moved) == 3
