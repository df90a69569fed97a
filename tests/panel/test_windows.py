from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsimpute.errors import InputError
from tsimpute.panel import (
    blend_weights,
    cut,
    stitch,
    training_starts,
    validation_rows,
    window_starts,
)

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 12)).flatmap(
    lambda sizes: st.tuples(
        st.just(sizes[0]), st.just(sizes[1]), st.integers(1, sizes[1]), st.integers(0, 12)
    )
)


def test_known_starts() -> None:
    assert window_starts(10, 4, 2).tolist() == [0, 2, 4, 6]
    assert window_starts(11, 4, 4).tolist() == [0, 4, 8]
    assert window_starts(11, 4, 4, offset=1).tolist() == [0, 1, 5, 9]
    assert window_starts(3, 4, 2).tolist() == window_starts(4, 4, 2).tolist() == [0]
    assert training_starts(11, 4, 4).tolist() == [0, 4]
    assert training_starts(11, 4, 4, offset=3).tolist() == [3, 7]
    assert training_starts(5, 4, 4, offset=3).tolist() == [1]
    assert training_starts(3, 4, 4).tolist() == [0]


@settings(max_examples=100, deadline=None)
@given(SIZES)
def test_starts_cover_every_row_and_no_more(sizes: tuple[int, int, int, int]) -> None:
    n_times, window_steps, stride, shift = sizes
    starts = window_starts(n_times, window_steps, stride, shift % (stride + 1))
    covered = {row for s in starts for row in range(s, s + window_steps)}
    assert covered >= set(range(n_times))
    assert (np.diff(starts) > 0).all() and starts[-1] < n_times
    assert (starts[:-1] + window_steps < n_times).all()
    inside = training_starts(n_times, window_steps, stride, shift)
    assert len(inside) > 0
    assert (inside + window_steps <= max(n_times, window_steps)).all() and (inside >= 0).all()


def test_cut_pads_with_nan() -> None:
    values = np.arange(10.0).reshape(5, 2)
    windows, is_real = cut(values, [0, 3], 3)
    np.testing.assert_array_equal(windows[0], values[:3])
    np.testing.assert_array_equal(windows[1], [[6, 7], [8, 9], [np.nan, np.nan]])
    np.testing.assert_array_equal(is_real, [[True] * 3, [True, True, False]])
    windows[:] = -1
    assert values.min() == 0


def test_known_cross_fade() -> None:
    weights = blend_weights([0, 2], 4, 5)
    np.testing.assert_allclose(weights, [[1, 1, 2 / 3, 1 / 3], [1 / 3, 2 / 3, 1, 0]])


@settings(max_examples=100, deadline=None)
@given(SIZES)
def test_weights_sum_to_one(sizes: tuple[int, int, int, int]) -> None:
    n_times, window_steps, stride, _ = sizes
    starts = window_starts(n_times, window_steps, stride)
    weights = blend_weights(starts, window_steps, n_times)
    _, is_real = cut(np.zeros((n_times, 1)), starts, window_steps)
    np.testing.assert_array_equal(weights > 0, is_real)
    total = np.zeros(n_times + window_steps)
    n_covering = np.zeros(n_times + window_steps)
    for start, weight, real in zip(starts, weights, is_real, strict=True):
        total[start : start + window_steps] += weight
        n_covering[start : start + window_steps] += real
    np.testing.assert_allclose(total[:n_times], 1, rtol=1e-15 * window_steps)
    for start, weight in zip(starts, weights, strict=True):
        alone = n_covering[start : start + window_steps] == 1
        assert (weight[alone] == 1).all()


def brute_force(
    windows: np.ndarray, starts: np.ndarray, window_steps: int, n_times: int
) -> np.ndarray:
    """All windows at once: the weighted mean row by row, NaN where none covers."""
    weights = blend_weights(starts, window_steps, n_times)
    result = np.full((windows.shape[1], n_times, windows.shape[3]), np.nan)
    for row in range(n_times):
        terms = [
            (weights[i, row - start], windows[i, :, row - start])
            for i, start in enumerate(starts)
            if 0 <= row - start < window_steps
        ]
        if terms:
            result[:, row] = sum(weight * value for weight, value in terms)
    return result


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_stitching_equals_its_brute_force_twin(sizes: tuple[int, int, int, int], seed: int) -> None:
    n_times, window_steps, stride, _ = sizes
    rng = np.random.default_rng(seed)
    starts = window_starts(n_times, window_steps, stride)
    starts = starts[rng.random(len(starts)) < 0.7]  # some windows are skipped
    windows = rng.normal(size=(len(starts), 2, window_steps, 3))
    result = np.full((2, n_times, 3), np.nan)
    last_stop = 0
    for row_start, row_stop, stretch in stitch(iter(windows), starts, window_steps, n_times):
        assert last_stop <= row_start < row_stop
        assert stretch.shape == (2, row_stop - row_start, 3)
        result[:, row_start:row_stop] = stretch
        last_stop = row_stop
    expected = brute_force(windows, starts, window_steps, n_times)
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_series_stays_exactly_constant(dtype: type) -> None:
    starts = window_starts(50, 8, 3)
    windows = np.full((len(starts), 2, 8, 1), 0.1, dtype=dtype)
    for _, _, stretch in stitch(windows, starts, 8, 50):
        assert stretch.dtype == dtype
        assert (stretch == dtype(0.1)).all()


def test_a_stretch_comes_before_the_next_window_is_asked_for() -> None:
    asked = 0

    def windows() -> Iterator[np.ndarray]:
        nonlocal asked
        for _ in range(4):
            asked += 1
            yield np.zeros((1, 4, 1))

    stretches = []
    for row_start, row_stop, _ in stitch(windows(), [0, 2, 4, 12], 4, 14):
        stretches.append((row_start, row_stop))
        assert asked == len(stretches)
    assert stretches == [(0, 2), (2, 4), (4, 8), (12, 14)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 30), st.floats(0.01, 0.5), st.integers(0, 99))
def test_validation_rows_are_a_few_long_stretches(
    n_times: int, window_steps: int, fraction: float, seed: int
) -> None:
    held_out = validation_rows(n_times, window_steps, fraction, np.random.default_rng(seed))
    if n_times < 5 * window_steps:
        assert not held_out.any()
        return
    edges = np.diff(np.concatenate([[0], held_out.astype(int), [0]]))
    lengths = np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0)
    assert 1 <= len(lengths) <= 4 and lengths.min() >= window_steps
    assert held_out.sum() <= max(fraction * n_times + 0.5, window_steps)
    assert held_out.sum() > fraction * n_times - 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: window_starts(0, 4, 2), "n_times: got 0"),
        (lambda: window_starts(9, 0, 2), "window_steps: got 0"),
        (lambda: window_starts(9, 4, 0), "stride: got 0"),
        (lambda: window_starts(9, 4, 5), "stride: got 5, expected at most window_steps=4"),
        (lambda: window_starts(9, 4, 2, 3), "offset: got 3"),
        (lambda: training_starts(9, 4, 2, -1), "offset: got -1"),
        (lambda: cut(np.zeros((3, 1)), [3], 2), "starts: got"),
        (lambda: blend_weights([2, 0], 2, 4), "strictly increasing"),
        (lambda: list(stitch([], [0], 2, 4)), "windows: got 0, expected one for each of 1"),
        (lambda: list(stitch(np.zeros((2, 1, 2, 1)), [0], 2, 4)), "more than the 1 starts"),
        (lambda: validation_rows(9, 2, 0.6, np.random.default_rng(0)), "fraction: got 0.6"),
    ],
)
def test_sizes_out_of_range(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]
