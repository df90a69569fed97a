"""Healthcare (PhysioNet 2012), official CSDI weights: the marginal head, and starts from it.

    python benchmarks/accuracy/marginals.py --stays 40 --samples 16

The head is trained from a copy of the official network on the training stays. Rows: the head
alone (one evaluation), and few-step chains that start at pure noise or at what the head expects.
Rows are written one by one; see `samplers.py` for the rest. Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from healthcare import Data, read_data
from records import CACHE, RESULTS, add_row, circumstances, has_row
from samplers import LEARNED_PLACES, scores, with_heads

from tsimpute import EDDPMImputer, load
from tsimpute.evaluation.metrics import CRPS_LEVELS

FILE = RESULTS / "marginals.csv"
KEY = ["missing", "fold", "method", "start", "kept", "iterations", "n_stays", "n_samples", "seed"]
PLACES = LEARNED_PLACES | {5: [8, 16, 24, 32, 40]}


def with_marginals(data: Data, options: argparse.Namespace) -> tuple[EDDPMImputer, float]:
    """The official weights with a marginal head, and the seconds that its training took."""
    name = f"head-{options.iterations}-fold{options.fold}-seed{options.seed}"
    saved, clock = CACHE / "marginals" / name, CACHE / "marginals" / f"{name}.seconds"
    if saved.exists():
        return load(saved, device=options.device), float(clock.read_text())
    imputer = with_heads(data, options)
    begun = time.perf_counter()
    imputer.fit_marginals(data.values[data.train], iterations=options.iterations)
    seconds = time.perf_counter() - begun
    imputer.save(saved)
    clock.write_text(f"{seconds:.1f}")
    return imputer, seconds


def wanted(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Method, start and kept steps of every row."""
    yield {"method": "head", "start": "noise", "kept": ""}
    for n_steps in options.steps:
        kept = " ".join(map(str, PLACES[n_steps]))
        for start in ("noise", "marginals"):
            yield {"method": "samples", "start": start, "kept": kept}


def run_row(
    row: dict[str, Any], imputer: EDDPMImputer, data: Data, options: argparse.Namespace
) -> dict[str, Any]:
    """Ask for the quantiles of one row and score them."""
    stays = data.test[: options.stays or len(data.test)]
    full = imputer.model_
    if row["kept"]:
        grid = full.schedule.respaced([int(step) for step in row["kept"].split()])
        imputer.model_ = replace(full, grid=grid)
    imputer.set_params(start=row["start"], variance="crps", antithetic=True, overlap=0.0)
    hidden = np.where(data.target[stays], np.nan, data.values[stays])
    begun = time.perf_counter()
    found = imputer.predict_quantiles(
        hidden,
        CRPS_LEVELS,
        n_samples=options.samples,
        random_state=options.seed,
        method=row["method"],
    ).values
    seconds = round(time.perf_counter() - begun, 1)
    imputer.model_ = full
    evaluations = 1 if row["method"] == "head" else len(row["kept"].split()) * options.samples
    evaluations += row["start"] == "marginals"
    target = data.target[stays]
    answer = scores(found[:, target], data.values[stays][target])
    return answer | {"nfe_per_window": evaluations, "seconds": seconds}


def main() -> None:
    """Run all rows that the result file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--missing", type=float, default=0.1)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--stays", type=int, default=40, help="test stays; 0: the whole fold")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=500, help="of the head's training")
    parser.add_argument("--steps", type=int, nargs="*", default=[1, 2, 3, 5])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    circumstances()
    data = read_data(options.missing, options.fold)
    imputer, train_seconds = with_marginals(data, options)
    for row in wanted(options):
        asked = {"missing": options.missing, "fold": options.fold, **row}
        asked |= {"iterations": options.iterations, "n_stays": options.stays}
        asked |= {"n_samples": options.samples, "seed": options.seed}
        if has_row(FILE, asked):
            continue
        found = run_row(row, imputer, data, options) | {"train_seconds": train_seconds}
        add_row(FILE, asked | found | circumstances(), KEY)
        print(
            f"{row['method']:8s} {row['start']:10s} [{row['kept']}]: CRPS {found['crps']:.4f} "
            f"MAE {found['mae']:.4f} RMSE {found['rmse']:.4f} 90 % {found['coverage_90']:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
