"""Seconds of `EDDPMImputer().fit(df)` and of `transform` on 10,000 rows of 10 columns.

    python benchmarks/speed/default_fit.py

All defaults. The series is that of `memory.py`: random walks with a fifth of the cells missing.
`cpu_seconds` are of all threads, and tell how busy the machine was. Wanted: 600 s.
"""

from __future__ import annotations

import argparse
import time

import torch
from memory import series
from provenance import RESULTS, add_row, provenance

from tsimpute import EDDPMImputer

FILE = RESULTS / "default_fit.csv"
KEY = ["rows", "columns", "threads", "device", "cores", "commit"]


def main() -> None:
    """Fit, fill, and write a row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--fit-only", action="store_true", help="no transform, which takes longer")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as cores")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    told = provenance()
    table = series(10 * options.rows)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    imputer = EDDPMImputer(device=options.device).fit(table)
    fitted, fitted_cpu = time.perf_counter(), time.process_time()
    row = {
        "rows": len(table),
        "columns": table.shape[1],
        "fit_seconds": round(fitted - begun, 1),
        "fit_cpu_seconds": round(fitted_cpu - begun_cpu, 1),
        "epochs": int(imputer.history_["epoch"].max()),
    }
    if not options.fit_only:
        imputer.transform(table)
        row |= {
            "transform_seconds": round(time.perf_counter() - fitted, 1),
            "transform_cpu_seconds": round(time.process_time() - fitted_cpu, 1),
        }
    add_row(FILE, row | told, KEY)
    print(row)


if __name__ == "__main__":
    main()
