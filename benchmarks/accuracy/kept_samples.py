"""Answers drawn a few windows at a time and kept, so that a script can be stopped at any time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
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
    """Samples (S, N, L, K) of windows (N, L, K), and the seconds that drawing them took."""

    def draw(given: np.ndarray, own_seed: int) -> np.ndarray:
        drawn = imputer.sample(given, n_samples, random_state=own_seed)
        return np.asarray(drawn.values)

    return kept_answers(draw, windows, seed=seed, chunk=chunk, folder=folder, name=name)


def kept_answers(
    draw: Callable[[np.ndarray, int], np.ndarray],
    windows: np.ndarray,
    *,
    seed: int,
    chunk: int,
    folder: Path,
    name: str,
) -> tuple[np.ndarray, float]:
    """What `draw` makes (S, N, L, K) of windows (N, L, K), and the seconds that it took.

    It is given every `chunk` windows with a seed of their own, `seed` plus the first one's number.
    Its answers are kept in `folder` under `name`; what is there already is not drawn again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts, seconds = [], 0.0
    for first in range(0, len(windows), chunk):
        given = windows[first : first + chunk]
        file = folder / f"{name}-{first}-{len(given)}.npz"
        if not file.is_file():
            begun = time.perf_counter()
            drawn = draw(given, seed + first)
            took = time.perf_counter() - begun
            temporary = file.with_suffix(".tmp.npz")
            np.savez_compressed(temporary, drawn=drawn.astype("f4"), seconds=took)
            os.replace(temporary, file)
        with np.load(file) as stored:
            parts.append(stored["drawn"])
            seconds += float(stored["seconds"])
    return np.concatenate(parts, axis=1), seconds
