"""Air-quality (AQI-36) from scratch: CSDI with all steps against EDDPM with ten, equal training.

    python benchmarks/accuracy/air_quality.py --epochs 2 --samples 10      # CPU, reduced
    python benchmarks/accuracy/air_quality.py --epochs 200 --samples 100   # GPU, full protocol

Training goes on from a checkpoint under `benchmarks/.cache`; `--stop-after SECONDS` ends a call
in good time with exit code 3, and the next call takes it up. Samples are kept too, some windows at
a time. Metrics in µg/m³ on the 82 test windows; protocol of CSDI. Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Any

import numpy as np
import torch
from kept_samples import kept_samples
from records import CACHE, RESULTS, add_row, circumstances, has_row

from tsimpute import EDDPMImputer, load, load_air_quality
from tsimpute.evaluation import score_samples
from tsimpute.evaluation.protocol import aqi_split, aqi_windows

CHUNK = 4  # windows between two stops of the sampling
STOPPED = 3  # exit code of a call that ran out of its time
KEY = ["kept_steps", "anchor", "epochs", "n_samples", "seed", "mask_rule", "attention_dropout"]


def describe(kept_steps: int, anchor: str, options: argparse.Namespace) -> dict[str, Any]:
    """What identifies a row."""
    values = (
        kept_steps,
        anchor,
        options.epochs,
        options.samples,
        options.seed,
        options.mask_rule,
        options.attention_dropout,
    )
    return dict(zip(KEY, values, strict=True))


def named(row: dict[str, Any]) -> str:
    """A row's training, as the name of a folder."""
    return "-".join(str(row[k]) for k in KEY if k != "n_samples")


def trained(row: dict[str, Any], options: argparse.Namespace) -> EDDPMImputer:
    """Fitted imputer of a row, from the cache where it is complete, else from its checkpoint."""
    saved = CACHE / "air_quality" / named(row)
    if saved.exists():
        return load(saved, device=options.device)
    data = load_air_quality()
    split = aqi_split(data.ground)
    scaled = ((data.ground - split.mean) / split.sd).to_numpy()
    imputer = EDDPMImputer(
        window_steps=36,
        kept_steps=row["kept_steps"],
        epochs=row["epochs"],
        anchor=row["anchor"],
        mask_rule=row["mask_rule"],
        attention_dropout=row["attention_dropout"],
        learning_rate=1e-3,  # of CSDI, as is the want of a warm-up
        warmup=0.0,
        sampler="ddpm",
        target_strategy="mix",
        validation_fraction=0.0,
        overlap=0.0,
        random_state=row["seed"],
        device=options.device,
    )
    patterns = aqi_windows(scaled, split.pattern_starts)
    checkpoint = saved.with_name(saved.name + ".checkpoint")
    imputer.fit(aqi_windows(scaled, split.train_starts), patterns=patterns, checkpoint=checkpoint)
    if len(imputer.history_) < row["epochs"]:  # stopped before its end
        sys.exit(STOPPED)
    imputer.save(saved)
    return imputer


def evaluate(
    imputer: EDDPMImputer, row: dict[str, Any], options: argparse.Namespace
) -> dict[str, float]:
    """Scores on the test windows."""
    data = load_air_quality()
    split = aqi_split(data.ground)
    truth = aqi_windows(data.ground.to_numpy(), split.test_starts)
    given = aqi_windows(data.missing.to_numpy(), split.test_starts)
    target = np.isnan(given) & ~np.isnan(truth) & split.scored[..., None]
    drawn, seconds = kept_samples(
        imputer,
        (given - split.mean) / split.sd,
        options.samples,
        seed=options.seed,
        chunk=CHUNK,
        folder=CACHE / "air_quality" / f"samples-{named(row)}-{options.samples}",
        name="test",
    )
    scores = score_samples(drawn * split.sd + split.mean, truth, target)
    return scores | {"n_windows": len(truth), "sample_seconds": round(seconds, 1)}


def main() -> None:
    """Train and score every row that the result file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--kept", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--anchors", nargs="+", default=["linear", "none"])
    parser.add_argument("--mask-rule", default="guarded")
    parser.add_argument("--attention-dropout", type=float, default=0.0, help="0.1 in CSDI")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--stop-after", type=int, default=0, metavar="SECONDS")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    circumstances()
    if options.stop_after:
        signal.signal(signal.SIGALRM, signal.default_int_handler)  # as Ctrl-C
        signal.alarm(options.stop_after)
    (CACHE / "air_quality").mkdir(parents=True, exist_ok=True)
    for anchor in options.anchors:
        for kept in options.kept:
            row = describe(kept, anchor, options)
            if has_row(RESULTS / "air_quality.csv", row):
                continue
            imputer = trained(row, options)
            scores = evaluate(imputer, row, options)
            grid = imputer.model_.grid
            row |= {"kept": " ".join(map(str, grid.index)), **scores}
            row["top_alpha_bar"] = float(grid.alpha_bar[-1])
            row["nfe_per_window"] = len(grid) * options.samples
            row["train_seconds"] = round(float(imputer.history_["seconds"].iloc[-1]), 1)
            add_row(RESULTS / "air_quality.csv", row | circumstances(), KEY)
            print(
                f"{anchor} {kept} steps: MAE {row['mae']:.3f} RMSE {row['rmse']:.3f} "
                f"CRPS {row['crps']:.4f} 90 % {row['coverage_90']:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(STOPPED)
