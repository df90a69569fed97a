"""Our side of `one_evaluation.py`: marginal heads of `benchmarks/accuracy/marginals.py`."""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path

import numpy as np
import provenance  # noqa: F401  puts benchmarks/accuracy on the path
import torch
from cases import add_options, read_case
from marginals import with_marginals
from rounds import Size, Task, serve

from tsimpute.evaluation.metrics import CRPS_LEVELS

EXCHANGE = Path(__file__).resolve().parents[1] / ".cache" / "one_evaluation"
SETTINGS = {  # of the official weights, and of a network of our own, `SMALL` in accuracy/cases.py
    "head": {"iterations": 1000},
    "small": {"iterations": 2000, "train_seconds": 600},
}


def prepare(size: Size) -> tuple[dict[str, str], dict[str, Task]]:
    """Tasks by name."""
    torch.set_num_threads(size.threads)
    tasks: dict[str, Task] = {name: lambda name=name: impute(name)() for name in SETTINGS}
    return {"torch": torch.__version__}, tasks


@cache
def impute(name: str) -> Task:
    """What fills the test stays and writes the quantiles; made at the first call, which trains."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    known = argparse.Namespace(seed=0, device="cpu", **SETTINGS[name])
    options = parser.parse_args([], known)
    imputer, _ = with_marginals(read_case(options), options)
    imputer.set_params(overlap=0.0, verbose=0)
    with np.load(EXCHANGE / "data.npz") as data:
        hidden = data["test_hidden"].astype(np.float64)

    def filled() -> None:
        found = imputer.predict_quantiles(hidden, CRPS_LEVELS, method="head")
        np.save(EXCHANGE / f"{name}.npy", found.values)

    return filled


if __name__ == "__main__":
    serve(prepare)
