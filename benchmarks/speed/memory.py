"""Peak memory of `transform`: many cells, and ten times as many, at the default width.

    python benchmarks/speed/memory.py                 # 25,000 and 250,000 cells, 100 samples

One long series with random holes in every window. A first process trains for a moment and saves
the model; then each size is loaded and filled in a process of its own, whose largest resident
size is read at its end. It must not grow with the number of windows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

N_FEATURES = 10
HOLE_SHARE = 0.2
LIMIT_GB = 4.0
KEY = ["cells", "n_samples", "kept_steps", "threads"]


def series(n_cells: int) -> Any:
    """Random walks as a DataFrame of 10 columns, NaN in a fifth of the cells."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    shape = (n_cells // N_FEATURES, N_FEATURES)
    values = np.cumsum(rng.standard_normal(shape), axis=0)
    values[rng.random(shape) < HOLE_SHARE] = np.nan
    return pd.DataFrame(values, index=pd.date_range("2026-01-01", periods=shape[0], freq="min"))


def train(folder: Path, options: argparse.Namespace) -> None:
    """Default network after one epoch on few rows, with `kept_steps` steps left."""
    from dataclasses import replace

    import torch

    from tsimpute import EDDPMImputer
    from tsimpute.diffusion.schedule import spaced_indices

    torch.set_num_threads(options.threads)
    imputer = EDDPMImputer(
        kept_steps=50, n_samples=options.samples, epochs=1, device="cpu", random_state=0, verbose=0
    ).fit(series(1_000))
    schedule = imputer.model_.schedule
    grid = schedule.respaced(spaced_indices(schedule.n_steps, options.kept_steps))
    imputer.model_ = replace(imputer.model_, grid=grid)
    imputer.set_params(kept_steps=options.kept_steps).save(folder)


def fill(folder: Path, n_cells: int, options: argparse.Namespace) -> dict[str, Any]:
    """Fill one series and tell the peak of this process."""
    import torch
    from provenance import provenance

    from tsimpute import load
    from tsimpute.sampling.placing import hole_windows

    torch.set_num_threads(options.threads)
    told = provenance() | {"threads": options.threads, "note": options.note}
    imputer, data = load(folder, device="cpu"), series(n_cells)
    before = peak_gb()
    begun = time.perf_counter()
    filled = imputer.transform(data)
    seconds = time.perf_counter() - begun
    assert not filled.isna().any(axis=None)
    return {
        "cells": data.size,
        "n_windows": len(hole_windows(imputer.model_, [data.to_numpy()], imputer.overlap)),
        "holes": int(data.isna().sum().sum()),
        "n_samples": imputer.n_samples,
        "kept_steps": imputer.kept_steps,
        "seconds": round(seconds, 1),
        "before_gb": before,
        "peak_gb": peak_gb(),
        **told,
    }


def peak_gb() -> float:
    """Largest resident size of this process so far, in 10^9 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def in_own_process(part: str, folder: Path, cells: int, options: argparse.Namespace) -> Any:
    """Run a part of this script elsewhere; this process stays small: a child inherits its peak."""
    command = [sys.executable, __file__, f"--part={part}", f"--folder={folder}"]
    command += [f"--cells={cells}", f"--samples={options.samples}"]
    command += [f"--kept-steps={options.kept_steps}", f"--threads={options.threads}"]
    command += [f"--note={options.note}"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(answer) if answer else None


def read_options() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[25_000, 250_000])
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--kept-steps", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--note", default="", help="what else ran on the machine")
    parser.add_argument("--part", choices=["train", "fill"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure every size, print and write `benchmarks/results/memory.csv`."""
    options = read_options()
    if options.part == "train":
        return train(options.folder, options)
    if options.part == "fill":
        return print(json.dumps(fill(options.folder, options.cells[0], options)))
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        in_own_process("train", model, 0, options)
        rows = [in_own_process("fill", model, cells, options) for cells in options.cells]
    report(rows)


def report(rows: list[dict[str, Any]]) -> None:
    """Print and write the rows; the growth is against the first one."""
    from provenance import RESULTS, add_row

    for row in rows:
        row["growth_gb"] = row["peak_gb"] - rows[0]["peak_gb"]
        add_row(RESULTS / "memory.csv", row, KEY)
        reached = "reached" if row["peak_gb"] < LIMIT_GB else "NOT reached"
        print(
            f"{row['cells']:>8,} cells, {row['n_windows']:>5,} windows, "
            f"{row['n_samples']} samples: peak {row['peak_gb']:.2f} GB "
            f"({row['before_gb']:.2f} before), growth {row['growth_gb']:+.3f} GB, "
            f"{row['seconds']:.0f} s; target below {LIMIT_GB:g} GB {reached}"
        )


if __name__ == "__main__":
    main()
