"""Our side of `one_evaluation.py`: the marginal head of `benchmarks/accuracy/marginals.py`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import provenance  # noqa: F401  puts benchmarks/accuracy on the path
import torch
from cases import add_options, read_case
from marginals import with_marginals
from rounds import Size, Task, serve

from tsimpute.evaluation.metrics import CRPS_LEVELS

EXCHANGE = Path(__file__).resolve().parents[1] / ".cache" / "one_evaluation"
HEAD = argparse.Namespace(seed=0, iterations=500, device="cpu")


def prepare(size: Size) -> tuple[dict[str, str], dict[str, Task]]:
    """Tasks by name."""
    torch.set_num_threads(size.threads)
    parser = argparse.ArgumentParser()
    add_options(parser)
    options = parser.parse_args([], HEAD)
    imputer, _ = with_marginals(read_case(options), options)
    imputer.set_params(overlap=0.0, verbose=0)
    with np.load(EXCHANGE / "data.npz") as data:
        hidden = data["test_hidden"].astype(np.float64)

    def impute() -> None:
        found = imputer.predict_quantiles(hidden, CRPS_LEVELS, method="head")
        np.save(EXCHANGE / "head.npy", found.values)

    return {"torch": torch.__version__}, {"impute": impute}


if __name__ == "__main__":
    serve(prepare)
