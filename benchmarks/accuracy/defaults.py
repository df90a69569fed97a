"""What the defaults cost and bring: length and rate of the training, kept steps, samples.

    python benchmarks/accuracy/defaults.py --iterations 1300 --kept 5 10 --samples 20 50
    python benchmarks/accuracy/defaults.py --iterations 1300 --kept 10 --samples 20 \\
        --samplers ddpm dpm-solver++2m-sde

`--learning-rate 1e-3 --warmup 0` is how `fit` trained before.

All other settings are the defaults. Training on the first 70 % of ETT h1 (or of the weather as
hourly means), `evaluate` on the rest: a tenth of the observed cells hidden, in blocks and as single
cells, the same ones for all. Scores in standard deviations of each feature. Rows that the result
file has are not made again; trained models are cached. Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from typing import Any

import pandas as pd
import torch
from records import CACHE, RESULTS, add_rows, circumstances, has_row
from seasons import table_of

from tsimpute import EDDPMImputer, load
from tsimpute.training import setup

FILE = RESULTS / "defaults.csv"
TRAINING_KEY = ["data", "iterations", "batch_size", "learning_rate", "warmup", "kept_steps", "seed"]
KEY = [*TRAINING_KEY, "sampler", "pattern", "method", "windows", "n_samples"]
TRAIN_SHARE = 0.7


def trained(known: dict[str, Any], table: pd.DataFrame) -> EDDPMImputer:
    """Fitted imputer of a row, from the cache where it is there."""
    saved = CACHE / "defaults" / "-".join(str(known[k]) for k in TRAINING_KEY)
    if not saved.exists():
        setup.DEFAULT_ITERATIONS = known["iterations"]
        names = ("batch_size", "learning_rate", "warmup", "kept_steps")
        settings = {name: known[name] for name in names}
        EDDPMImputer(**settings, random_state=known["seed"]).fit(table).save(saved)
    return load(saved)


def scored(
    imputer: EDDPMImputer, known: dict[str, Any], table: pd.DataFrame
) -> list[dict[str, Any]]:
    """Rows of both patterns, of the imputer and of linear interpolation."""
    imputer.set_params(n_samples=known["n_samples"], sampler=known["sampler"])
    trained = {
        "epochs": len(imputer.history_),
        "kept": " ".join(map(str, imputer.model_.grid.index)),
        "train_seconds": round(float(imputer.history_["seconds"].iloc[-1]), 1),
        "validation_loss": float(imputer.history_["validation_loss"].iloc[-1]),
    }
    rows = []
    for pattern in ("point", "block"):
        begun = time.perf_counter()
        check = imputer.evaluate(
            table, pattern, methods=["linear"], max_windows=known["windows"], random_state=0
        )
        seconds = {"seconds": round(time.perf_counter() - begun, 1)}
        for method, scores in check.overall.iterrows():
            named = known | {"pattern": pattern, "method": method}
            rows.append(named | trained | scores.to_dict() | seconds | circumstances())
    return rows


def main() -> None:
    """Make all rows that the result file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=("ett", "weather"), default=["ett"])
    parser.add_argument("--iterations", type=int, nargs="+", default=[1000, 2000])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--warmup", type=float, default=0.03)
    parser.add_argument("--kept", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--samples", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--samplers", nargs="+", default=["ddpm"])
    parser.add_argument("--windows", type=int, default=64, help="that evaluate sees")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    circumstances()
    for name, iterations, kept in product(options.data, options.iterations, options.kept):
        table = table_of(name)
        end = int(TRAIN_SHARE * len(table))
        how = (options.batch_size, options.learning_rate, options.warmup)
        named = (name, iterations, *how, kept, options.seed)
        known = dict(zip(TRAINING_KEY, named, strict=True))
        for sampler, n_samples in product(options.samplers, options.samples):
            row = known | {"sampler": sampler, "windows": options.windows, "n_samples": n_samples}
            if has_row(FILE, row):
                continue
            rows = scored(trained(row, table.iloc[:end]), row, table.iloc[end:])
            add_rows(FILE, rows, KEY)
            print(pd.DataFrame(rows).to_string(), flush=True)


if __name__ == "__main__":
    main()
