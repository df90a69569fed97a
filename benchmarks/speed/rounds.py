"""What both sides of the comparison share: the shape, the data and the talk with `run.py`.

Standard library and numpy only: it is imported in either environment.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

WINDOW_STEPS = 36
N_FEATURES = 36
BATCH_SIZE = 16
DIFFUSION_STEPS = 50
CHANNELS, LAYERS, HEADS = 64, 4, 8
TIME_WIDTH, FEATURE_WIDTH, STEP_WIDTH = 128, 16, 128
HOLE_SHARE = 0.2
ANSWER = "answer: "

Task = Callable[[], object]


@dataclass(frozen=True)
class Size:
    """How much one timed round does."""

    windows: int
    samples: int
    updates: int
    threads: int

    @classmethod
    def from_arguments(cls) -> Size:
        """Read the worker's command line."""
        parser = argparse.ArgumentParser()
        for name in cls.__dataclass_fields__:
            parser.add_argument(f"--{name}", type=int, required=True)
        return cls(**vars(parser.parse_args()))

    def arguments(self) -> list[str]:
        """Command line that `from_arguments` reads."""
        return [f"--{name}={getattr(self, name)}" for name in self.__dataclass_fields__]


def holed_windows(n_windows: int) -> np.ndarray:
    """Standard normal windows (N, 36, 36), float32, NaN in a fifth of the cells."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((n_windows, WINDOW_STEPS, N_FEATURES)).astype(np.float32)
    values[rng.random(values.shape) < HOLE_SHARE] = np.nan
    return values


def serve(prepare: Callable[[Size], tuple[dict[str, str], dict[str, Task]]]) -> None:
    """Do one round of the task that each line of the input names, and print its seconds.

    The first answer holds the versions. Answers begin with `ANSWER`, for libraries print too.
    """
    versions, tasks = prepare(Size.from_arguments())
    print(ANSWER + json.dumps(versions), flush=True)
    for line in sys.stdin:
        task = tasks[line.strip()]
        begun, cpu_begun = time.perf_counter(), time.process_time()
        task()
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
        print(ANSWER + json.dumps([seconds, cpu_seconds]), flush=True)
