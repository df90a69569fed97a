"""What `run.py` found: a table, distance against steps, samples, and keep-probabilities.

python benchmarks/images/plots.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from digits import images
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from run import FILE, FOLDER, RESULTS

sys.path.append(str(Path(__file__).resolve().parents[1] / "accuracy"))
from records import read_rows

WAY = ["kind", "sampler", "variance"]
LOOKED_AT = (5, 10, 50, 1000)  # steps whose samples are shown
COLOURS = {"respaced": "C0", "respaced, fine-tuned": "C2", "EDDPM": "C3"}
MARKS = {"fixed": "o", "large": "^"}
LINES = {"ddpm": "-", "ddim": "--", "dpm-solver++2m": ":", "s-pndm": "-."}


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Distance by way (rows) and steps (columns), in the order of the run."""
    wide = rows.pivot_table("frechet_distance", WAY, "steps", sort=False)
    return wide[sorted(wide.columns)]


def write_markdown(rows: pd.DataFrame, path: Path) -> None:
    """The table; the best way of each number of steps is bold."""
    wide = table(rows)
    lines = [
        "| steps | sampler | variance | " + " | ".join(map(str, wide.columns)) + " |",
        "|---" * (3 + len(wide.columns)) + "|",
    ]
    for way, distances in wide.iterrows():
        cells = [
            "" if np.isnan(d) else f"**{d:.1f}**" if d == wide[steps].min() else f"{d:.1f}"
            for steps, d in distances.items()
        ]
        lines.append("| " + " | ".join([*way, *cells]) + " |")
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
            label=f"{kind}, {sampler}" + (", large variance" if variance == "large" else ""),
        )
    axes.set(xscale="log", yscale="log", xlabel="evaluations of the network")
    axes.set_ylabel("Fréchet distance")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)


def draw_samples(rows: pd.DataFrame, path: Path) -> None:
    """Sixteen real images, and sixteen of each way at a few numbers of steps."""
    ways = list(rows[WAY].drop_duplicates().itertuples(index=False))
    names = ["-".join(way) for kind in COLOURS for way in ways if way[0] == kind]
    figure = Figure(figsize=(3.3 * len(LOOKED_AT), 0.45 * (len(names) + 1)), layout="constrained")
    axes = figure.subplots(len(names) + 1, len(LOOKED_AT))
    for ax in axes.flat:
        ax.axis("off")
    real, _ = images()
    _show(axes[0, 0], real[:: len(real) // 16][:16, 0].numpy(), "real")
    for row, name in enumerate(names, start=1):
        for column, steps in enumerate(LOOKED_AT):
            file = FOLDER / "samples" / f"{name}-{steps}.npy"
            if file.exists():
                _show(axes[row, column], np.load(file), f"{name}, {steps} steps")
    figure.savefig(path, dpi=110)


def _show(ax: Axes, sixteen: np.ndarray, title: str) -> None:
    strip = np.hstack([np.pad(image, 1, constant_values=1.0) for image in sixteen])
    ax.imshow(strip, cmap="gray", vmin=-1, vmax=1)
    ax.set_title(title, fontsize=7, pad=2)


def draw_keep_prob(path: Path) -> None:
    """Keep-probabilities that were learned, and their histogram (EDDPM, Figure 4)."""
    files = {int(f.stem.split("-")[1]): f for f in FOLDER.glob("EDDPM-*-0.keep_prob.npz")}
    figure = Figure(figsize=(9, 1.7 * len(files) + 0.5), layout="constrained")
    grid = figure.subplots(len(files), 2, squeeze=False, width_ratios=(3, 1))
    for (by_step, histogram), (steps, file) in zip(grid, sorted(files.items()), strict=True):
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
    rows = read_rows(FILE)
    write_markdown(rows, RESULTS / "images.md")
    draw_distances(rows, RESULTS / "images.png")
    draw_samples(rows, RESULTS / "images_samples.png")
    draw_keep_prob(RESULTS / "images_keep_prob.png")


if __name__ == "__main__":
    main()
