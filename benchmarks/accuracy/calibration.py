"""Do intervals hold the truth as often as they say, before and after calibration?

    python benchmarks/accuracy/calibration.py --sets healthcare-head ett weather air-quality
    python benchmarks/accuracy/calibration.py --sets ett-head weather-head air-quality-head \
        --repeats 20

Ten per cent of the observed cells of the test data are hidden, as single cells or in blocks, other
ones in each of `--repeats`. Rows by `calibration`: "none"; "held out", learned on data of the time
before that training did not see; "to fill", learned on other hidden cells of the test data
themselves, as a user can who has nothing but the table with its holes. Healthcare has the official
CSDI weights with the heads of `samplers.py` ("healthcare") or the marginal head of `marginals.py`
("healthcare-head"); for the others a small model is trained within `--train-seconds`, on the
targets that `--targets` names: "block" has stretches of time among them, as the gaps of blocks do.
Sets whose names end in "-head" are answered by a marginal head on the same network, in one
evaluation a window, and calibrated on four times as many windows.
Where windows are longer than a day, the line that the small model starts from repeats it (column
`period`, in rows), unless `--straight`.
Widths are in standard deviations of the training data; `coverage_se` holds that cells of different
gaps, and gaps of different repeats, tell independently.

Models, calibrations and raw quantiles are kept under `benchmarks/.cache`, for more repeats too;
rows that the result file has are not made again. Needs TSIMPUTE_DATA.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from healthcare import read_data
from marginals import with_marginals
from matplotlib.figure import Figure
from records import CACHE, OLDER_DEFAULTS, RESULTS, add_rows, circumstances, has_row, read_rows
from samplers import LEARNED_PLACES, with_heads

from tsimpute import EDDPMImputer, load, load_air_quality, load_ett, load_weather
from tsimpute.assessment.calibration import Hiding, held_out_panel, with_calibration
from tsimpute.assessment.exam import Exam
from tsimpute.datasets.healthcare import VARIABLES
from tsimpute.evaluation.conformal import Calibration, with_grid
from tsimpute.evaluation.protocol import AQI_TEST_MONTHS, healthcare_split
from tsimpute.panel.containers import read_panel
from tsimpute.panel.core import Panel
from tsimpute.plotting import plot_reliability
from tsimpute.sampling.answers import cell_quantiles
from tsimpute.sampling.choices import Choice, way_for

FILE = RESULTS / "calibration.csv"
HEAD = "-head"
SETS = ("healthcare-head", "ett", "weather", "air-quality", "healthcare")
SETS += tuple(name + HEAD for name in ("ett", "weather", "air-quality"))
PATTERNS = ("point", "block")
SETTING = ["n_samples", "test_size", "seed", "windows", "train_seconds", "targets", "repeats"]
SETTING += ["period", "head_iterations"]
KEY = ["data", "pattern", "calibration", "by", "group", "level", *SETTING]
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
ENDS = [round((1 + sign * level) / 2, 12) for level in LEVELS for sign in (-1, 1)]
ASKED = with_grid(ENDS)
SMALL = {"channels": 32, "layers": 2, "heads": 4, "kept_steps": 3, "validation_fraction": 0.2}
PERIODS = {"ett": 24, "air-quality": 24}  # rows in a day, where a window is longer
WHOLE = 10**9  # windows: all of the test data
MORE = 4  # so many times more windows to calibrate a head on
CHEAP = 8  # so many more stays and windows for the marginal head, which takes one evaluation


@dataclass(frozen=True)
class Set:
    """A model with what it is calibrated and tested on."""

    imputer: EDDPMImputer
    held_out: Panel
    test: Panel


def healthcare(options: argparse.Namespace, head: bool) -> Set:
    """Official weights; calibrated on the stays that CSDI validates on."""
    data = read_data(0.1, 0)
    imputer = with_marginals(data, options)[0] if head else with_heads(data, options)
    grid = imputer.model_.schedule.respaced(LEARNED_PLACES[3])
    imputer.model_ = replace(imputer.model_, grid=grid)
    imputer.set_params(method="head" if head else "samples", variance="crps", overlap=0.0)
    n = options.stays * (CHEAP if head else 1)
    validation = healthcare_split(len(data.values), 0).validation
    return Set(imputer, *(stays(data.values[some[:n]]) for some in (validation, data.test)))


def stays(values: np.ndarray) -> Panel:
    """Standardised stays as a panel with the names of the variables."""
    return replace(read_panel(values), feature_names=VARIABLES)


def air_quality(name: str, options: argparse.Namespace) -> Set:
    """Trained on eight months, tested on the four of the protocol, each a series of its own."""
    table = load_air_quality().ground
    months = dict(iter(table.groupby(table.index.to_period("M"))))

    def is_test(month: pd.Period) -> bool:
        return month.month in AQI_TEST_MONTHS

    train, test = (
        pd.concat({str(m): part for m, part in months.items() if is_test(m) == tested})
        for tested in (False, True)
    )
    return trained(name, train, test, 36, options)


def in_time(name: str, table: pd.DataFrame, options: argparse.Namespace) -> Set:
    """Trained on the first 70 % of the time, tested on the last rows."""
    train = table.iloc[: int(0.7 * len(table))]
    return trained(name, train, table.iloc[-options.rows :], 48, options)


def trained(
    name: str, train: pd.DataFrame, test: pd.DataFrame, window: int, options: argparse.Namespace
) -> Set:
    """A small model, from the cache or trained now; its validation rows are held out."""
    period = period_of(name, options)
    stem = f"{name.removesuffix(HEAD)}-{options.train_seconds}-{options.targets}-seed{options.seed}"
    stem += f"-period{period}" if period else ""
    saved = CACHE / "calibration" / stem
    if not saved.exists():
        settings = {"window_steps": window, "random_state": options.seed, "verbose": 0}
        settings |= {"time_budget_s": options.train_seconds, "device": options.device}
        settings |= {"target_strategy": options.targets, "period": period or None}
        EDDPMImputer(**SMALL, **OLDER_DEFAULTS, **settings).fit(train).save(saved)
    imputer = load(saved, device=options.device)
    if name.endswith(HEAD):
        with_its_head = saved.with_name(f"{stem}{HEAD}{options.iterations}")
        imputer = with_head(imputer, train, with_its_head, options)
    held_out = held_out_panel(imputer, read_panel(train), window, imputer.seed_)
    return Set(imputer, held_out, read_panel(test))


def with_head(
    imputer: EDDPMImputer, train: pd.DataFrame, saved: Path, options: argparse.Namespace
) -> EDDPMImputer:
    """The small model with a marginal head that answers, from the cache or trained now.

    The head's training sees no held-out row either: they are those of the model's seed.
    """
    if not saved.exists():
        imputer.fit_marginals(train, iterations=options.iterations).save(saved)
    return load(saved, device=options.device).set_params(method="head")


def period_of(name: str, options: argparse.Namespace) -> int:
    """Rows of the season that the small model knows; 0 for none."""
    return 0 if options.straight else PERIODS.get(name.removesuffix(HEAD), 0)


def make(name: str, options: argparse.Namespace) -> Set:
    """A set by its name."""
    if name.startswith("healthcare"):
        return healthcare(options, head=name.endswith(HEAD))
    if name.startswith("air-quality"):
        return air_quality(name, options)
    return in_time(name, load_ett() if name.startswith("ett") else load_weather(), options)


def calibration_on(some: Set, panel: Panel, windows: int, seed: int) -> Calibration:
    """What is learned from a panel, a mixture of points and blocks hidden in it."""
    fitted = with_calibration(some.imputer, panel, Hiding(seed, max_windows=windows))
    return fitted.calibrations.needed(way_for(some.imputer, Choice()))


def kept_calibration(some: Set, panel: Panel, windows: int, seed: int, file: Path) -> Calibration:
    """The same from the cache, or learned now."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        learned = calibration_on(some, panel, windows, seed).to_dict()
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(learned))
        temporary.replace(file)
    return Calibration.from_dict(json.loads(file.read_text()))


def raw_quantiles(imputer: EDDPMImputer, exam: Exam, file: Path) -> np.ndarray:
    """Uncalibrated quantiles of the hidden cells, from the cache or made now."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        choice = Choice(calibrated=False)
        found = cell_quantiles(imputer, exam.given, exam.target_masks, choice, ASKED)
        np.savez_compressed(file, found=found.astype("f4"))
    with np.load(file) as stored:
        return stored["found"].astype("f8")


@dataclass(frozen=True)
class Asked:
    """Hidden cells of one repeat: what is said of them, with each calibration."""

    exam: Exam
    found: dict[str, np.ndarray]  # each (n_levels, 2, n_hidden)


def asked_once(some: Set, exam: Exam, raw: np.ndarray, learned: dict[str, Calibration]) -> Asked:
    """Ends of the intervals without and with each calibration."""
    found = {"none": raw[[ASKED.index(end) for end in ENDS]]}
    for kind, calibration in learned.items():
        groups = calibration.group_of(exam.distances)
        factors = calibration.factors[exam.features, groups]
        found[kind] = calibration.apply(raw, ASKED, ENDS, factors)
    within = {
        kind: exam.within_range(some.imputer.model_, ends).reshape(len(LEVELS), 2, -1)
        for kind, ends in found.items()
    }
    return Asked(exam, within)


def rows(some: Set, repeats: list[Asked]) -> Iterator[dict[str, Any]]:
    """Coverage and width by calibration, group of cells and level, over all repeats."""
    truth = np.concatenate([asked.exam.truth for asked in repeats])
    gaps = np.concatenate([n * 2**40 + asked.exam.gap_numbers for n, asked in enumerate(repeats)])
    cells: dict[tuple[str, Any], list[np.ndarray]] = {}
    for n, asked in enumerate(repeats):
        for by, group, own in asked.exam.groupings(some.test.feature_names):
            parts = cells.setdefault(
                (by, group), [np.zeros(len(a.exam.truth), dtype=bool) for a in repeats]
            )
            parts[n] = own
    for kind in repeats[0].found:
        found = np.concatenate([asked.found[kind] for asked in repeats], axis=2)
        for (by, group), parts in cells.items():
            chosen = np.concatenate(parts)
            for level, (low, high) in zip(LEVELS, found[..., chosen], strict=True):
                inside = (low <= truth[chosen]) & (truth[chosen] <= high)
                yield {"calibration": kind, "by": by, "group": group, "level": level} | {
                    "coverage": inside.mean(),
                    "coverage_se": standard_error(inside, gaps[chosen]),
                    "width": (high - low).mean(),
                    "n": inside.size,
                }


def standard_error(inside: np.ndarray, gaps: np.ndarray) -> float:
    """Of the share of cells inside; cells of one gap are held to go wrong together."""
    away = np.bincount(np.unique(gaps, return_inverse=True)[1], weights=inside - inside.mean())
    return float(np.sqrt((away**2).sum()) / len(inside))


def run(name: str, options: argparse.Namespace) -> None:
    """All rows of one set."""
    size = options.stays if name.startswith("healthcare") else options.rows
    asked = {"data": name, "n_samples": options.samples, "test_size": size, "seed": options.seed}
    windows = options.windows * (MORE if name.endswith(HEAD) else 1)
    asked |= {"windows": windows}
    official = name.startswith("healthcare")
    asked |= {"train_seconds": 0 if official else options.train_seconds}
    asked |= {"targets": "random" if official else options.targets, "repeats": options.repeats}
    asked |= {"period": period_of(name, options)}
    asked |= {"head_iterations": options.iterations if name.endswith(HEAD) else 0}
    wanted = [p for p in options.patterns if not has_row(FILE, asked | {"pattern": p})]
    if not wanted:
        return
    some = make(name, options)
    some.imputer.set_params(n_samples=options.samples, verbose=0)
    one = [str(value) for name, value in asked.items() if name != "repeats"]
    file = CACHE / "calibration" / f"{'-'.join(one)}-held-out.json"
    held_out = kept_calibration(some, some.held_out, windows, options.seed, file)
    for pattern in wanted:
        repeats = []
        for n in range(options.repeats):
            stem = CACHE / "calibration" / "-".join([*one, pattern, str(n)])
            exam = Hiding(options.seed, pattern, 0.1, WHOLE).exam(some.imputer, some.test, 9, n)
            raw = raw_quantiles(some.imputer, exam, Path(f"{stem}.npz"))
            given = given_of(some.test, exam)
            to_fill = kept_calibration(some, given, windows, options.seed, Path(f"{stem}.json"))
            learned = {"held out": held_out, "to fill": to_fill}
            repeats.append(asked_once(some, exam, raw, learned))
        found = list(rows(some, repeats))
        add_rows(FILE, [asked | {"pattern": pattern} | row | circumstances() for row in found], KEY)
        tell(name, pattern, pd.DataFrame(found))


def given_of(test: Panel, exam: Exam) -> Panel:
    """The test data without the hidden cells."""
    pairs = zip(test.values, exam.target_masks, strict=True)
    return replace(test, values=tuple(np.where(hidden, np.nan, x) for x, hidden in pairs))


def tell(name: str, pattern: str, table: pd.DataFrame) -> None:
    """The targets of one pattern: all cells, and the feature that is covered least."""
    for kind, part in table[table["level"].isin([0.5, 0.9])].groupby("calibration", sort=False):
        whole = part[part["by"] == "all"].set_index("level")
        many = part[(part["by"] == "feature") & (part["n"] >= 200) & (part["level"] == 0.9)]
        print(
            f"{name} {pattern} {kind}: 50 % {whole.coverage[0.5]:.3f} ({whole.width[0.5]:.3f} wide)"
            f", 90 % {whole.coverage[0.9]:.3f} ({whole.width[0.9]:.3f} wide); least of "
            f"{len(many)} features {many.coverage.min():.3f}",
            flush=True,
        )


def draw(path: Path) -> None:
    """Reliability of the heads by set and pattern, before and after calibration on the same rows.

    Of each the rows that were made last.
    """
    table = read_rows(FILE)
    table = table[table["calibration"].isin(["none", "to fill"]) & table["data"].str.endswith(HEAD)]
    table = table.assign(calibrated=table["calibration"] == "to fill")
    names = sorted(set(table["data"]))
    figure = Figure(figsize=(3.3 * len(names), 6.6), layout="constrained")
    axes = figure.subplots(len(PATTERNS), len(names), squeeze=False)
    for (row, pattern), (column, name) in product(enumerate(PATTERNS), enumerate(names)):
        part = table[(table["data"] == name) & (table["pattern"] == pattern)]
        if len(part):
            part = part[(part[SETTING] == part[SETTING].iloc[-1]).all(axis=1) & (part["n"] >= 200)]
            title = f"{name.removesuffix(HEAD)}, {pattern}"
            plot_reliability(part, ax=axes[row, column]).set_title(title)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Make the rows that are not there, and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--patterns", nargs="+", default=list(PATTERNS), choices=PATTERNS)
    parser.add_argument(
        "--stays", type=int, default=100, help="of Healthcare; 8 times for the head"
    )
    parser.add_argument(
        "--rows", type=int, default=5000, help="of the test data of ett and weather"
    )
    parser.add_argument("--repeats", type=int, default=2, help="of hiding cells")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--windows", type=int, default=384, help="to calibrate on")
    parser.add_argument("--train-seconds", type=int, default=480)
    parser.add_argument("--straight", action="store_true", help="no season")
    parser.add_argument("--targets", choices=("random", "block"), default="block")
    parser.add_argument("--iterations", type=int, default=500, help="of the head's training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    options.data, options.missing, options.fold = "healthcare", 0.1, 0
    if options.threads:
        torch.set_num_threads(options.threads)
    circumstances()
    for name in options.sets:
        run(name, options)
    draw(RESULTS / "calibration.png")


if __name__ == "__main__":
    main()
