"""Samplers, variances and steps on one trained network, which is not trained any more.

    python benchmarks/accuracy/samplers.py --stays 40 --samples 16
    python benchmarks/accuracy/samplers.py --data air-quality --stays 82 --samples 16

Healthcare (PhysioNet 2012) by the official CSDI weights, or Air-quality by a network of ours; see
`cases.py`.

Each row asks for the protocol's 19 quantiles, as a user would, of the same hidden cells. With a
variance other than "fixed" they are those of the mixture of the Gaussians in which the
trajectories end. The variance heads are trained once, on the training stays, with the network
frozen. `naive` is what the published tables printed as DDPM at few steps: the noise of single
steps with the levels of the whole chain, which fit together at no step but the first.

"ggdm", "tdas" and "genie-distilled" are fitted on the training windows for the steps of their row.
`nfe_per_window` counts a Jacobian-vector product, which "genie" takes, as three evaluations.
What an earlier row has asked the network is not evaluated again; `seconds` count it all the same.
Rows are written one by one, so that the script can be stopped and started again, and with `--chunk`
within a row too; other chunks mean other noise. Protocols of CSDI.
Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import CASE_KEY, add_options, base, file_name, identity, in_units, read_case
from healthcare import WELL_PLACED, Data
from kept_samples import kept_answers
from records import CACHE, RESULTS, add_row, circumstances, has_row
from remembered import Remembered

from tsimpute import EDDPMImputer, load
from tsimpute.diffusion.schedule import TimeGrid, make_schedule
from tsimpute.diffusion.step_selection import quadratic_steps, uniform_steps
from tsimpute.errors import InputError
from tsimpute.evaluation.metrics import CRPS_LEVELS, quantile_crps_from_quantiles
from tsimpute.fitting.heads import training_examples
from tsimpute.fitting.training_data import TrainingData
from tsimpute.model import FittedModel
from tsimpute.panel.containers import read_panel
from tsimpute.samplers.catalogue import SAMPLERS
from tsimpute.samplers.protocol import (
    Callback,
    Denoise,
    DrawNoise,
    ReverseVariance,
    StepRecord,
    clean_values,
)
from tsimpute.samplers.wrapped import evaluations
from tsimpute.sampling.methods import VARIANCES
from tsimpute.training.variance_heads import (
    HEAD_KINDS,
    collect_cells,
    fit_variance_head,
    noise_power,
)

FILE = RESULTS / "samplers.csv"
KEY = [*CASE_KEY, "sampler", "variance", "placement", "kept", "antithetic", "n_stays"]
KEY += ["n_samples", "seed"]
SCHEDULE = make_schedule()
HEAD_BATCHES = 150
IN_PAIRS = ("ddpm", "dpm-solver++2m-sde")  # which are tried with antithetic pairs too
FITTED = ("tdas", "ggdm", "genie-distilled")
LEARNED_PLACES = {1: [27], 2: [14, 29], 3: [11, 18, 29]}  # found by EDDPM's guarded rule


def naive(
    denoise: Denoise,
    x: torch.Tensor,
    grid: TimeGrid,
    variance: ReverseVariance,
    draw_noise: DrawNoise | None = None,
    callback: Callback | None = None,
) -> torch.Tensor:
    """Ancestral steps with the beta of the single step and the level of the whole chain."""
    for j in reversed(range(len(grid))):
        t = int(grid.index[j])
        level, beta = float(SCHEDULE.alpha_bar[t]), float(SCHEDULE.beta[t])
        noise = denoise(x, float(t), level).noise
        before, x = x, (x - beta / math.sqrt(1 - level) * noise) / math.sqrt(1 - beta)
        if j > 0:
            cleaner = float(SCHEDULE.alpha_bar[t - 1])
            fresh = torch.randn_like(x) if draw_noise is None else draw_noise()
            x = x + math.sqrt(beta * (1 - cleaner) / (1 - level)) * fresh
        if callback is not None:
            callback(StepRecord(j, x, clean_values(before, noise, level)))
    return x


def with_heads(data: Data, options: argparse.Namespace) -> EDDPMImputer:
    """The network with every variance head, from the cache or trained now."""
    saved = CACHE / "samplers" / f"heads-{file_name(options)}"
    if saved.exists():
        return load(saved, device=options.device)
    imputer = base(data, options)
    model = imputer.model_
    learned_from = TrainingData(read_panel(data.values[data.train]), options.seed)
    source = training_examples(imputer, model, learned_from)
    network = model.network.to(source.device)
    cells = collect_cells(network, model.grid, source, HEAD_BATCHES)
    torch.manual_seed(options.seed)
    heads = {kind: fit_variance_head(kind, cells, options.seed) for kind in HEAD_KINDS}
    power = noise_power(cells, model.grid)
    imputer.model_ = replace(model, heads=heads, noise_power=power)
    imputer.save(saved)
    return imputer


def with_fitted(
    row: dict[str, Any], imputer: EDDPMImputer, data: Data, options: argparse.Namespace
) -> FittedModel:
    """The model with what the row's sampler learns for its steps, from the cache or now.

    It learns from training windows alone, so that one fit serves every share of hidden cells.
    """
    name = "-".join([row["sampler"], file_name(options), *row["kept"].split()])
    saved = CACHE / "samplers" / name
    if not saved.exists():
        imputer.fit_sampler(data.values[data.train], row["sampler"])
        imputer.save(saved)
        return imputer.model_
    known = load(saved, device=options.device).model_
    learned = {"ggdm": known.ggdm, "spectrum": known.spectrum, "heads": known.heads}
    return replace(imputer.model_, **learned)


def places(n_steps: int) -> dict[str, list[int]]:
    """Kept steps by the way that they were chosen; by hand and learned on Healthcare.

    Strided ones, from 0 in equal strides, are what DDIM's code calls uniform (Song et al. 2021).
    """
    by_hand = {"by hand": WELL_PLACED[n_steps]} if n_steps in WELL_PLACED else {}
    learned = {"learned": LEARNED_PLACES[n_steps]} if n_steps in LEARNED_PLACES else {}
    spaced = {
        "uniform": uniform_steps(50, n_steps).tolist(),
        "quadratic": quadratic_steps(50, n_steps).tolist(),
        "strided": [50 * i // n_steps for i in range(n_steps)],
    }
    return by_hand | learned | spaced


def wanted(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Sampler, variance, placement and kept steps of every row, cheap ones first."""
    every = ["fixed", "large", "analytic", "crps", "npr", "sn"]
    variances = {"ddpm": every, "ddim": every} | {kind: ["fixed"] for kind in FITTED}
    for n_steps in options.steps:
        for placement, kept in places(n_steps).items():
            if placement not in options.placements:
                continue
            for sampler in options.samplers:
                for variance in variances.get(sampler, ["fixed", "crps"]):
                    if variance not in options.variances:
                        continue
                    if sampler == "naive" and variance != "fixed":
                        continue
                    in_pairs = sampler in IN_PAIRS and variance == "crps"
                    for paired in [False, True] if in_pairs else [False]:
                        if options.only_pairs and not paired:
                            continue
                        yield {
                            "sampler": sampler,
                            "variance": variance,
                            "placement": placement,
                            "kept": " ".join(map(str, kept)),
                            "antithetic": paired,
                        }


def scores(quantiles: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Scores of the protocol from its 19 quantiles (19, N) and the true values (N,)."""
    error = quantiles[9] - truth

    def within(low: int, high: int) -> np.ndarray:
        return (quantiles[low] <= truth) & (truth <= quantiles[high])

    everywhere = np.ones(truth.shape, dtype=bool)
    return {
        "crps": quantile_crps_from_quantiles(quantiles, CRPS_LEVELS, truth, everywhere),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.square(error).mean() ** 0.5),
        "coverage_50": float(within(4, 14).mean()),
        "coverage_90": float(within(0, 18).mean()),
        "n": truth.size,
    }


def run_row(
    row: dict[str, Any], imputer: EDDPMImputer, data: Data, options: argparse.Namespace
) -> dict[str, Any]:
    """Ask for the quantiles of one row and score them; network evaluations are counted."""
    stays, target = data.test[: options.stays], data.target[data.test[: options.stays]]
    full, trunk, evaluated, n_asked = imputer.model_, options.remembered, [], []
    grid = full.schedule.respaced([int(step) for step in row["kept"].split()])
    imputer.model_ = replace(full, grid=grid)
    imputer.set_params(antithetic=row["antithetic"], overlap=0.0)
    if row["sampler"] in FITTED:
        imputer.model_ = with_fitted(row, imputer, data, options)
    counter = full.network.skip_projection.register_forward_hook(
        lambda module, inputs, output: evaluated.append(len(output) * evaluations(output))
    )
    choice = {"sampler": row["sampler"], "variance": row["variance"]}
    saved_s = trunk.saved_s

    def ask(given: np.ndarray, seed: int) -> np.ndarray:
        n_asked.append(len(given))
        asked = {"n_samples": options.samples, "random_state": seed, **choice}
        return np.asarray(imputer.predict_quantiles(given, CRPS_LEVELS, **asked).values)

    try:
        found, seconds = kept_answers(
            ask,
            np.where(target, np.nan, data.values[stays]),
            seed=options.seed,
            chunk=options.chunk or len(stays),
            folder=parts_of(row, options),
            name="windows",
        )
    finally:
        counter.remove()
        imputer.model_ = full
    marks, truth = (
        in_units(cells, data, stays, target)
        for cells in (found[:, target], data.values[stays][target])
    )
    return scores(marks, truth) | {
        # of what was asked now: what an earlier call has kept was not counted
        "nfe_per_window": sum(evaluated) / sum(n_asked) if n_asked else "",
        "seconds": round(seconds + trunk.saved_s - saved_s, 1),
        "chunk": options.chunk or "",
    }


def parts_of(row: dict[str, Any], options: argparse.Namespace) -> Path:
    """Where the answers of a row lie until it is written."""
    case = {**identity(options), **row, "n": options.samples, "seed": options.seed}
    return CACHE / "samplers" / "rows" / "_".join(str(case[name]) for name in sorted(case))


def main() -> None:
    """Run all rows that the result file does not have yet."""
    SAMPLERS["naive"] = naive
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser)
    parser.add_argument("--stays", type=int, default=40, help="test windows")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 3, 5, 10, 20, 25, 50])
    parser.add_argument("--samplers", nargs="+", default=[*SAMPLERS, *FITTED])
    parser.add_argument("--variances", nargs="+", default=list(VARIANCES))
    parser.add_argument("--placements", nargs="+", default=["by hand", "uniform", "quadratic"])
    parser.add_argument("--only-pairs", action="store_true", help="antithetic trajectories alone")
    parser.add_argument("--remember-gb", type=float, default=2, help="of the network's answers")
    parser.add_argument("--chunk", type=int, default=0, help="windows of a part; 0: all in one")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    circumstances()
    data = read_case(options)
    imputer = with_heads(data, options)
    network, kept_bytes = imputer.model_.network, int(options.remember_gb * 2**30)
    network.trunk = options.remembered = Remembered(network.trunk, kept_bytes)
    for row in wanted(options):
        asked = {**identity(options), **row, "n_stays": options.stays}
        asked |= {"n_samples": options.samples, "seed": options.seed}
        if has_row(FILE, asked):
            continue
        try:
            found = run_row(row, imputer, data, options)
        except InputError as error:
            print(f"{row}: {error}", flush=True)
            continue
        add_row(FILE, asked | found | circumstances(), KEY)
        shutil.rmtree(parts_of(row, options))
        print(
            f"{row['sampler']:18s} {row['variance']:8s} {row['kept']:15s} "
            f"pairs {row['antithetic']}: CRPS {found['crps']:.4f} MAE {found['mae']:.4f} "
            f"90 % {found['coverage_90']:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
