"""Healthcare (PhysioNet 2012), official CSDI weights: fewer diffusion steps, three ways.

Rows of the table:

- `respaced`: the official weights, untrained, on well-placed steps (or all 50);
- `respaced, fine-tuned`: trained for one epoch on exactly those steps;
- `EDDPM guarded` and `EDDPM paper`: pruned in one epoch, by either rule.

    python benchmarks/accuracy/healthcare.py --stays 100 --samples 20

Every row of the table is written as soon as it is done, and its samples are kept stay by stay
under `benchmarks/.cache`, so that the script can be stopped at any time and started again.
Standardised units; protocol of CSDI, fold 0. Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept_samples import kept_samples
from records import CACHE, RESULTS, add_row, circumstances, has_row

from tsimpute import EDDPMImputer, load, load_healthcare
from tsimpute.evaluation import score_samples
from tsimpute.evaluation.protocol import healthcare_scale, healthcare_split, healthcare_targets
from tsimpute.fitting.fit import FINE_TUNING_RATE

# The best places found by hand for the official weights, 0-based.
WELL_PLACED: dict[int, list[int]] = {
    1: [38],
    2: [18, 38],
    3: [14, 26, 40],
    5: [8, 16, 24, 32, 40],
    10: list(range(4, 41, 4)),
    50: list(range(50)),
}
KINDS = ("respaced", "respaced, fine-tuned", "EDDPM guarded", "EDDPM paper")
KEY = ["missing", "fold", "kind", "steps", "learning_rate", "n_stays", "n_samples", "seed"]
LEARNING_RATE = 1e-3 * FINE_TUNING_RATE  # of the default, as `prune` takes it


@dataclass(frozen=True)
class Data:
    """Standardised windows (N, L, K) with NaN where missing, targets, and the split.

    Scores are in standardised units, unless `mean` and `sd` (K,) lead to others.
    """

    values: np.ndarray
    target: np.ndarray
    train: np.ndarray
    test: np.ndarray
    mean: np.ndarray | float = 0.0
    sd: np.ndarray | float = 1.0


def read_data(missing: float, fold: int) -> Data:
    """Healthcare by CSDI's protocol, standardised."""
    stays = load_healthcare().non_empty.values
    mean, std = healthcare_scale(stays)
    split = healthcare_split(len(stays), fold)
    values = (stays - mean) / std
    return Data(values, healthcare_targets(stays, missing), split.train, split.test)


def official(options: argparse.Namespace) -> EDDPMImputer:
    """The official weights as an imputer."""
    path = Path(os.environ["TSIMPUTE_DATA"]) / "csdi_pretrained" / "model_state.npz"
    settings = {"overlap": 0.0, "random_state": options.seed, "device": options.device}
    return EDDPMImputer.from_csdi_weights(path, sampler="ddpm", verbose=0, **settings)


def prepared(
    kind: str, steps: int, data: Data, options: argparse.Namespace
) -> tuple[EDDPMImputer, float]:
    """Imputer for a row, and the seconds that its training took; trained ones are cached."""
    imputer = official(options)
    if kind == "respaced":
        grid = imputer.model_.schedule.respaced(WELL_PLACED[steps])
        imputer.model_ = replace(imputer.model_, grid=grid)
        return imputer, 0.0
    name = f"{kind}-{steps}-fold{options.fold}-seed{options.seed}-rate{LEARNING_RATE:g}"
    saved = CACHE / "healthcare" / name
    if not saved.exists():
        rule = "paper" if kind == "EDDPM paper" else "guarded"
        places = WELL_PLACED[steps] if kind == "respaced, fine-tuned" else None
        imputer.prune(data.values[data.train], steps, epochs=1, mask_rule=rule, steps=places)
        imputer.save(saved)
    imputer = load(saved, device=options.device)
    return imputer, float(imputer.history_["seconds"].iloc[-1])


def samples(
    imputer: EDDPMImputer, name: str, data: Data, stays: np.ndarray, options: argparse.Namespace
) -> tuple[np.ndarray, float]:
    """Samples (S, N, 48, 35) of the stays and the seconds they took."""
    return kept_samples(
        imputer,
        np.where(data.target[stays], np.nan, data.values[stays]),
        options.samples,
        seed=options.seed,
        chunk=options.chunk,
        folder=CACHE / "healthcare" / f"samples-{name}-{options.samples}-seed{options.seed}",
        name=f"{options.missing:g}-{options.fold}",
    )


def rate_of(kind: str) -> float:
    """Learning rate of a row's training; 0 where there is none."""
    return 0.0 if kind == "respaced" else LEARNING_RATE


def run_row(kind: str, steps: int, data: Data, options: argparse.Namespace) -> dict[str, Any]:
    """Prepare, sample and score one row."""
    imputer, train_seconds = prepared(kind, steps, data, options)
    stays = data.test[: options.stays or len(data.test)]
    rate = rate_of(kind)
    drawn, seconds = samples(imputer, f"{kind}-{steps}-rate{rate:g}", data, stays, options)
    grid = imputer.model_.grid
    scores = score_samples(drawn, data.values[stays], data.target[stays])
    return {
        "missing": options.missing,
        "fold": options.fold,
        "kind": kind,
        "steps": steps,
        "learning_rate": rate,
        "kept": " ".join(str(i) for i in grid.index),
        "top_alpha_bar": float(grid.alpha_bar[-1]),
        **scores,
        "n_stays": len(stays),
        "n_samples": options.samples,
        "seed": options.seed,
        "nfe_per_window": len(grid) * options.samples,
        "train_seconds": round(train_seconds, 1),
        "sample_seconds": round(seconds, 1),
        **circumstances(),
    }


def wanted(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """(kind, steps) of every row, cheap ones first."""
    for steps in options.steps:
        for kind in options.kinds:
            if steps < 50 or kind == "respaced":
                yield kind, steps


def main() -> None:
    """Run all rows that the result file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--missing", type=float, default=0.1)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--stays", type=int, default=100, help="test stays; 0: the whole fold")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chunk", type=int, default=10, help="stays between two checkpoints")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 3, 5, 10, 50])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--prepare-only", action="store_true", help="train, but do not sample")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    circumstances()
    data = read_data(options.missing, options.fold)
    file = RESULTS / "healthcare.csv"
    n_stays = options.stays or len(data.test)
    for kind, steps in wanted(options):
        if options.prepare_only:
            prepared(kind, steps, data, options)
            continue
        known = {"missing": options.missing, "fold": options.fold, "kind": kind, "steps": steps}
        known |= {"learning_rate": rate_of(kind)}
        known |= {"n_stays": n_stays, "n_samples": options.samples, "seed": options.seed}
        if has_row(file, known):
            continue
        row = run_row(kind, steps, data, options)
        add_row(file, row, KEY)
        print(
            f"{kind:22s} {steps:3d} steps: CRPS {row['crps']:.4f}  MAE {row['mae']:.4f}  "
            f"RMSE {row['rmse']:.4f}  90 % {row['coverage_90']:.3f}  [{row['kept']}]",
            flush=True,
        )


if __name__ == "__main__":
    main()
