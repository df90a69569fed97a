"""What the sampler benchmarks fill: Healthcare by the official weights, Air-quality by our own.

Both are windows in standardised units. Healthcare is scored in those, as the papers do;
Air-quality in µg/m³, by a network trained here for `--train-seconds`: the small one, unless
`--large` asks for CSDI's size. Healthcare too takes a network of ours where `--train-seconds` is
given.
"""

from __future__ import annotations

import argparse

import numpy as np
from healthcare import Data, official, read_data
from records import CACHE

from tsimpute import EDDPMImputer, load, load_air_quality
from tsimpute.evaluation.protocol import aqi_split, aqi_windows

SMALL = {"channels": 32, "layers": 2, "heads": 4}
CASES = ("healthcare", "air-quality")
AIR_SECONDS = 1500


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that name a case."""
    parser.add_argument("--data", choices=CASES, default="healthcare")
    parser.add_argument("--missing", type=float, default=0.1, help="hidden share of Healthcare")
    parser.add_argument("--fold", type=int, default=0, help="of Healthcare")
    parser.add_argument(
        "--train-seconds",
        type=int,
        help=f"of our own network; {AIR_SECONDS} on Air-quality, else the official weights",
    )
    parser.add_argument("--large", action="store_true", help="CSDI's size for our own network")


def identity(options: argparse.Namespace) -> dict[str, object]:
    """Columns that name a case in a row; what does not apply is empty."""
    seconds = own_seconds(options)
    trained = {"network_seconds": "", "large": ""}
    if seconds is not None:
        trained = {"network_seconds": seconds, "large": options.large}
    if options.data == "healthcare":
        return {"data": "healthcare", "missing": options.missing, "fold": options.fold, **trained}
    return {"data": "air-quality", "missing": "", "fold": "", **trained}


def own_seconds(options: argparse.Namespace) -> int | None:
    """How long a network of our own is trained; None where the official weights are taken."""
    if options.train_seconds is None and options.data == "air-quality":
        return AIR_SECONDS
    return options.train_seconds


CASE_KEY = ["data", "missing", "fold", "network_seconds", "large"]


def file_name(options: argparse.Namespace) -> str:
    """The case in a file's name."""
    seconds, official_name = own_seconds(options), f"fold{options.fold}-seed{options.seed}"
    if seconds is None:
        return official_name
    size = "large" if options.large else "small"
    if options.data == "healthcare":
        return f"healthcare-{size}-{seconds}s-{official_name}"
    return f"air-quality-{size}-{seconds}s-seed{options.seed}"


def read_case(options: argparse.Namespace) -> Data:
    """Windows, hidden cells, and which are for training and for the test."""
    return read_data(options.missing, options.fold) if options.data == "healthcare" else air()


def air() -> Data:
    """Windows of AQI-36: what is blank in the protocol's input, and not scored, is unknown."""
    data = load_air_quality()
    split = aqi_split(data.ground)
    ground, given = (
        ((table - split.mean) / split.sd).to_numpy() for table in (data.ground, data.missing)
    )
    truth = aqi_windows(ground, split.test_starts)
    blank = np.isnan(aqi_windows(given, split.test_starts))
    target = blank & ~np.isnan(truth) & split.scored[..., None]
    test = np.where(blank & ~target, np.nan, truth)
    train = aqi_windows(ground, split.train_starts)
    return Data(
        np.concatenate([train, test]),
        np.concatenate([np.zeros(train.shape, bool), target]),
        np.arange(len(train)),
        np.arange(len(train), len(train) + len(test)),
        np.asarray(split.mean),
        np.asarray(split.sd),
    )


def base(data: Data, options: argparse.Namespace) -> EDDPMImputer:
    """An imputer with all 50 steps and nothing learned besides the network."""
    seconds = own_seconds(options)
    if seconds is None:
        return official(options)
    saved = CACHE / "samplers" / f"base-{file_name(options)}"
    if not saved.exists():
        in_the_air = options.data == "air-quality"
        imputer = EDDPMImputer(
            window_steps=data.values.shape[1],
            kept_steps=50,
            time_budget_s=seconds,
            target_strategy="mix" if in_the_air else "random",
            sampler="ddpm",
            variance="fixed",
            validation_fraction=0.0,
            overlap=0.0,
            random_state=options.seed,
            device=options.device,
            **({} if options.large else SMALL),
        )
        laid_over = patterns() if in_the_air else None
        imputer.fit(data.values[data.train], patterns=laid_over).save(saved)
    return load(saved, device=options.device).set_params(verbose=0)


def patterns() -> np.ndarray:
    """Windows whose holes may be laid over training windows without giving the answer away."""
    data = load_air_quality()
    return aqi_windows(data.ground.to_numpy(), aqi_split(data.ground).pattern_starts)


def in_units(cells: np.ndarray, data: Data, windows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Scaled values (..., n_hidden) of the target cells of windows, in the units of the scores."""
    shape = data.values[windows].shape
    mean, sd = (np.broadcast_to(part, shape)[target] for part in (data.mean, data.sd))
    return cells * sd + mean
