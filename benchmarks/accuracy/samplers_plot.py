"""Tables and pictures of `samplers.csv`: CRPS against evaluations.

python benchmarks/accuracy/samplers_plot.py

`samplers.md` has every row, `samplers_overview.md` the CRPS by method and number of steps.
`samplers.png` shows the settings on chosen steps beside the marginal head (`marginals.csv`);
`samplers_grid.png` every sampler, and `samplers_variances.png` every variance, on uniform steps,
with a panel for each data set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from records import RESULTS, read_rows

from tsimpute import EDDPMImputer
from tsimpute.plotting import plot_quality


def settings() -> pd.DataFrame:
    """One row a setting: what it is called, its evaluations, its CRPS; Healthcare, 40 stays."""
    walks, marginals = (read_rows(RESULTS / f"{name}.csv") for name in ("samplers", "marginals"))
    walks = walks[walks["placement"].isin(["by hand", "learned"])]
    by_head, longer = marginals["start"] == "marginals", marginals["iterations"] == 1000
    started = longer & (marginals["method"] == "samples") & by_head & of_default(marginals)
    fixed = (walks["sampler"] == "ddpm") & (walks["variance"] == "fixed")
    few, sixteen = walks["kept"].str.count(" ") < 10, walks["n_samples"] == 16
    usual = of_default(walks) & (walks["variance"] == "crps") & walks["antithetic"]
    reference = marginals[marginals["method"] == "reference"]
    lines = {
        "all 50 steps × 16 and × 100": pd.concat([walks[fixed & ~few], reference]),
        "few steps × 16, fixed variance": walks[fixed & few],
        "few steps × 16, the default": walks[usual & sixteen],
        "two steps × 2 to 16, the default": walks[usual & (walks["kept"] == "14 29")],
        "few steps × 16, started at the head": marginals[started],
        "marginal head, two lengths of training": marginals[marginals["method"] == "head"],
    }
    table = pd.concat([rows.assign(setting=name) for name, rows in lines.items()])
    shown = (table["n_stays"] == 40) & (table["missing"] == 0.1) & table["network_seconds"].isna()
    best = table[shown].sort_values("crps", kind="stable")
    head = best["setting"].str.startswith("marginal")
    once = best[~head].drop_duplicates(["setting", "nfe_per_window"])  # of two placements
    return pd.concat([once, best[head]]).sort_values(
        "setting", key=lambda s: s.map(list(lines).index)
    )


def of_default(rows: pd.DataFrame) -> pd.Series:
    """Rows of the default sampler; at one step all samplers are the same."""
    return (rows["sampler"] == EDDPMImputer().sampler) | ~rows["kept"].str.contains(" ")


def write_markdown(path: Path) -> None:
    """Every row, by data, hidden share, size and evaluations; the lowest CRPS of each is bold."""
    rows = read_rows(RESULTS / "samplers.csv")
    rows["missing"] = rows["missing"].map("{:.0%}".format).where(rows["missing"].notna(), "")
    case = ["data", "missing", "n_stays", "n_samples", "seed"]
    rows = rows.sort_values([*case, "nfe_per_window", "crps"])
    crps = rows["crps"].map("{:.4f}".format)
    best = rows["crps"] == rows.groupby(case)["crps"].transform("min")
    n_kept = rows["kept"].str.count(" ") + 1
    columns = {
        "data": rows["data"],
        "hidden": rows["missing"],
        "windows": rows["n_stays"],
        "trajectories": rows["n_samples"],
        "seed": rows["seed"],
        "sampler": rows["sampler"],
        "variance": rows["variance"],
        "pairs": rows["antithetic"].map({True: "yes", False: ""}),
        "kept steps": rows["kept"].where(n_kept <= 25, "all " + n_kept.astype(str)),
        "evaluations": rows["nfe_per_window"],
        "MAE": rows["mae"].map("{:.4f}".format),
        "RMSE": rows["rmse"].map("{:.4f}".format),
        "CRPS": crps.where(~best, "**" + crps + "**"),
        "50 % covers": rows["coverage_50"].map("{:.3f}".format),
        "90 % covers": rows["coverage_90"].map("{:.3f}".format),
        "seconds": rows["seconds"].map("{:.0f}".format).where(rows["seconds"].notna(), ""),
    }
    path.write_text(markdown(list(columns), zip(*columns.values(), strict=True)) + "\n")


def markdown(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a head of names."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


GRID = {  # trajectories and windows: as many hidden cells at 50 and 90 % in fewer of them
    "Healthcare, 10 % hidden": {"data": "healthcare", "missing": 0.1, "n_stays": 20, "seed": 0},
    "Healthcare, 50 % hidden": {"data": "healthcare", "missing": 0.5, "n_stays": 10, "seed": 0},
    "Healthcare, 90 % hidden": {"data": "healthcare", "missing": 0.9, "n_stays": 10, "seed": 0},
    "Air-quality": {"data": "air-quality", "n_stays": 20, "seed": 1},
}
GRID_SAMPLES = 8
METHODS = [  # sampler, variance, antithetic pairs, and what the overview calls it
    ("ddpm", "crps", False, "DDPM"),
    ("ddpm", "crps", True, "DDPM, pairs"),
    ("dpm-solver++2m-sde", "crps", False, "DPM-Solver++ 2M, SDE"),
    ("dpm-solver++2m-sde", "crps", True, "DPM-Solver++ 2M, SDE, pairs (the default)"),
    ("dpm-solver++2m", "crps", False, "DPM-Solver++ 2M"),
    ("unipc", "crps", False, "UniPC"),
    ("ddim", "crps", False, "DDIM"),
    ("dpm-solver-2", "crps", False, "DPM-Solver-2"),
    ("dpm-solver-3", "crps", False, "DPM-Solver-3"),
    ("s-pndm", "crps", False, "S-PNDM, one evaluation more than steps"),
    ("f-pndm", "crps", False, "F-PNDM, up to three more"),
    ("genie", "crps", False, "GENIE, up to five evaluations a step"),
    ("genie-distilled", "fixed", False, "GENIE, distilled head, fixed variance"),
    ("ggdm", "fixed", False, "GGDM, fitted, fixed variance"),
    ("tdas", "fixed", False, "TDAS, fixed variance"),
    ("naive", "fixed", False, "skipped naively"),
    ("ddpm", "fixed", False, "DDPM, fixed variance"),
    ("ddpm", "large", False, "DDPM, large variance"),
    ("ddpm", "analytic", False, "DDPM, Analytic-DPM"),
    ("ddpm", "npr", False, "DDPM, NPR"),
    ("ddpm", "sn", False, "DDPM, SN"),
    ("ddim", "fixed", False, "DDIM, fixed variance"),
    ("ddim", "large", False, "DDIM, large variance"),
    ("ddim", "analytic", False, "DDIM, Analytic-DPM"),
    ("ddim", "npr", False, "DDIM, NPR"),
    ("ddim", "sn", False, "DDIM, SN"),
]
MOST = 1.6  # times the lowest CRPS is shown; what is worse leaves the picture
NFE = "network evaluations a trajectory"


def case_rows(case: dict[str, object]) -> pd.DataFrame:
    """Rows of one data set and hidden share on evenly or quadratically spaced steps."""
    rows = read_rows(RESULTS / "samplers.csv")
    rows = rows[rows["placement"].isin(["uniform", "quadratic"])]
    for name, value in {**case, "n_samples": GRID_SAMPLES}.items():
        rows = rows[rows[name] == value]
    return rows


def grid_rows(case: dict[str, object]) -> pd.DataFrame:
    """Rows of one panel on uniform steps, not in pairs, with the evaluations of one trajectory."""
    rows = case_rows(case)
    rows = rows[(rows["placement"] == "uniform") & ~rows["antithetic"]]
    return rows.assign(**{NFE: rows["nfe_per_window"] / rows["n_samples"], "CRPS": rows["crps"]})


def write_overview(path: Path) -> None:
    """A table for each data set: CRPS by method and steps, the lowest of each column bold."""
    path.write_text("\n\n".join(f"{title}:\n\n{overview(GRID[title])}" for title in GRID) + "\n")


def overview(case: dict[str, object]) -> str:
    """Markdown of one data set, a line for each of `METHODS` that has rows."""
    rows = case_rows(case)
    at_once = (rows["placement"] == "quadratic") & ~rows["kept"].str.contains(" ")
    rows = rows[~at_once].assign(steps=rows["kept"].str.count(" ") + 1)  # one step is one step
    lines = {}
    for sampler, variance, paired, name in METHODS:
        same = (rows["sampler"] == sampler) & (rows["variance"] == variance)
        lines[name] = rows[same & (rows["antithetic"] == paired)]
    table = pd.concat(lines, names=["method"]).reset_index("method")
    table = table.pivot(index="method", columns=["placement", "steps"], values="crps")
    table = table.reindex(lines).dropna(how="all").sort_index(axis=1, ascending=[False, True])
    text = table.map(lambda crps: "" if math.isnan(crps) else f"{crps:.4f}".removeprefix("0"))
    best = table.round(4) == table.round(4).min()
    text = text.where(~best, "**" + text + "**")
    head = [f"{steps} {placement}" for placement, steps in text.columns]
    rows_of_table = zip(text.index, *text.to_numpy().T, strict=True)
    return markdown(["CRPS", *head], rows_of_table)


def by_sampler(rows: pd.DataFrame) -> pd.DataFrame:
    """Every sampler with the variance head, or with the one variance that it can use."""
    fixed_only = ~rows["sampler"].isin(rows.loc[rows["variance"] == "crps", "sampler"])
    fixed_only &= rows["sampler"] != "naive"  # so far above the others that they would be a line
    shown = rows[(rows["variance"] == "crps") | fixed_only]
    name = shown["sampler"] + (", " + shown["variance"]).where(shown["variance"] != "crps", "")
    return shown.assign(sampler=name)


def by_variance(rows: pd.DataFrame) -> pd.DataFrame:
    """Every variance of ancestral sampling."""
    return rows[rows["sampler"] == "ddpm"]


def draw_panels(choose: Callable[[pd.DataFrame], pd.DataFrame], by: str, path: Path) -> None:
    """A panel for each data set that has rows, with one legend for all."""
    panels = {title: choose(grid_rows(case)) for title, case in GRID.items()}
    panels = {title: rows for title, rows in panels.items() if len(rows)}
    methods = pd.concat(panels.values())[by].unique()
    look_alike = pd.DataFrame({by: methods, NFE: 1.0})  # no score: each has its look in every panel
    n_rows = math.ceil(len(panels) / 2)
    figure, axes = plt.subplots(n_rows, 2, figsize=(11, 3.8 * n_rows), layout="constrained")
    for ax, (title, rows) in zip_longest(axes.flat, panels.items(), fillvalue=("", None)):
        if rows is None:
            ax.set_axis_off()
            continue
        plot_quality(pd.concat([look_alike, rows]), NFE, "CRPS", by, ax=ax)
        ax.get_legend().remove()
        ax.set(title=title, ylim=(None, MOST * rows["CRPS"].min()))
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside right", title=by)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Write all of them."""
    write_markdown(RESULTS / "samplers.md")
    write_overview(RESULTS / "samplers_overview.md")
    draw_panels(by_sampler, "sampler", RESULTS / "samplers_grid.png")
    draw_panels(by_variance, "variance", RESULTS / "samplers_variances.png")
    table = settings().rename(columns={"nfe_per_window": "network evaluations a window"})
    table = table.rename(columns={"crps": "CRPS"})
    path = RESULTS / "samplers.png"
    plot_quality(table, "network evaluations a window", "CRPS", "setting", path=path)


if __name__ == "__main__":
    main()
