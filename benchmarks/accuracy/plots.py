"""Pictures of a training run: keep-probabilities (EDDPM, Figure 2b) and losses (Figure 2c).

python benchmarks/accuracy/plots.py benchmarks/.cache/air_quality/10-linear-2-0-guarded-0.0
"""

from __future__ import annotations

import argparse
from pathlib import Path

from records import RESULTS

from tsimpute import load
from tsimpute.plotting import plot_keep_prob_history, plot_loss_curves


def main() -> None:
    """Draw both pictures of a saved model into the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="saved model")
    parser.add_argument("--name", help="of the pictures; by default the model's")
    options = parser.parse_args()
    name = options.name or options.model.name
    imputer = load(options.model, device="cpu")
    history = imputer.history_
    target = RESULTS / f"{name}_keep_prob.png"
    plot_keep_prob_history(imputer.keep_prob_history_, history["epoch"], path=target)
    plot_loss_curves(history, path=RESULTS / f"{name}_loss.png")


if __name__ == "__main__":
    main()
