"""The reference of `marginals.py` and `joint.py`: all 50 steps, many plain trajectories.

Samples are drawn a few windows at a time and kept under `benchmarks/.cache`, so that a script can
be stopped at any time; on Healthcare they are those of `healthcare.py --steps 50` with as many to a
chunk.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from cases import base, file_name, own_seconds
from healthcare import Data
from kept_samples import kept_samples
from records import CACHE

KEPT = " ".join(map(str, range(50)))


def add_reference_options(parser: argparse.ArgumentParser) -> None:
    """How many samples the reference takes, and how often they are kept."""
    parser.add_argument("--reference-samples", type=int, default=0, help="0: no such row")
    parser.add_argument("--chunk", type=int, default=4, help="windows between two checkpoints")


def reference_samples(
    data: Data, windows: np.ndarray, options: argparse.Namespace
) -> tuple[np.ndarray, float]:
    """Samples (S, N, L, K) of the windows (N, L, K), and the seconds that drawing them took."""
    folder, name = _place(options)
    return kept_samples(
        base(data, options),
        windows,
        options.reference_samples,
        seed=options.seed,
        chunk=options.chunk,
        folder=folder,
        name=name,
    )


def _place(options: argparse.Namespace) -> tuple[Path, str]:
    n_samples, seed = options.reference_samples, options.seed
    name = "test" if options.data == "air-quality" else f"{options.missing:g}-{options.fold}"
    if own_seconds(options) is None:  # the official weights, on Healthcare
        folder = CACHE / "healthcare" / f"samples-respaced-50-rate0-{n_samples}-seed{seed}"
        return folder, name
    return CACHE / "samplers" / f"samples-{file_name(options)}-{n_samples}", name
