"""`python -m api.demo_model FOLDER`: train the demonstration model once and save it."""

from __future__ import annotations

import argparse
from pathlib import Path

from tsimpute import load_co2
from tsimpute.demo import make_imputer

TRAINING_S = 60.0
HEAD_ITERATIONS = 100


def main(arguments: list[str] | None = None) -> None:
    """Train on the whole CO2 record, real gaps and all, unless the folder holds a model."""
    parser = argparse.ArgumentParser(prog="python -m api.demo_model", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=TRAINING_S, help="of training")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if (options.folder / "FORMAT_VERSION").is_file():
        return
    record = load_co2()
    imputer = make_imputer(options.seed, options.seconds).fit(record)
    imputer.fit_marginals(record, iterations=HEAD_ITERATIONS).save(options.folder)


if __name__ == "__main__":
    main()
