"""Do samples hang together? Energy and variogram scores on the data of `cases.py`.

    python benchmarks/accuracy/joint.py --stays 40 --samples 16
    python benchmarks/accuracy/joint.py --data air-quality --stays 82 --samples 16

Kinds: `plain`, samples of the sampler; `coupled`, the same with the marginal head's distribution in
each cell; `independent`, draws from the head that know nothing of each other; `reference`, all 50
steps, with `--reference-samples` trajectories. Energy and variogram scores are means over
stays, of all hidden cells of a stay together; the CRPS of sums over gaps and of differences between
neighbouring hidden cells are means over all gaps. Standardised units. Both heads are those of
`marginals.py`. Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from cases import CASE_KEY, add_options, identity, read_case
from healthcare import Data
from marginals import with_marginals
from records import RESULTS, add_row, circumstances, has_row
from reference import KEPT, add_reference_options, reference_samples

from tsimpute import EDDPMImputer
from tsimpute.evaluation import (
    contrast_crps,
    energy_score,
    gap_contrasts,
    variogram_score,
)

FILE = RESULTS / "joint.csv"
KEY = [*CASE_KEY, "kind", "sampler", "kept", "iterations", "n_stays", "n_samples", "seed"]
HEAD_KINDS = ("coupled", "independent")
PLACES = ("14 29", "11 18 29", "8 16 24 32 40")


def draw(
    kind: str, kept: str, imputer: EDDPMImputer, hidden: np.ndarray, options: argparse.Namespace
) -> np.ndarray:
    """Samples (S, N, L, K) of one kind, but for the reference."""
    full = imputer.model_
    if kind == "independent":
        rng = np.random.default_rng(options.seed)
        levels = [(i + 0.5) / options.samples for i in range(options.samples)]
        marks = imputer.predict_quantiles(hidden, levels, method="head").values
        return rng.permuted(marks, axis=0)
    grid = full.schedule.respaced([int(step) for step in kept.split()])
    imputer.model_ = replace(full, grid=grid)
    try:
        return imputer.sample(
            hidden,
            options.samples,
            random_state=options.seed,
            sampler=options.sampler,
            variance="crps",
            marginals="head" if kind == "coupled" else "samples",
        ).values
    finally:
        imputer.model_ = full


def mean_scores(drawn: np.ndarray, truth: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Scores of each stay's hidden cells, averaged over the stays that have at least two."""
    scored = [i for i in range(len(truth)) if target[i].sum() >= 2]
    cells = [(drawn[:, i][:, target[i]], truth[i][target[i]]) for i in scored]
    given = [~np.isnan(truth[i]) & ~target[i] for i in scored]
    contrasts = [gap_contrasts(g, target[i]) for g, i in zip(given, scored, strict=True)]
    sums = [contrast_crps(*pair, found[0]) for pair, found in zip(cells, contrasts, strict=True)]
    steps = [contrast_crps(*pair, found[1]) for pair, found in zip(cells, contrasts, strict=True)]
    return {
        "energy_score": float(np.mean([energy_score(*pair) for pair in cells])),
        "variogram_score": float(np.mean([variogram_score(*pair) for pair in cells])),
        "crps_of_sums": float(np.concatenate(sums).mean()),
        "crps_of_differences": float(np.concatenate(steps).mean()),
        "n_scored": len(scored),
        "n_gaps": len(np.concatenate(sums)),
    }


def run_row(
    row: dict[str, Any], imputer: EDDPMImputer, data: Data, options: argparse.Namespace
) -> dict[str, Any]:
    """Draw and score one row."""
    stays = data.test[: options.stays]
    hidden = np.where(data.target[stays], np.nan, data.values[stays])
    if row["kind"] == "reference":
        drawn, _ = reference_samples(data, hidden, options)
    else:
        drawn = draw(row["kind"], row["kept"], imputer, hidden, options)
    evaluations = len(row["kept"].split()) * len(drawn) + (row["kind"] in HEAD_KINDS)
    answer = mean_scores(drawn, data.values[stays], data.target[stays])
    return answer | {"nfe_per_window": evaluations}


def main() -> None:
    """Run all rows that the result file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser)
    parser.add_argument("--stays", type=int, default=40)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sampler", default="ddpm", help="of plain and coupled samples")
    parser.add_argument("--iterations", type=int, default=500, help="of the head's training")
    add_reference_options(parser)
    parser.add_argument("--kept", nargs="+", default=list(PLACES))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    circumstances()
    data = read_case(options)
    imputer, _ = with_marginals(data, options)
    imputer.set_params(overlap=0.0, start="noise")
    rows = [{"kind": "independent", "kept": ""}]
    if options.reference_samples:
        rows.append({"kind": "reference", "kept": KEPT})
    rows += [{"kind": kind, "kept": k} for k in options.kept for kind in ("plain", "coupled")]
    for row in rows:
        sampler = {"independent": "", "reference": "ddpm"}.get(row["kind"], options.sampler)
        asked = {**identity(options), **row, "sampler": sampler}
        n = options.reference_samples if row["kind"] == "reference" else options.samples
        asked |= {"iterations": options.iterations, "n_stays": options.stays}
        asked |= {"n_samples": n, "seed": options.seed}
        if has_row(FILE, asked):
            continue
        found = run_row(row, imputer, data, options)
        add_row(FILE, asked | found | circumstances(), KEY)
        print(
            f"{row['kind']:12s} [{row['kept']}]: energy {found['energy_score']:.4f} "
            f"variogram {found['variogram_score']:.5f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
