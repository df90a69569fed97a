"""Parts of a batch, each by a thread of its own."""

import threading
import time

import pytest
import torch

from tsimpute.denoiser.parallel import ACTIVATIONS, even_parts, side_by_side

CPU = torch.device("cpu")


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_parts", [1, 2, 7])
def test_results_come_in_the_order_of_the_parts(three_threads, n_parts):
    def slow_at_first(part):
        time.sleep(0.01 * (n_parts - part))
        return part

    assert side_by_side(slow_at_first, range(n_parts), CPU) == list(range(n_parts))


def test_as_many_parts_at_once_as_there_are_threads(three_threads):
    meeting = threading.Barrier(3, timeout=30)
    assert len(set(side_by_side(lambda _: meeting.wait(), range(3), CPU))) == 3


def test_every_part_has_one_thread_and_the_others_come_back(three_threads):
    assert side_by_side(lambda _: torch.get_num_threads(), range(5), CPU) == [1] * 5
    assert torch.get_num_threads() == 3


def test_an_accelerator_is_given_one_part_after_the_other(three_threads):
    names = side_by_side(lambda _: threading.get_ident(), range(5), torch.device("meta"))
    assert set(names) == {threading.get_ident()}


def test_one_thread_or_one_part_needs_no_other(three_threads):
    here = threading.get_ident()
    assert side_by_side(lambda _: threading.get_ident(), range(1), CPU) == [here]
    torch.set_num_threads(1)
    assert side_by_side(lambda _: threading.get_ident(), range(3), CPU) == [here] * 3


@pytest.mark.parametrize("wanted", [True, False])
def test_gradients_are_recorded_where_the_caller_records_them(three_threads, wanted):
    weight = torch.ones(1, requires_grad=True)
    with torch.set_grad_enabled(wanted):
        parts = side_by_side(lambda part: part * weight, range(4), CPU)
    assert [part.requires_grad for part in parts] == [wanted] * 4
    if wanted:
        torch.cat(parts).sum().backward()
        assert weight.grad == 6


def test_an_error_reaches_the_caller_and_the_threads_come_back(three_threads):
    def fails(part):
        raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match="part 0"):
        side_by_side(fails, range(4), CPU)
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(
    ("n", "windows_a_part", "sizes"),
    [(6, 0.3, [1] * 6), (6, 1, [1] * 6), (7, 2.5, [1, 2, 2, 2]), (9, 100, [9]), (10, 5, [5, 5])],
)
def test_parts_are_of_bounded_size_and_even(n, windows_a_part, sizes):
    window_bytes = 4 * ACTIVATIONS * 18 * 8
    parts = even_parts(n, 18, 8, int(windows_a_part * window_bytes))
    assert [part.stop - part.start for part in parts] == sizes
    assert [row for part in parts for row in range(n)[part]] == list(range(n))
