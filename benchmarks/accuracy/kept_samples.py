"""Samples drawn a few windows at a time and kept, so that a script can be stopped at any time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from tsimpute import EDDPMImputer


def kept_samples(
    imputer: EDDPMImputer,
    windows: np.ndarray,
    n_samples: int,
    *,
    seed: int,
    chunk: int,
    folder: Path,
    name: str,
) -> tuple[np.ndarray, float]:
    """Samples (S, N, L, K) of windows (N, L, K), and the seconds that drawing them took.

    Every `chunk` windows are drawn with a seed of their own, `seed` plus the first one's number,
    and kept in `folder` under `name`; what is there already is not drawn again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts, seconds = [], 0.0
    for first in range(0, len(windows), chunk):
        given = windows[first : first + chunk]
        file = folder / f"{name}-{first}-{len(given)}.npz"
        if not file.is_file():
            begun = time.perf_counter()
            drawn = imputer.sample(given, n_samples, random_state=seed + first)
            took = time.perf_counter() - begun
            temporary = file.with_suffix(".tmp.npz")
            np.savez_compressed(temporary, drawn=drawn.values.astype("f4"), seconds=took)
            os.replace(temporary, file)
        with np.load(file) as stored:
            parts.append(stored["drawn"])
            seconds += float(stored["seconds"])
    return np.concatenate(parts, axis=1), seconds
