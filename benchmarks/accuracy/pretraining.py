"""What pre-training on visible cells brings (MaskDM): CRPS against compute, and few data.

    python benchmarks/accuracy/pretraining.py                         # both parts, then the picture
    python benchmarks/accuracy/pretraining.py --parts curve --masks block:0.75 cell:0.5
    python benchmarks/accuracy/pretraining.py --parts                 # the picture alone

- `curve`: training from scratch, and pre-training followed by a fit on the same data, with as many
  iterations in all, half of them (`--share`) on visible cells, which take less time.
- `few`: a fit on the first 10 % and 1 % of the training rows, from scratch and after pre-training
  on other data: Air-quality's other stations, the weather for ETT, ETT for the weather. Here
  `iterations` are those of the fit; pre-training has `--other-iterations` more, once for all.

Air-quality has CSDI's months and evaluation holes, in µg/m³; ETT (hourly) and the weather (by the
hour) have made holes, standardised. The fit learns which steps to keep, as ever. Quantiles are
those of the mixture after `fit_variance`, which is the same for all rows and no part of the
compute. `seconds` are of the processor (`process_time`), of pre-training and of the fit with its
validation and its search of steps, both of which weigh much in short runs; on a busy machine
iterations are the safer axis. Small training sets are repeated within an epoch, so that validation
costs little; an epoch is the least that can be run, so that `iterations_done` differs a little
from what was asked for. Each row is written when it is done, and rows that are there already are
left out. Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from pretraining_data import SETS, Task, load_task
from records import OLDER_DEFAULTS, RESULTS, add_row, circumstances, has_row, read_rows
from samplers import scores

from tsimpute import EDDPMImputer
from tsimpute.evaluation.metrics import CRPS_LEVELS
from tsimpute.plotting import plot_quality

FILE = RESULTS / "pretraining.csv"
KEY = ["part", "data", "mask", "iterations", "pretraining_iterations", "fraction", "seed"]
KEY += [
    "channels",
    "layers",
    "batch_size",
    "window_steps",
    "test_windows",
    "n_samples",
    "kept_steps",
]
SCRATCH = "none"
EPOCHS = 4  # about, where the data need not be repeated


def imputer_of(row: dict[str, Any], options: argparse.Namespace) -> EDDPMImputer:
    """Unfitted imputer of a row."""
    return EDDPMImputer(
        window_steps=row["window_steps"],
        kept_steps=row["kept_steps"],
        channels=row["channels"],
        layers=row["layers"],
        heads=options.heads,
        batch_size=row["batch_size"],
        target_strategy="block",
        validation_fraction=0.0,
        overlap=0.0,
        variance="fixed",  # its head is learned apart, so that it is not timed
        random_state=row["seed"],
        device="cpu",
        verbose=0,
        **OLDER_DEFAULTS,
    )


class Ration:
    """Training data, repeated where they are few, for about a number of iterations.

    `iterations` are then those that it really is.
    """

    def __init__(self, train: pd.DataFrame, iterations: int, row: dict[str, Any]) -> None:
        steps, size = row["window_steps"], row["batch_size"]
        lengths = train.groupby(level=0, sort=False).size()
        n_windows = sum(1 + max(0, n - steps) // (steps // 2) for n in lengths)
        n_copies = max(1, iterations * size // (EPOCHS * n_windows))
        repeated = pd.concat(dict.fromkeys(range(n_copies), train))
        names = [f"{copy} {series}" for copy, series, _ in repeated.index]
        times = repeated.index.get_level_values(-1)
        self.data = repeated.set_axis(pd.MultiIndex.from_arrays([names, times]))
        n_batches = -(-n_copies * n_windows // size)
        self.epochs = max(1, round(iterations / n_batches))
        self.iterations = self.epochs * n_batches


class Measured(NamedTuple):
    """An imputer, seconds of the processor that it has taken, and iterations."""

    imputer: EDDPMImputer
    seconds: float
    iterations: int


def pretrained(row: dict[str, Any], data: pd.DataFrame, options: argparse.Namespace) -> Measured:
    """An imputer of a row, pre-trained if the row says so."""
    imputer = imputer_of(row, options)
    if row["mask"] == SCRATCH:
        return Measured(imputer, 0.0, 0)
    kind, rate = row["mask"].split(":")
    ration = Ration(data, row["pretraining_iterations"], row)
    begun = time.process_time()
    imputer.pretrain(ration.data, mask_kind=kind, mask_rate=float(rate), epochs=ration.epochs)
    return Measured(imputer, time.process_time() - begun, ration.iterations)


def fitted(
    imputer: EDDPMImputer, train: pd.DataFrame, iterations: int, row: dict[str, Any]
) -> Measured:
    """The imputer, fitted, without what came before."""
    ration = Ration(train, iterations, row)
    begun = time.process_time()
    imputer.set_params(epochs=ration.epochs).fit(ration.data)
    return Measured(imputer, time.process_time() - begun, ration.iterations)


def scored(
    imputer: EDDPMImputer, task: Task, row: dict[str, Any], options: argparse.Namespace
) -> dict[str, float]:
    """Scores on the test windows."""
    imputer.fit_variance(task.train, "crps", n_batches=options.variance_batches)
    how = {"n_samples": row["n_samples"], "random_state": 0, "variance": "crps"}
    found = imputer.predict_quantiles(task.given, CRPS_LEVELS, **how)
    return scores(found.values[:, task.target], task.truth[task.target])


def run_rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What identifies each row, the cheap ones first."""
    sizes = {name: getattr(options, name) for name in KEY[7:]}
    parts = {
        "curve": [(n, 1.0) for n in options.iterations],
        "few": [(n, f) for f in options.fractions for n in options.few_iterations],
    }
    for part in options.parts:
        for seed in options.seeds:
            for data in options.data:
                for iterations, fraction in parts[part]:
                    for mask in (SCRATCH, *options.masks):
                        share = round(options.share * iterations)
                        before = share if part == "curve" else options.other_iterations
                        before = 0 if mask == SCRATCH else before
                        known = (part, data, mask, iterations, before, fraction, seed)
                        yield dict(zip(KEY, known, strict=False)) | sizes


def measure(
    row: dict[str, Any], options: argparse.Namespace, known: dict[tuple[Any, ...], Measured]
) -> dict[str, Any]:
    """Train and score a row; imputers that were pre-trained on other data are kept in `known`."""
    few = row["part"] == "few"
    task = load_task(row["data"], row["window_steps"], row["test_windows"], other=few)
    small = task.first(row["fraction"])
    key = (row["data"], row["mask"], row["seed"])
    before = known.get(key) if few else None
    if before is None:
        before = pretrained(row, task.other, options)
    if few and row["mask"] != SCRATCH:
        known[key] = before
    left = row["iterations"] - (0 if few else row["pretraining_iterations"])
    after = fitted(before.imputer, small.train, left, row)
    return scored(after.imputer, small, row, options) | {
        "pretraining_seconds": round(before.seconds, 1),
        "fit_seconds": round(after.seconds, 1),
        "pretraining_done": before.iterations,
        "iterations_done": before.iterations + after.iterations,
        "train_rows": len(small.train),
    }


def draw() -> None:
    """CRPS against iterations and against seconds, a line each way."""
    from matplotlib.figure import Figure

    rows = read_rows(FILE)
    rows = rows[rows["part"] == "curve"]
    rows["way"] = np.where(rows["mask"] == SCRATCH, "from scratch", "pre-trained, " + rows["mask"])
    rows["seconds"] = rows["pretraining_seconds"] + rows["fit_seconds"]
    columns = ["crps", "seconds", "iterations_done"]
    rows = rows.groupby(["data", "way", "iterations"], sort=False)[columns].mean().reset_index()
    names = list(rows["data"].unique())
    figure = Figure(figsize=(11, 4.2 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 2, squeeze=False)
    for name, line in zip(names, axes, strict=True):
        table = rows[rows["data"] == name].drop(columns="iterations")
        table = table.rename(columns={"crps": "CRPS", "iterations_done": "iterations"})
        for x, ax in zip(("iterations", "seconds"), line, strict=True):
            plot_quality(table.round({"seconds": 1}), x, "CRPS", "way", ax=ax)
            ax.set_title(name)
    figure.savefig(RESULTS / "pretraining.png", dpi=120)


def parsed() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="*", default=["curve", "few"], choices=["curve", "few"])
    parser.add_argument("--data", nargs="+", default=["air_quality", "ett"], choices=SETS)
    parser.add_argument("--masks", nargs="+", default=["block:0.5"], help="kind:rate")
    parser.add_argument("--iterations", type=int, nargs="+", default=[100, 200, 400, 800])
    parser.add_argument("--share", type=float, default=0.5, help="of iterations: pre-training")
    parser.add_argument("--few-iterations", type=int, nargs="+", default=[400])
    parser.add_argument("--other-iterations", type=int, default=800)
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1, 0.01])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--window-steps", type=int, default=36)
    parser.add_argument("--kept", dest="kept_steps", type=int, default=5)
    parser.add_argument("--test-windows", type=int, default=40)
    parser.add_argument("--samples", dest="n_samples", type=int, default=8)
    parser.add_argument("--variance-batches", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Train and score every row that the result file does not have yet, and draw them."""
    options = parsed()
    torch.set_num_threads(options.threads)
    circumstances()
    known: dict[tuple[Any, ...], Measured] = {}
    for row in run_rows(options):
        if has_row(FILE, row):
            continue
        begun = time.perf_counter()
        found = measure(row, options, known)
        took = round(time.perf_counter() - begun, 1)
        add_row(FILE, row | found | {"seconds_in_all": took} | circumstances(), KEY)
        print(
            f"{row['part']} {row['data']} {row['mask']} {row['iterations']} iterations, "
            f"{row['fraction']:.0%} of the rows: CRPS {found['crps']:.4f} after "
            f"{found['pretraining_seconds']:.0f} + {found['fit_seconds']:.0f} s "
            f"({took:.0f} s with scores)",
            flush=True,
        )
    if FILE.is_file() and (read_rows(FILE)["part"] == "curve").any():
        draw()


if __name__ == "__main__":
    main()
