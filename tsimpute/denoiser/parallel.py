"""Parts of a batch side by side, each on a processor core of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

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
