"""What `period` brings: the same training with straight lines and with lines that follow a season.

    python benchmarks/accuracy/seasons.py --epochs 12 --threads 1

ETT h1, the weather as hourly means, and AQI-36, all with days of 24 rows; a small network trained
on the first 70 % of the time, equally long with and without the period, and `evaluate` on the rest:
a tenth of the observed cells hidden, in blocks or as single cells, the same ones for all methods.
Scores in standard deviations of each feature. Rows that the result file has are not made again.
Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
from itertools import product

import pandas as pd
import torch
from records import OLDER_DEFAULTS, RESULTS, add_rows, circumstances, has_row

from tsimpute import EDDPMImputer, load_air_quality, load_ett, load_weather

FILE = RESULTS / "seasons.csv"
KEY = ["data", "pattern", "method", "period", "window", "epochs", "n_samples", "seed"]
DAY = 24
BASELINES = ("linear", "seasonal", "last value")
SMALL = {"channels": 32, "layers": 2, "heads": 4, "kept_steps": 5, "validation_fraction": 0.1}


def table_of(name: str) -> pd.DataFrame:
    """Hourly rows."""
    if name == "ett":
        return load_ett()
    if name == "air-quality":
        return load_air_quality().ground
    return load_weather().resample("h").mean()


def rows_of(name: str, period: int, options: argparse.Namespace) -> list[dict[str, object]]:
    """Train once, and score both patterns and the simple methods."""
    table = table_of(name)
    stop = int(0.7 * len(table))
    imputer = EDDPMImputer(
        window_steps=options.window,
        period=period or None,
        n_samples=options.samples,
        epochs=options.epochs,
        target_strategy="block",
        device=options.device,
        random_state=options.seed,
        verbose=0,
        **SMALL,
        **OLDER_DEFAULTS,
    ).fit(table.iloc[:stop])
    seconds = float(imputer.history_["seconds"].iloc[-1])
    rows = []
    for pattern in ("block", "point"):
        check = imputer.evaluate(
            table.iloc[stop:], pattern, methods=BASELINES, period=DAY, max_windows=options.windows
        )
        for method, scores in check.overall.iterrows():
            row = {"data": name, "pattern": pattern, "method": method, **scores.to_dict()}
            own = method == "tsimpute"
            rows.append(row | {"period": period, "train_seconds": seconds if own else 0.0})
    return rows


def main() -> None:
    """Run all rows that the result file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", nargs="+", default=["ett", "air-quality", "weather"])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--window", type=int, default=2 * DAY)
    parser.add_argument("--windows", type=int, default=96, help="that are sampled")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    told = circumstances()
    size = {"window": options.window, "epochs": options.epochs}
    size |= {"n_samples": options.samples, "seed": options.seed}
    for name, period in product(options.sets, (0, DAY)):
        if has_row(FILE, {"data": name, "period": period, "method": "tsimpute", **size}):
            continue
        rows = rows_of(name, period, options)
        add_rows(FILE, [row | size | told for row in rows], KEY)
        for row in rows:
            print(
                f"{name:12s} {row['pattern']:6s} {row['method']:12s} period {period:3d}: MAE "
                f"{row['MAE']:.4f}  CRPS {row['CRPS']:.4f}  90 % {row['coverage_90']:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
