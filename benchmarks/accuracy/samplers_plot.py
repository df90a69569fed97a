"""Picture of `samplers.csv` and `marginals.csv`: CRPS against network evaluations a window.

python benchmarks/accuracy/samplers_plot.py
"""

from __future__ import annotations

import pandas as pd
from records import RESULTS, read_rows

from tsimpute.plotting import plot_quality


def settings() -> pd.DataFrame:
    """One row a setting: what it is called, its evaluations, its CRPS; same stays and samples."""
    walks = read_rows(RESULTS / "samplers.csv")
    walks["setting"] = walks["sampler"] + ", " + walks["variance"]
    walks.loc[walks["antithetic"], "setting"] += ", pairs"
    marginals = read_rows(RESULTS / "marginals.csv")
    started = marginals[(marginals["method"] == "samples") & (marginals["start"] == "marginals")]
    started = started.assign(setting="ddpm, crps, pairs, start at the marginals")
    head = marginals[marginals["method"] == "head"].assign(setting="marginal head")
    columns = ["setting", "nfe_per_window", "crps", "n_stays", "n_samples", "missing"]
    table = pd.concat([walks, started, head])[columns]
    shown = (table["n_stays"] == 40) & (table["n_samples"] == 16) & (table["missing"] == 0.1)
    table = table[shown].sort_values("crps")
    return table.drop_duplicates(["setting", "nfe_per_window"])  # the better of two placements


def main() -> None:
    """Draw it."""
    table = settings().rename(columns={"nfe_per_window": "network evaluations a window"})
    table = table.rename(columns={"crps": "CRPS"})
    path = RESULTS / "samplers.png"
    plot_quality(table, "network evaluations a window", "CRPS", "setting", path=path)


if __name__ == "__main__":
    main()
