"""What `run.py` found: a table, distance against steps, samples, and keep-probabilities.

    python benchmarks/images/plots.py            # of the longest run of seed 0
    python benchmarks/images/plots.py --seed 1

"EDDPM" is this library's guarded rule for the steps to keep, not the one printed in the paper.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from digits import images
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from run import FILE, RESULTS, keep_prob_file, samples_file

sys.path.append(str(Path(__file__).resolve().parents[1] / "accuracy"))
from records import read_rows

WAY = ["kind", "sampler", "variance"]
NAMES = {"EDDPM": "EDDPM, guarded rule"}  # of kinds, where they are shown
LOOKED_AT = (5, 10, 50, 1000)  # steps whose samples are shown
COLOURS = {"respaced": "C0", "respaced, fine-tuned": "C2", "EDDPM": "C3"}
MARKS = {"fixed": "o", "large": "^"}
LINES = {"ddpm": "-", "ddim": "--", "dpm-solver++2m": ":", "s-pndm": "-."}


def rows_of_run(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Rows of one seed with the most iterations and then the most samples: no trials among them.

    Raises
    ------
    ValueError
        If there is none, or a way is there twice at one number of steps.
    """
    ours = rows[rows["seed"] == seed]
    if ours.empty:
        raise ValueError(f"no rows of seed {seed}; expected one of {sorted(set(rows['seed']))}")
    iterations, n_samples = max(zip(ours["iterations"], ours["n_samples"], strict=True))
    chosen = ours[(ours["iterations"] == iterations) & (ours["n_samples"] == n_samples)]
    twice = chosen[chosen.duplicated([*WAY, "steps"])]
    if len(twice):
        raise ValueError(f"rows that are there twice: {twice[[*WAY, 'steps']].to_dict('records')}")
    return chosen


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Distance by way (rows) and steps (columns), in the order of the run."""
    wide = rows.set_index([*WAY, "steps"])["frechet_distance"].unstack("steps")
    return wide.loc[[*dict.fromkeys(rows[WAY].itertuples(index=False, name=None))]]


def write_markdown(rows: pd.DataFrame, path: Path) -> None:
    """The table; the best way of each number of steps is bold."""
    wide = table(rows)
    lines = [
        "| steps | sampler | variance | " + " | ".join(map(str, wide.columns)) + " |",
        "|---" * (3 + len(wide.columns)) + "|",
    ]
    for (kind, *walk), distances in wide.iterrows():
        cells = [
            "" if np.isnan(d) else f"**{d:.1f}**" if d == wide[steps].min() else f"{d:.1f}"
            for steps, d in distances.items()
        ]
        lines.append("| " + " | ".join([NAMES.get(kind, kind), *walk, *cells]) + " |")
    path.write_text("\n".join(lines) + "\n")


def draw_distances(rows: pd.DataFrame, path: Path) -> None:
    """Distance against steps, a line a way."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for (kind, sampler, variance), part in rows.groupby(WAY, sort=False):
        part = part.sort_values("steps")
        axes.plot(
            part["steps"],
            part["frechet_distance"],
            LINES[sampler],
            marker=MARKS[variance],
            color=COLOURS[kind],
            label=f"{NAMES.get(kind, kind)}, {sampler}"
            + (", large variance" if variance == "large" else ""),
        )
    axes.set(xscale="log", yscale="log", xlabel="steps")
    axes.set_ylabel("Fréchet distance")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)


def draw_samples(rows: pd.DataFrame, path: Path) -> None:
    """Sixteen real images, and sixteen of each way at a few numbers of steps."""
    ways = rows[WAY].drop_duplicates()
    ways = ways.loc[sorted(ways.index, key=lambda i: [*COLOURS].index(ways["kind"][i]))]
    figure = Figure(figsize=(3.3 * len(LOOKED_AT), 0.45 * (len(ways) + 1)), layout="constrained")
    axes = figure.subplots(len(ways) + 1, len(LOOKED_AT))
    for ax in axes.flat:
        ax.axis("off")
    real, _ = images()
    _show(axes[0, 0], real[:: len(real) // 16][:16, 0].numpy(), "real")
    run = rows[["iterations", "seed"]].iloc[0].to_dict()
    for strip, way in zip(axes[1:], ways.to_dict("records"), strict=True):
        name = ", ".join([NAMES.get(way["kind"], way["kind"]), way["sampler"], way["variance"]])
        for ax, steps in zip(strip, LOOKED_AT, strict=True):
            file = samples_file(way | run | {"steps": steps})
            if file.exists():
                _show(ax, np.load(file), f"{name}, {steps} steps")
    figure.savefig(path, dpi=110)


def _show(ax: Axes, sixteen: np.ndarray, title: str) -> None:
    strip = np.hstack([np.pad(image, 1, constant_values=1.0) for image in sixteen])
    ax.imshow(strip, cmap="gray", vmin=-1, vmax=1)
    ax.set_title(title, fontsize=7, pad=2)


def draw_keep_prob(rows: pd.DataFrame, path: Path) -> None:
    """Keep-probabilities that were learned, and their histogram (EDDPM, Figure 4)."""
    run = rows[["iterations", "seed"]].iloc[0]
    learned = sorted(set(rows.loc[rows["kind"] == "EDDPM", "steps"]))
    files = {steps: keep_prob_file(steps, *run) for steps in learned}
    figure = Figure(figsize=(9, 1.7 * len(files) + 0.5), layout="constrained")
    grid = figure.subplots(len(files), 2, squeeze=False, width_ratios=(3, 1))
    for (by_step, histogram), (steps, file) in zip(grid, files.items(), strict=True):
        with np.load(file) as stored:
            keep_prob, kept = stored["keep_prob"], stored["index"]
        by_step.plot(keep_prob, color="C0", linewidth=0.7)
        by_step.plot(kept, np.full(len(kept), 1.08), "|", color="C3", markersize=5)
        by_step.set(ylim=(-0.05, 1.15), ylabel=f"{steps} kept")
        histogram.hist(keep_prob, bins=20, range=(0, 1), log=True)
    grid[0, 0].set_title("keep-probability by step; red: the steps that were kept")
    grid[0, 1].set_title("number of steps")
    grid[-1, 0].set_xlabel("step")
    grid[-1, 1].set_xlabel("keep-probability")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Write the table and the three pictures into the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    rows = rows_of_run(read_rows(FILE), parser.parse_args().seed)
    write_markdown(rows, RESULTS / "images.md")
    draw_distances(rows, RESULTS / "images.png")
    draw_samples(rows, RESULTS / "images_samples.png")
    draw_keep_prob(rows, RESULTS / "images_keep_prob.png")


if __name__ == "__main__":
    main()
