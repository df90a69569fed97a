"""What simple methods make of the data of `cases.py`.

    python benchmarks/accuracy/simple.py --stays 40
    python benchmarks/accuracy/simple.py --data air-quality --stays 82

The same windows, hidden cells and scores as in `samplers.py` and `marginals.py`. IterativeImputer
learns from the training windows too, the others need none. The CRPS of a method without bands is
that of its point. Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from cases import CASE_KEY, add_options, identity, in_units, read_case
from healthcare import Data
from records import RESULTS, add_row, circumstances, has_row
from samplers import scores
from scipy.stats import norm

from tsimpute.evaluation import rivals
from tsimpute.evaluation.metrics import CRPS_LEVELS

FILE = RESULTS / "simple.csv"
KEY = [*CASE_KEY, "method", "n_stays"]
METHODS = ("last value", "linear", "IterativeImputer", "Kalman")
TRAINING_WINDOWS = 500  # that IterativeImputer may see


def run_row(method: str, data: Data, options: argparse.Namespace) -> dict[str, Any]:
    """Fill and score the test windows by one method."""
    stays = data.test[: options.stays or len(data.test)]
    target = data.target[stays]
    learned = data.train[:: max(1, len(data.train) // TRAINING_WINDOWS)]
    given = [*np.where(target, np.nan, data.values[stays]), *data.values[learned]]
    masks = [*target, *np.zeros((len(learned), *target.shape[1:]), dtype=bool)]
    begun = time.perf_counter()
    answer = rivals.ask(method, rivals.Task(given, masks))
    seconds = round(time.perf_counter() - begun, 1)
    assert answer.mean is not None, answer.note
    sd = np.zeros_like(answer.mean) if answer.sd is None else answer.sd
    marks = answer.mean + sd * norm.ppf(CRPS_LEVELS)[:, None]
    marks, truth = (
        in_units(cells, data, stays, target) for cells in (marks, data.values[stays][target])
    )
    found = scores(marks, truth)
    if answer.sd is None:
        found |= {"coverage_50": np.nan, "coverage_90": np.nan}
    return found | {"seconds": seconds, "note": answer.note}


def main() -> None:
    """Run all rows that the result file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser)
    parser.add_argument("--stays", type=int, default=40, help="test windows; 0: all")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--kalman-seconds", type=float, default=3600.0)
    options = parser.parse_args()
    rivals.KALMAN_SECONDS = options.kalman_seconds
    circumstances()
    data = read_case(options)
    no_network = {"network_seconds": "", "large": ""}
    for method in options.methods:
        asked = identity(options) | no_network | {"method": method, "n_stays": options.stays}
        if has_row(FILE, asked):
            continue
        found = run_row(method, data, options)
        add_row(FILE, asked | found | circumstances(), KEY)
        print(f"{method:18s} CRPS {found['crps']:.4f} MAE {found['mae']:.4f}", flush=True)


if __name__ == "__main__":
    main()
