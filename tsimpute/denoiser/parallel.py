"""Parts of a batch side by side, each on a processor core of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import torch

FLOAT_BYTES = 4
ACTIVATIONS = 12  # of a layer that are in memory at once, each as large as its input

Part = TypeVar("Part")
Result = TypeVar("Result")


def side_by_side(
    work: Callable[[Part], Result], parts: Sequence[Part], device: torch.device
) -> list[Result]:
    """`[work(part) for part in parts]`, on the CPU by as many threads as torch may use there.

    Torch shares every single operation between its threads, and ours are so short that these
    mostly wait for each other; parts that need nothing of each other do not. The results do not
    depend on the number of threads.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(parts))
    if device.type != "cpu" or workers <= 1:
        return [work(part) for part in parts]
    with_gradient = torch.is_grad_enabled()  # in this thread; others have their own answer

    def alone(part: Part) -> Result:
        torch.set_num_threads(1)
        with torch.set_grad_enabled(with_gradient):
            return work(part)

    try:
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(alone, parts))
    finally:
        torch.set_num_threads(threads)


def even_parts(n: int, n_cells: int, channels: int, part_bytes: int) -> list[slice]:
    """Rows of n windows in parts whose sizes differ by one window at most.

    The activations of a part take about `part_bytes`, those of one window at the least.

    Parameters
    ----------
    n : int
    n_cells : int
        Of a window.
    channels : int
        Of the network.
    part_bytes : int
    """
    most = max(1, part_bytes // (FLOAT_BYTES * ACTIVATIONS * n_cells * channels))
    n_parts = max(1, -(-n // most))
    return [slice(*ends) for ends in pairwise(n * i // n_parts for i in range(n_parts + 1))]
