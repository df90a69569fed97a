"""Writes the golden model of the present format: run once when FORMAT_VERSION is raised."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tsimpute import EDDPMImputer
from tsimpute.persistence import FORMAT_VERSION

HERE = Path(__file__).parent


def main() -> None:
    """Fit a tiny model and keep it beside what it answers."""
    t = np.arange(64)
    given = np.stack([np.sin(t / 4), np.cos(t / 4), t % 7], axis=1)
    given[10:14, 0] = np.nan
    given[30:33, 1] = np.nan
    imputer = EDDPMImputer(
        window_steps=8,
        kept_steps=2,
        n_samples=4,
        epochs=1,
        diffusion_steps=8,
        channels=8,
        layers=1,
        heads=2,
        random_state=0,
        verbose=0,
        device="cpu",
        exogenous=[2],
        bounds={0: (-1, 1)},
        scaling={1: "rank"},
        slimmable=True,
    ).fit(given)
    imputer.use_widths([4, 8], given)
    imputer.fit_variance(given, n_batches=2).fit_variance(given, "analytic")
    imputer.fit_marginals(given, iterations=2)
    imputer.fit_calibration(given)
    target = HERE / f"format-{FORMAT_VERSION}"
    imputer.save(target)
    filled, by_head = imputer.transform(given), imputer.transform(given, method="head")
    low = imputer.predict_quantiles(given, [0.05]).values[0]
    answers = {"filled": filled, "by_head": by_head, "low": low}
    np.savez(target.with_suffix(".npz"), given=given, **answers)


if __name__ == "__main__":
    main()
