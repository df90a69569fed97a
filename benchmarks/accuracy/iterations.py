"""What a longer default training brings: the same default `fit`, of different lengths.

    python benchmarks/accuracy/iterations.py --iterations 1000 2000 --threads 1

All defaults but the length, on the first 70 % of ETT h1 (or the weather as hourly means), and
`evaluate` on the rest: a tenth of the observed cells hidden, in blocks and as single cells, the
same ones for all. Scores in standard deviations of each feature. Rows that the result file has are
not made again. Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse

import torch
from records import RESULTS, add_rows, circumstances, has_row
from seasons import table_of

from tsimpute import EDDPMImputer
from tsimpute.training import setup

FILE = RESULTS / "iterations.csv"
KEY = ["data", "iterations", "pattern", "method", "windows", "n_samples", "seed"]
TRAIN_SHARE = 0.7


def rows_of(name: str, iterations: int, options: argparse.Namespace) -> list[dict[str, object]]:
    """Train once, and score both patterns and linear interpolation."""
    table = table_of(name)
    end = int(TRAIN_SHARE * len(table))
    setup.DEFAULT_ITERATIONS = iterations
    imputer = EDDPMImputer(random_state=options.seed).fit(table.iloc[:end])
    trained = {
        "train_seconds": round(float(imputer.history_["seconds"].iloc[-1]), 1),
        "epochs": len(imputer.history_),
        "kept": " ".join(map(str, imputer.model_.grid.index)),
    }
    rows = []
    for pattern in ("point", "block"):
        check = imputer.evaluate(
            table.iloc[end:], pattern, methods=["linear"], max_windows=options.windows
        )
        for method, scores in check.overall.iterrows():
            known = identity(name, iterations, options)
            known |= {"pattern": pattern, "method": method}
            rows.append(known | trained | scores.to_dict() | circumstances())
    return rows


def identity(name: str, iterations: int, options: argparse.Namespace) -> dict[str, object]:
    """What names the rows of a training."""
    return {
        "data": name,
        "iterations": iterations,
        "windows": options.windows,
        "n_samples": EDDPMImputer().n_samples,
        "seed": options.seed,
    }


def main() -> None:
    """Make all rows that the result file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=("ett", "weather"), default=["ett"])
    parser.add_argument("--iterations", type=int, nargs="+", default=[1000, 2000])
    parser.add_argument("--windows", type=int, default=64, help="that evaluate sees")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    circumstances()
    for name in options.data:
        for iterations in options.iterations:
            if has_row(FILE, identity(name, iterations, options)):
                continue
            rows = rows_of(name, iterations, options)
            add_rows(FILE, rows, KEY)
            for row in rows:
                print(row, flush=True)


if __name__ == "__main__":
    main()
