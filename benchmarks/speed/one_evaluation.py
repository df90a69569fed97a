"""Marginal heads against PyPOTS' SAITS, and against its CSDI with 100 samples of 50 steps.

    python benchmarks/speed/one_evaluation.py

Healthcare 10 %, the same stays, threads and run. A head gives 19 quantiles, SAITS one number a
cell. SAITS, of its authors' base size and of the one that they tuned for these data, is trained
here, on the training stays, until its validation error stops to improve.
The heads, of the official weights and of a small network of our own, are those of
`benchmarks/accuracy/marginals.py`, trained here (hours) where they are not. All take turns; CSDI,
which is slow, imputes one stay once. Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np
from peer import environment, peer_variables
from provenance import CACHE, RESULTS, add_row, provenance
from rounds import Size
from run import available_cores, started

EXCHANGE = CACHE / "one_evaluation"
HEADS = ("head", "small")  # of worker_head.py
RIVALS = ("saits", "saits_tuned")  # of worker_saits.py
KEY = ["n_stays", "threads", "epochs", "csdi_samples", "commit"]


def export(n_stays: int) -> tuple[np.ndarray, np.ndarray]:
    """Write the arrays of both sides; true values and target mask of the test stays."""
    from healthcare import read_data

    data = read_data(0.1, 0)
    rest = np.setdiff1d(np.arange(len(data.values)), np.concatenate([data.train, data.test]))
    stays = data.test[:n_stays]

    def hidden(rows: np.ndarray) -> np.ndarray:
        return np.where(data.target[rows], np.nan, data.values[rows]).astype(np.float32)

    EXCHANGE.mkdir(parents=True, exist_ok=True)
    arrays = {
        "train": data.values[data.train].astype(np.float32),
        "valid": data.values[rest].astype(np.float32),
        "valid_hidden": hidden(rest),
        "test_hidden": hidden(stays),
    }
    np.savez_compressed(EXCHANGE / "data.npz", **arrays)
    return data.values[stays], data.target[stays]


def errors(name: str, truth: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Of the medians that one of them has written, in standardised units."""
    found = np.load(EXCHANGE / f"{name}.npy")
    middle = found if found.ndim == truth.ndim else found[found.shape[0] // 2]
    error = (middle - truth)[target]
    return {
        f"{name}_mae": float(np.abs(error).mean()),
        f"{name}_rmse": float(np.square(error).mean() ** 0.5),
    }


def main() -> None:
    """Measure, print and write `benchmarks/results/one_evaluation.csv`."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stays", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=100, help="of SAITS, at most")
    parser.add_argument("--csdi-samples", type=int, default=100)
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=HEADS)
    parser.add_argument("--rivals", nargs="+", choices=RIVALS, default=RIVALS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--note", default="", help="what else ran on the machine")
    options = parser.parse_args()
    told = provenance() | {"threads": options.threads, "note": options.note}
    truth, target = export(options.stays)
    size = Size(options.stays, options.csdi_samples, options.epochs, options.threads)
    with ExitStack() as stack:
        ours = stack.enter_context(
            started(Path(sys.executable), "worker_head.py", size, os.environ)
        )
        peer = environment(CACHE)
        theirs = stack.enter_context(started(peer, "worker_saits.py", size, peer_variables(CACHE)))
        sides = dict.fromkeys(options.heads, ours) | dict.fromkeys(options.rivals, theirs)
        for name, worker in sides.items():
            worker.time(name)
        times = [
            [worker.time(name).wall for name, worker in sides.items()]
            for _ in range(options.rounds)
        ]
        csdi_s = theirs.time("csdi").wall
        versions = ours.versions | theirs.versions
    per_stay = [median(side) / options.stays for side in zip(*times, strict=True)]
    seconds = dict(zip(sides, per_stay, strict=True))
    row = {
        "n_stays": options.stays,
        "epochs": options.epochs,
        "csdi_samples": options.csdi_samples,
        "csdi_s_per_stay": csdi_s,
        "n_cells": int(target.sum()),
        "versions": " ".join(f"{name}={v}" for name, v in versions.items()),
    }
    for name, second in seconds.items():
        row |= {f"{name}_s_per_stay": second, **errors(name, truth, target)}
    for name in options.heads:
        row[f"csdi_over_{name}"] = csdi_s / seconds[name]
        for rival in options.rivals:
            row[f"{name}_over_{rival}"] = seconds[name] / seconds[rival]
    add_row(RESULTS / "one_evaluation.csv", row | told, KEY)
    for name, value in row.items():
        print(f"{name:18s} {value}")


if __name__ == "__main__":
    main()
