"""Pictures of a training run: keep-probabilities (EDDPM, Figure 2b) and losses (Figure 2c).

python benchmarks/accuracy/plots.py benchmarks/.cache/air_quality/10-linear-2-0-guarded-0.0
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from records import RESULTS

from tsimpute.plotting import plot_keep_prob_history, plot_loss_curves


def main() -> None:
    """Draw both pictures of a saved Air-quality model into the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="saved model, with its .keep_prob.npz beside it")
    model: Path = parser.parse_args().model
    with np.load(model.with_name(model.name + ".keep_prob.npz")) as stored:
        keep_prob = stored["keep_prob"]
    history = pd.read_csv(model / "history.csv")
    plot_keep_prob_history(keep_prob, path=RESULTS / f"{model.name}.keep_prob.png")
    plot_loss_curves(history, path=RESULTS / f"{model.name}.loss.png")


if __name__ == "__main__":
    main()
