"""Table of `samplers.csv`; picture of it and of `marginals.csv`: CRPS against evaluations a window.

python benchmarks/accuracy/samplers_plot.py
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from records import RESULTS, read_rows

from tsimpute.plotting import plot_quality


def settings() -> pd.DataFrame:
    """One row a setting: what it is called, its evaluations, its CRPS; same stays and samples."""
    walks = read_rows(RESULTS / "samplers.csv")
    walks = walks[walks["sampler"] != "naive"]  # so far above the others that they would be a line
    walks = walks[walks["placement"].isin(["by hand", "learned"])]  # the table has the others
    walks["setting"] = walks["sampler"] + ", " + walks["variance"]
    walks.loc[walks["antithetic"], "setting"] += ", pairs"
    marginals = read_rows(RESULTS / "marginals.csv")
    walks, marginals = (rows[rows["data"] == "healthcare"] for rows in (walks, marginals))
    started = marginals[(marginals["method"] == "samples") & (marginals["start"] == "marginals")]
    started = started.assign(setting="ddpm, crps, pairs, start at the marginals")
    head = marginals[marginals["method"] == "head"].assign(setting="marginal head")
    columns = ["setting", "nfe_per_window", "crps", "n_stays", "n_samples", "missing"]
    table = pd.concat([walks, started, head])[columns]
    shown = (table["n_stays"] == 40) & (table["n_samples"] == 16) & (table["missing"] == 0.1)
    table = table[shown].sort_values("crps")
    return table.drop_duplicates(["setting", "nfe_per_window"])  # the better of two placements


def write_markdown(path: Path) -> None:
    """Every row, by data, hidden share, size and evaluations; the lowest CRPS of each is bold."""
    rows = read_rows(RESULTS / "samplers.csv")
    rows["missing"] = rows["missing"].map("{:.0%}".format).where(rows["missing"].notna(), "")
    case = ["data", "missing", "n_stays", "n_samples"]
    rows = rows.sort_values([*case, "nfe_per_window", "crps"])
    best = rows.groupby(case)["crps"].transform("min")
    rows = rows.assign(best=rows["crps"] == best)
    names = [
        "data",
        "hidden",
        "windows",
        "trajectories",
        "sampler",
        "variance",
        "pairs",
        "kept steps",
        "evaluations",
    ]
    names += ["MAE", "RMSE", "CRPS", "50 % covers", "90 % covers", "seconds"]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for row in rows.itertuples():
        kept = row.kept if row.kept.count(" ") < 25 else f"all {row.kept.count(' ') + 1}"
        crps = f"**{row.crps:.4f}**" if row.best else f"{row.crps:.4f}"
        cells = [row.data, row.missing, row.n_stays, row.n_samples, row.sampler]
        cells += [row.variance, "yes" if row.antithetic else "", kept, row.nfe_per_window]
        cells += [f"{row.mae:.4f}", f"{row.rmse:.4f}", crps, f"{row.coverage_50:.3f}"]
        cells += [f"{row.coverage_90:.3f}", f"{row.seconds:.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Write both."""
    write_markdown(RESULTS / "samplers.md")
    table = settings().rename(columns={"nfe_per_window": "network evaluations a window"})
    table = table.rename(columns={"crps": "CRPS"})
    path = RESULTS / "samplers.png"
    plot_quality(table, "network evaluations a window", "CRPS", "setting", path=path)


if __name__ == "__main__":
    main()
