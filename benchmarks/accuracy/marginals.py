"""The marginal head, and starts from it, on the networks of `cases.py`.

    python benchmarks/accuracy/marginals.py --stays 40 --samples 16
    python benchmarks/accuracy/marginals.py --data air-quality --stays 82 --samples 16
    python benchmarks/accuracy/marginals.py --train-seconds 600 --iterations 2000 --steps

The head is trained from a copy of the network on the training windows. Rows: the head alone (one
evaluation); few-step chains that start at pure noise or at what the head expects; quantiles of
samples that are coupled to the head; and with `--reference-samples` those of all 50 steps.
The last command trains a small network on Healthcare, for `speed/one_evaluation.py`. Rows
are written one by one; see `samplers.py` for the rest. Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from cases import CASE_KEY, add_options, file_name, identity, in_units, read_case
from healthcare import WELL_PLACED, Data
from records import CACHE, RESULTS, add_row, circumstances, has_row
from reference import KEPT, add_reference_options, reference_samples
from samplers import LEARNED_PLACES, scores, with_heads

from tsimpute import EDDPMImputer, load
from tsimpute.evaluation.metrics import CRPS_LEVELS

FILE = RESULTS / "marginals.csv"
KEY = [*CASE_KEY, "method", "sampler", "start", "kept", "iterations", "n_stays", "n_samples"]
KEY += ["seed"]
PLACES = WELL_PLACED | LEARNED_PLACES


def with_marginals(data: Data, options: argparse.Namespace) -> tuple[EDDPMImputer, float]:
    """The network with a marginal head, and the seconds that its training took."""
    name = f"head-{options.iterations}-{file_name(options)}"
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
    """Method, start, kept steps and sample count of every row."""
    drawn = {"n_samples": options.samples}
    yield {"method": "head", "start": "noise", "kept": "", **drawn}
    for n_steps in options.steps:
        kept = " ".join(map(str, PLACES[n_steps]))
        for start in ("noise", "marginals"):
            yield {"method": "samples", "start": start, "kept": kept, **drawn}
        yield {"method": "coupled", "start": "noise", "kept": kept, **drawn}
    if options.reference_samples:
        drawn = {"n_samples": options.reference_samples}
        yield {"method": "reference", "start": "noise", "kept": KEPT, **drawn}


def run_row(
    row: dict[str, Any], imputer: EDDPMImputer, data: Data, options: argparse.Namespace
) -> dict[str, Any]:
    """Ask for the quantiles of one row and score them."""
    stays = data.test[: options.stays or len(data.test)]
    full = imputer.model_
    if row["kept"]:
        grid = full.schedule.respaced([int(step) for step in row["kept"].split()])
        imputer.model_ = replace(full, grid=grid)
    way = {"sampler": options.sampler, "start": row["start"]}
    imputer.set_params(**way, variance="crps", antithetic=True, overlap=0.0)
    hidden = np.where(data.target[stays], np.nan, data.values[stays])
    if row["method"] == "reference":
        drawn, seconds = reference_samples(data, hidden, options)
        found = _quantiles_of(drawn)
    else:
        begun = time.perf_counter()
        found = quantiles(row["method"], imputer, hidden, options)
        seconds = time.perf_counter() - begun
    imputer.model_ = full
    evaluations = 1 if row["method"] == "head" else len(row["kept"].split()) * row["n_samples"]
    evaluations += row["start"] == "marginals" or row["method"] == "coupled"
    target = data.target[stays]
    marks, truth = (
        in_units(cells, data, stays, target)
        for cells in (found[:, target], data.values[stays][target])
    )
    answer = scores(marks, truth)
    return answer | {"nfe_per_window": evaluations, "seconds": round(seconds, 1)}


def quantiles(
    method: str, imputer: EDDPMImputer, hidden: np.ndarray, options: argparse.Namespace
) -> np.ndarray:
    """The protocol's quantiles (19, N, L, K) by one method."""
    size = {"n_samples": options.samples, "random_state": options.seed}
    if method != "coupled":
        return imputer.predict_quantiles(hidden, CRPS_LEVELS, method=method, **size).values
    return _quantiles_of(imputer.sample(hidden, marginals="head", **size).values)


def _quantiles_of(drawn: np.ndarray) -> np.ndarray:
    return np.asarray(np.quantile(drawn, CRPS_LEVELS, axis=0))


def main() -> None:
    """Run all rows that the result file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser)
    parser.add_argument("--stays", type=int, default=40, help="test windows; 0: all")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, nargs="*", default=[1, 2, 3, 5])
    parser.add_argument("--sampler", default="ddpm", help="of all rows but head and reference")
    parser.add_argument("--iterations", type=int, default=500, help="of the head's training")
    add_reference_options(parser)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    circumstances()
    data = read_case(options)
    imputer, train_seconds = with_marginals(data, options)
    for row in wanted(options):
        sampler = {"head": "", "reference": "ddpm"}.get(row["method"], options.sampler)
        asked = {**identity(options), **row, "sampler": sampler}
        asked |= {"iterations": options.iterations, "n_stays": options.stays}
        asked |= {"seed": options.seed}
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
