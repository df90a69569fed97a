"""Does the imputer beat simple methods? All fill the same hidden cells; the outcome in words."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.assessment.calibration import Hiding
from tsimpute.assessment.hidden_answers import answered_quantiles
from tsimpute.evaluation.calibration import gaussian_quantiles
from tsimpute.evaluation.metrics import CRPS_LEVELS
from tsimpute.evaluation.rivals import Answer, Task, ask
from tsimpute.panel.core import Panel
from tsimpute.panel.time_step import season_of
from tsimpute.sampling.choices import Fitted

FloatArray = NDArray[np.float64]
Group = tuple[str, Hashable, NDArray[np.bool_]]  # kind, label, which hidden cells

OWN = "tsimpute"
FEW_CELLS = 20  # in a group: too few to say anything in words
CLEARLY = 2.0  # standard errors of the mean difference
SCORES = ("MAE", "CRPS")  # that are told in words


@dataclass(frozen=True, eq=False)
class SelfCheck:
    """What `EDDPMImputer.evaluate` found, in standard deviations of each feature.

    Attributes
    ----------
    overall : DataFrame, indexed by `method`
        `MAE`, `RMSE`, `CRPS` (mean, not normalised; of a method without intervals equal to its
        MAE), `coverage_50` and `coverage_90` (NaN for those), and `n`, the number of cells.
    by_feature, by_gap : DataFrame, indexed by (`feature`, `method`) and (`gap length`, `method`)
        The same for each feature, and by the length of the gap that a cell lies in, in rows.
    notes : dict of str to str
        What should be known of a method, why another one was left out, and, as "refused", how
        many hidden cells.
    text : str
        Whether a simple method wins, and where.
    """

    overall: pd.DataFrame
    by_feature: pd.DataFrame
    by_gap: pd.DataFrame
    notes: dict[str, str]
    text: str

    def __str__(self) -> str:
        return self.text


def evaluate(
    imputer: Fitted,
    panel: Panel,
    hiding: Hiding,
    methods: Sequence[str],
    period: int | None,
    calibrated: bool,
) -> SelfCheck:
    """Compare an imputer with simple methods; see :meth:`EDDPMImputer.evaluate`."""
    exam = hiding.exam(imputer, panel, 6)
    (own,) = answered_quantiles(imputer, exam, CRPS_LEVELS, [calibrated])
    period = season_rows(panel) if period is None else period
    task = Task(exam.given_features, exam.target_masks, period, hiding.seed, exam.past_only)
    rivals, notes = _rivals(task, methods, silent=imputer.verbose == 0)
    found = {OWN: own, **rivals}
    if exam.n_refused:
        n = exam.n_refused
        notes["refused"] = (
            f"{n} of {n + len(exam.truth)} hidden cells are left out of all scores, as max_gap or "
            f"min_observed refuses them"
        )
    losses = {name: cell_losses(quantiles, exam.truth) for name, quantiles in found.items()}
    groups = list(exam.groupings(panel.feature_labels))
    overall, by_feature, by_gap = (
        _table(losses, [group for group in groups if group[0] == by])
        for by in ("all", "feature", "gap length")
    )
    text = "\n".join([*_sentences(losses, groups), *(f"{k}: {v}." for k, v in notes.items())])
    return SelfCheck(overall.droplevel(0), by_feature, by_gap, notes, text)


def _rivals(
    task: Task, methods: Sequence[str], silent: bool
) -> tuple[dict[str, FloatArray], dict[str, str]]:
    """Quantiles (19, n_hidden) of the methods that can be used, and what is to be said of any."""
    from tqdm.auto import tqdm

    found, notes = {}, {}
    for name in tqdm(methods, desc="simple methods", disable=silent):
        answer = ask(name, task)
        if answer.note:
            notes[name] = answer.note if answer.mean is not None else f"left out: {answer.note}"
        if answer.mean is not None:
            found[name] = _quantiles(answer)
    return found, notes


def season_rows(panel: Panel) -> int | None:
    """Rows in a season that the time labels suggest: a day, a week or a year, else None."""
    index = max(panel.times, key=len)
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    if not isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex) or len(index) < 2:
        return None
    return season_of(float(np.median(np.diff(index)) / np.timedelta64(1, "D")))


def cell_losses(quantiles: FloatArray, truth: FloatArray) -> pd.DataFrame:
    """What scores are means of, cell by cell, from the 19 quantiles (19, n) of `CRPS_LEVELS`."""
    errors = quantiles - truth
    weights = (errors >= 0) - np.array(CRPS_LEVELS)[:, None]
    at = dict(zip(CRPS_LEVELS, errors, strict=True))
    return pd.DataFrame(
        {
            "MAE": np.abs(at[0.5]),
            "RMSE": at[0.5] ** 2,
            "CRPS": 2 * (errors * weights).mean(axis=0),
            "coverage_50": _inside(at[0.25], at[0.75]),
            "coverage_90": _inside(at[0.05], at[0.95]),
        }
    )


def _inside(low: FloatArray, high: FloatArray) -> FloatArray:
    """1 where the interval holds 0, NaN where it has no width."""
    return np.where(low == high, np.nan, (low <= 0) & (high >= 0))


def _quantiles(answer: Answer) -> FloatArray:
    assert answer.mean is not None
    if answer.sd is None:
        return np.tile(answer.mean, (len(CRPS_LEVELS), 1))
    return gaussian_quantiles(answer.mean, answer.sd, CRPS_LEVELS)


def _table(losses: dict[str, pd.DataFrame], groups: Sequence[Group]) -> pd.DataFrame:
    """Scores of all methods in groups of one kind, indexed by group and method."""
    rows, labels = [], []
    for _, label, cells in groups:
        for name, loss in losses.items():
            rows.append({**loss[cells].mean(), "n": int(cells.sum())})
            labels.append((label, name))
    index = pd.MultiIndex.from_tuples(labels, names=[groups[0][0], "method"])
    table = pd.DataFrame(rows, index=index)
    return table.assign(RMSE=table["RMSE"] ** 0.5)


def _sentences(losses: dict[str, pd.DataFrame], groups: Sequence[Group]) -> Iterator[str]:
    """Who wins in all, and where a simple method wins."""
    if len(losses) == 1:
        yield "There is no simple method to compare with."
        return
    for score in SCORES:
        rival, own, its, verdict = _duel(losses, groups[0][2], score)
        word = {1: "is better than", 0: "is not clearly different from", -1: "is worse than"}
        yield (
            f"Overall {OWN} {word[verdict]} {rival}, the best simple method by {score}: "
            f"{own:.3g} against {its:.3g}."
        )
    for by in ("feature", "gap length"):
        told = [group for group in groups if group[0] == by and group[2].sum() >= FEW_CELLS]
        for score in SCORES:
            yield _where_beaten(losses, told, by, score)


def _where_beaten(
    losses: dict[str, pd.DataFrame], groups: Sequence[Group], by: str, score: str
) -> str:
    duels = [(label, *_duel(losses, cells, score)) for _, label, cells in groups]
    lost = [
        f"{label} ({rival} {its:.3g}, {OWN} {own:.3g})"
        for label, rival, own, its, verdict in duels
        if verdict < 0
    ]
    of_all = f"{len(duels)} {by}s with {FEW_CELLS} cells or more"
    if not lost:
        return f"By {score} no simple method wins clearly in any of {of_all}."
    return f"By {score} a simple method wins clearly in {len(lost)} of {of_all}: {', '.join(lost)}."


def _duel(
    losses: dict[str, pd.DataFrame], cells: NDArray[np.bool_], score: str
) -> tuple[str, float, float, int]:
    """Best rival in some cells, own score and its, and 1, 0 or -1: better, unclear, worse."""
    values = {name: loss[score].to_numpy()[cells] for name, loss in losses.items()}
    own = values.pop(OWN)
    rival = min(values, key=lambda name: float(values[name].mean()))
    gain = values[rival] - own
    error = float(gain.std()) / max(1, len(gain)) ** 0.5
    verdict = int(np.sign(gain.mean())) if abs(gain.mean()) > CLEARLY * error else 0
    return rival, float(own.mean()), float(values[rival].mean()), verdict
