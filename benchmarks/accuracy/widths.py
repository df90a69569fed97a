"""Healthcare (PhysioNet 2012), official CSDI weights: a network as wide as each step needs (DDSM).

    python benchmarks/accuracy/widths.py --kept 10 --train-seconds 3600 --stays 60

The official weights are trained on at every width for a stated time, at the kept steps alone. A
strategy is searched by the CRPS of hidden cells of training stays that the widths were not trained
on. Then test stays, for several samplers at the same hidden cells and the same noise:

- `official`: the official weights, whole, at the kept steps, with the first sampler;
- `whole`: the network that was trained at every width, at its whole width;
- `strategy`: the widths that were found, some of which may be 0, for each weight of operations;
- `whole, its steps`: the whole width at the steps that the strategy kept, which tells what
  narrowness saves from what skipping saves; where the strategy only skips there is no such row.

`flops_share` is counted. `network_seconds` is one evaluation of 16 windows at every step, the
models taking turns, the least of several rounds, because a busy machine only adds to it; `seconds`
is what a user waits for quantiles of all stays, the models taking turns by chunks of stays. What
took long is kept under `benchmarks/.cache`, so that the script can be stopped and started again.
Standardised units; protocol of CSDI. Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
import copy
import time
from ast import literal_eval
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from healthcare import WELL_PLACED, Data, official, read_data
from records import CACHE, RESULTS, add_row, circumstances, has_row
from samplers import scores

from tsimpute import EDDPMImputer, load
from tsimpute.denoiser.flops import evaluation_flops
from tsimpute.evaluation.metrics import CRPS_LEVELS

FILE = RESULTS / "widths.csv"
SAMPLERS = ("ddpm", "ddim", "dpm-solver++2m")
KEY = ["missing", "fold", "kept", "train_seconds", "kind", "flops_weight", "skip", "sampler"]
KEY += ["n_stays", "n_samples", "seed", "search"]
BATCH = 16  # windows of a timed evaluation


def respaced(imputer: EDDPMImputer, options: argparse.Namespace) -> EDDPMImputer:
    """The same weights at the kept steps alone."""
    grid = imputer.model_.schedule.respaced(WELL_PLACED[options.kept])
    imputer.model_ = replace(imputer.model_, grid=grid)
    return imputer.set_params(variance="crps", learning_rate=options.learning_rate)


def training_stays(data: Data, options: argparse.Namespace) -> np.ndarray:
    """Stays that widths and variances are trained on."""
    return data.values[data.train[: options.training_stays or -options.held]]


def folder(options: argparse.Namespace) -> Path:
    """Where what was trained and found is kept."""
    name = f"fold{options.fold}-kept{options.kept}-{options.train_seconds:g}s"
    few = f"-{options.training_stays}stays" if options.training_stays else ""
    return CACHE / "widths" / f"{name}-rate{options.learning_rate:g}{few}-seed{options.seed}"


def references(data: Data, options: argparse.Namespace) -> dict[str, EDDPMImputer]:
    """The official weights, and the same trained at every width, both with a variance."""
    found = {}
    for kind in ("official", "whole"):
        saved = folder(options) / kind
        if not saved.exists():
            imputer = respaced(official(options), options)
            imputer.set_params(verbose=1)
            if kind == "official":
                imputer.fit_variance(training_stays(data, options), n_batches=options.batches)
            else:
                imputer.train_widths(
                    training_stays(data, options),
                    time_budget_s=options.train_seconds,
                    checkpoint=folder(options) / "training",
                )
            imputer.save(saved)
        found[kind] = load(saved, device=options.device).set_params(overlap=0.0, verbose=0)
    return found


def search(
    whole: EDDPMImputer, weight: float, data: Data, options: argparse.Namespace
) -> tuple[int, ...]:
    """The strategy for one weight of operations; scores are shared by all weights."""
    size = f"{options.population}x{options.generations}-{search_name(options)}"
    file = folder(options) / f"search-{weight:g}-{size}{'-no-skip' * options.no_skip}.csv"
    if file.is_file():
        table = pd.read_csv(file, converters={"widths": literal_eval})
        return tuple(table.loc[table["chosen"], "widths"].item())
    held = data.values[data.train[-options.held :]]
    imputer = copy.deepcopy(whole).set_params(verbose=1)
    imputer.search_widths(
        held,
        flops_weight=weight,
        population=options.population,
        generations=options.generations,
        skip=not options.no_skip,
        max_windows=options.windows,
        n_samples=options.search_samples,
        final_windows=options.final_windows,
        final_samples=options.final_samples,
        finalists=options.finalists,
        checkpoint=folder(options) / f"scores-{search_name(options)}.json",
    )
    table = imputer.width_search_
    table.to_csv(file, index=False)
    return tuple(table.loc[table["chosen"], "widths"].item())


def search_name(options: argparse.Namespace) -> str:
    """Size of the search."""
    few, final = (options.windows, options.search_samples), options.final_windows
    return f"{options.held}-{few[0]}x{few[1]}-{final}x{options.final_samples}"


def with_widths(
    whole: EDDPMImputer, strategy: tuple[int, ...], data: Data, options: argparse.Namespace
) -> EDDPMImputer:
    """The trained network with a strategy, and a variance for it."""
    name = "strategy-" + "".join(map(str, strategy))
    saved = folder(options) / name
    if not saved.exists():
        imputer = copy.deepcopy(whole).use_widths(strategy)
        imputer.fit_variance(training_stays(data, options), n_batches=options.batches)
        imputer.save(saved)
    return load(saved, device=options.device).set_params(overlap=0.0, verbose=0)


def contestants(data: Data, options: argparse.Namespace) -> dict[tuple[str, float], EDDPMImputer]:
    """Every model that is compared, by its kind and the weight of operations."""
    found = {(kind, 0.0): model for kind, model in references(data, options).items()}
    whole = found["whole", 0.0]
    for weight in options.flops_weights:
        strategy = search(whole, weight, data, options)
        print(f"weight {weight:g}: widths {strategy}, cleanest step first", flush=True)
        found["strategy", weight] = with_widths(whole, strategy, data, options)
        kept = tuple(8 if width else 0 for width in strategy)
        if kept != strategy:
            found["whole, its steps", weight] = with_widths(whole, kept, data, options)
    return found


def network_seconds(models: list[EDDPMImputer], data: Data, rounds: int) -> list[float]:
    """Least seconds of one evaluation of 16 windows at every step, the models taking turns."""
    values = torch.from_numpy(np.nan_to_num(data.values[data.test[:BATCH]])).float()
    given = torch.from_numpy(~np.isnan(data.values[data.test[:BATCH]]))
    taken: list[list[float]] = [[] for _ in models]
    networks = [model.model_.step_networks for model in models]
    for _ in range(rounds):
        for own, seconds in zip(networks, taken, strict=True):
            begun = time.perf_counter()
            with torch.no_grad():
                for network in own:
                    network(values, values, given, torch.full((len(values),), 20.0))
            seconds.append(time.perf_counter() - begun)
    return [min(seconds) for seconds in taken]


def quantiles(
    models: list[EDDPMImputer], sampler: str, data: Data, options: argparse.Namespace
) -> tuple[list[np.ndarray], list[float]]:
    """Quantiles (19, n_hidden) of the test stays by each model, and seconds, taking turns."""
    stays = data.test[: options.stays]
    parts: list[list[np.ndarray]] = [[] for _ in models]
    seconds = [0.0] * len(models)
    for first in range(0, len(stays), options.chunk):
        rows = stays[first : first + options.chunk]
        hidden = np.where(data.target[rows], np.nan, data.values[rows])
        for i, model in enumerate(models):
            begun = time.perf_counter()
            found = model.predict_quantiles(
                hidden,
                CRPS_LEVELS,
                n_samples=options.samples,
                random_state=options.seed + first,
                sampler=sampler,
            )
            seconds[i] += time.perf_counter() - begun
            parts[i].append(found.values[:, data.target[rows]])
        print(f"{sampler}: {first + len(rows)} of {len(stays)} stays", flush=True)
    return [np.concatenate(part, axis=1) for part in parts], seconds


def cost(model: EDDPMImputer, n_steps: int) -> float:
    """Counted operations, as a share of the whole network's at all kept steps."""
    each = [evaluation_flops(network.config, 48) for network in model.model_.step_networks]
    return sum(each) / (n_steps * evaluation_flops(model.model_.network.config, 48))


def known(kind: str, weight: float, sampler: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a row is found by."""
    return {
        "missing": options.missing,
        "fold": options.fold,
        "kept": " ".join(map(str, WELL_PLACED[options.kept])),
        "train_seconds": options.train_seconds,
        "kind": kind,
        "flops_weight": weight,
        "skip": not options.no_skip,
        "sampler": sampler,
        "n_stays": options.stays,
        "n_samples": options.samples,
        "seed": options.seed,
        "search": f"{options.population}x{options.generations}-{search_name(options)}",
    }


def compare(data: Data, options: argparse.Namespace) -> None:
    """Write a row for each model and sampler that the result file does not have yet."""
    everyone = contestants(data, options)
    seconds_of = dict(
        zip(everyone, network_seconds(list(everyone.values()), data, options.rounds), strict=True)
    )
    target = data.target[data.test[: options.stays]]
    truth = data.values[data.test[: options.stays]][target]
    for sampler in options.samplers:
        first = sampler == options.samplers[0]
        found = {name: model for name, model in everyone.items() if first or name[0] != "official"}
        names, models = list(found), list(found.values())
        turns = [seconds_of[name] for name in names]
        rows = [known(kind, weight, sampler, options) for kind, weight in names]
        if all(has_row(FILE, row) for row in rows):
            continue
        answers, seconds = quantiles(models, sampler, data, options)
        measured = [scores(answer, truth) for answer in answers]
        reference = measured[names.index(("whole", 0.0))]["crps"]
        for row, model, score, network_s, waited in zip(
            rows, models, measured, turns, seconds, strict=True
        ):
            widths = model.model_.widths
            row |= {
                "widths": "" if widths is None else " ".join(map(str, widths.eighths)),
                "steps": " ".join(map(str, model.model_.grid.index)),
                "flops_share": cost(model, options.kept),
                **score,
                "crps_change": score["crps"] / reference - 1,
                "network_seconds": network_s,
                "network_share": network_s / turns[names.index(("whole", 0.0))],
                "seconds": round(waited, 1),
            }
            add_row(FILE, row | circumstances(), KEY)
            print(
                f"{sampler:15s} {row['kind']:17s} {row['flops_weight']:g} [{row['widths']}] "
                f"FLOPs {row['flops_share']:.3f} network time {row['network_share']:.3f} "
                f"CRPS {row['crps']:.4f} ({row['crps_change']:+.2%}) {row['seconds']:.0f} s",
                flush=True,
            )


def main() -> None:
    """Train, search, compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--missing", type=float, default=0.1)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--kept", type=int, default=10, choices=list(WELL_PLACED))
    parser.add_argument("--train-seconds", type=float, default=3600.0)
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of width training")
    parser.add_argument("--training-stays", type=int, default=0, help="0: all but the held ones")
    parser.add_argument("--held", type=int, default=160, help="training stays for the search")
    parser.add_argument("--batches", type=int, default=100, help="behind each variance")
    parser.add_argument("--flops-weights", type=float, nargs="+", default=[0.02, 0.1])
    parser.add_argument("--no-skip", action="store_true", help="keep every step")
    parser.add_argument("--population", type=int, default=50)
    parser.add_argument("--generations", type=int, default=10)
    parser.add_argument("--windows", type=int, default=12, help="stays behind a score")
    parser.add_argument("--search-samples", type=int, default=4)
    parser.add_argument("--final-windows", type=int, default=64)
    parser.add_argument("--final-samples", type=int, default=16)
    parser.add_argument("--finalists", type=int, default=5, help="besides the whole network")
    parser.add_argument("--stays", type=int, default=60, help="test stays")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--chunk", type=int, default=10, help="stays between two turns")
    parser.add_argument("--rounds", type=int, default=9, help="of timed evaluations")
    parser.add_argument("--samplers", nargs="+", default=list(SAMPLERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    circumstances()
    compare(read_data(options.missing, options.fold), options)


if __name__ == "__main__":
    main()
