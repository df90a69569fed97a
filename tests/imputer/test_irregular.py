"""Irregular timestamps: distances by the clock instead of by rows."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tsimpute import EDDPMImputer, load
from tsimpute.denoiser.context import Context
from tsimpute.denoiser.embeddings import time_code
from tsimpute.denoiser.lines import linear_between
from tsimpute.errors import InputError
from tsimpute.panel.containers import read_panel
from tsimpute.panel.elapsed import Clock
from tsimpute.sampling.batching import Question, quantiles_together

TINY: dict[str, Any] = {
    "window_steps": 8,
    "kept_steps": 3,
    "n_samples": 6,
    "epochs": 1,
    "diffusion_steps": 6,
    "channels": 8,
    "layers": 1,
    "heads": 2,
    "random_state": 0,
    "verbose": 0,
    "variance": "fixed",
    "device": "cpu",
}


def wave(times: pd.Index, seed: int = 0) -> pd.DataFrame:
    """A slow sine of real time, and noise, with holes."""
    rng = np.random.default_rng(seed)
    hours = np.asarray((times - times[0]).total_seconds()) / 3600
    df = pd.DataFrame({"a": np.sin(hours / 9), "b": rng.normal(size=len(times))}, index=times)
    return df.mask(rng.random(df.shape) < 0.25)


def uneven(n: int = 80, seed: int = 0) -> pd.DatetimeIndex:
    rng = np.random.default_rng(seed)
    minutes = rng.choice([20, 60, 60, 60, 400], size=n).cumsum()
    return pd.Timestamp("2026-01-01") + pd.to_timedelta(minutes, unit="min")


@pytest.fixture(scope="module")
def fitted() -> EDDPMImputer:
    return EDDPMImputer(time="clock", **TINY).fit(wave(uneven()))


# ---- parts ------------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
def test_lines_between_given_cells_are_those_of_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, given_mask = rng.normal(size=(2, 9, 3)), rng.random((2, 9, 3)) < 0.4
    positions = rng.uniform(0.1, 5.0, (2, 9)).cumsum(1)
    found = linear_between(*(torch.from_numpy(p) for p in (values, given_mask, positions)))
    for b in range(2):
        for k in range(3):
            seen = given_mask[b, :, k]
            line = np.zeros(9)
            if seen.any():
                line = np.interp(positions[b], positions[b, seen], values[b, seen, k])
            np.testing.assert_allclose(found[b, :, k], line, atol=1e-12)


def test_whole_positions_give_the_lines_of_rows() -> None:
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.normal(size=(2, 9, 3)))
    seen = torch.from_numpy(rng.random((2, 9, 3)) < 0.5)
    rows = torch.arange(9.0, dtype=torch.float64).expand(2, -1)
    found = linear_between(values, seen, rows)
    torch.testing.assert_close(found, linear_between(values, seen), rtol=1e-6, atol=1e-6)


def test_the_time_embedding_is_that_of_the_positions(fitted: EDDPMImputer) -> None:
    network = fitted.model_.network
    positions = torch.tensor([[0.0, 0.5, 7.25], [0.0, 1.0, 2.0]])
    side = network.project_side(torch.arange(3), Context(positions=positions))[0]
    plain = network.project_side(torch.arange(3))[0]
    assert side.by_row is not None
    torch.testing.assert_close((side.base + side.by_row)[1], plain.base, rtol=1e-5, atol=1e-5)
    width = network.config.time_width
    weight = network.blocks[0].side_projection.weight[:, :width]
    by_hand = time_code(positions[0], width) @ weight.T
    torch.testing.assert_close(side.by_row[0, 0], by_hand, rtol=1e-5, atol=1e-5)


def test_the_unit_is_the_median_step_of_training() -> None:
    times = pd.to_datetime(["2026-01-01 00:00", "2026-01-01 02:00", "2026-01-01 04:00"])
    panel = read_panel(pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=times))
    clock = Clock.fit(panel)
    assert clock == Clock(7200.0, in_seconds=True)
    late = pd.to_datetime(["2026-05-01 00:00", "2026-05-01 00:30", "2026-05-02 00:00"])
    other = read_panel(pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=late), regular=False)
    np.testing.assert_allclose(clock.steps(other)[0], [0.0, 0.25, 12.0])
    assert Clock.from_dict(clock.to_dict()) == clock


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2026-01-01", periods=70, freq="100ms"),
        pd.timedelta_range("0h", periods=70, freq="7min"),
        pd.period_range("2026-01-01", periods=70, freq="h"),
        pd.date_range("2026-03-28", periods=70, freq="h", tz="Europe/Berlin"),
        pd.Index(np.arange(70) * 0.1),
        pd.RangeIndex(70),
    ],
    ids=str,
)
def test_regular_times_are_whole_steps(times: pd.Index) -> None:
    panel = read_panel(pd.DataFrame({"a": np.arange(70.0)}, index=times))
    assert (Clock.fit(panel).steps(panel)[0] == np.arange(70)).all()


# ---- the estimator ----------------------------------------------------------------------------


def test_regular_times_give_the_numbers_of_steps() -> None:
    df = wave(pd.date_range("2026-01-01", periods=60, freq="h"))
    by_clock = EDDPMImputer(time="clock", **TINY).fit(df)
    by_rows = EDDPMImputer(**TINY).fit(df)
    for name, weight in by_rows.model_.network.state_dict().items():
        assert torch.equal(weight, by_clock.model_.network.state_dict()[name])
    pd.testing.assert_frame_equal(by_clock.transform(df), by_rows.transform(df))


def test_irregular_times_are_filled_by_the_clock(fitted: EDDPMImputer) -> None:
    df = wave(uneven(seed=1), seed=1)
    out = fitted.transform(df)
    assert not out.isna().any().any() and out.index.equals(df.index)
    even = df.set_axis(pd.date_range("2026-01-01", periods=len(df), freq="h"))
    assert (fitted.transform(even)["a"].to_numpy() != out["a"].to_numpy()).any()


def test_the_anchor_follows_the_clock(fitted: EDDPMImputer) -> None:
    times = pd.to_datetime(["2026-01-01 00:00", "2026-01-01 09:00", "2026-01-01 10:00"])
    df = pd.DataFrame({"a": [0.0, np.nan, 1.0], "b": [0.0, 1.0, 2.0]}, index=times)
    certain = copy.copy(fitted)  # nothing is left but the line
    anchor = replace(fitted.model_.anchor, scale=torch.full((2,), 1e-6))
    certain.model_ = replace(fitted.model_, anchor=anchor)
    assert certain.transform(df)["a"].iloc[1] == pytest.approx(0.9, abs=1e-3)


def test_every_part_works_on_irregular_times(tmp_path: Path) -> None:
    df = wave(uneven())
    imputer = EDDPMImputer(time="clock", calendar=["hour"], **TINY).fit(df)
    imputer.fit_marginals(df, iterations=2).fit_variance(df, "crps", n_batches=2)
    for kind in ("ggdm", "tdas", "genie-distilled"):
        imputer.fit_sampler(df, kind, iterations=2)
        assert not imputer.transform(df, sampler=kind).isna().any().any()
    assert not imputer.transform(df, method="head").isna().any().any()
    assert np.isfinite(imputer.respace("elbo", 2, df).score(df))
    imputer.prune(df, 2)
    again = load(imputer.save(tmp_path / "model"), device="cpu")
    assert again.time == "clock"
    pd.testing.assert_frame_equal(again.transform(df), imputer.transform(df))
    (answers,) = quantiles_together(imputer, [Question(df, [0.5], random_state=1)])
    assert answers is not None
    alone = imputer.predict_quantiles(df, [0.5], random_state=1).values[0]
    np.testing.assert_allclose(answers[0].to_numpy(), alone, rtol=1e-4, atol=1e-5)


def test_a_stream_by_the_clock_is_filled_as_the_whole_series_is() -> None:
    df = wave(uneven(30))
    imputer = EDDPMImputer(time="clock", mode="online", **TINY).fit(df)
    wanted = imputer.transform(df)
    found = pd.DataFrame([imputer.update(row) for _, row in df.iterrows()])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)
    apart = imputer.transform(df.set_axis(df.index[:1].append(df.index[1:] + pd.Timedelta("9h"))))
    assert (apart.to_numpy() != wanted.to_numpy()).any()


def test_series_may_have_times_of_their_own() -> None:
    parts = {i: wave(uneven(12 + i, seed=i), seed=i) for i in range(3)}
    df = pd.concat(parts, names=["stay", "time"])
    out = EDDPMImputer(time="clock", **TINY).fit(df).transform(df)
    assert not out.isna().any().any() and out.index.equals(df.index)


# ---- what cannot be used ----------------------------------------------------------------------


def test_irregular_times_without_the_clock_are_refused_with_advice() -> None:
    with pytest.raises(InputError, match=r"irregular time steps.*time='clock'"):
        EDDPMImputer(**TINY).fit(wave(uneven()))


def test_the_clock_needs_times_of_the_kind_of_the_fit(fitted: EDDPMImputer) -> None:
    df = wave(uneven())
    with pytest.raises(InputError, match="time='clock' needs times, but X is an array"):
        EDDPMImputer(time="clock", **TINY).fit(df.to_numpy())
    with pytest.raises(InputError, match="X has times of int64, expected timestamps"):
        fitted.transform(df.reset_index(drop=True))
    with pytest.raises(InputError, match="times are not sorted"):
        fitted.transform(df.iloc[::-1])
    with pytest.raises(InputError, match="duplicate time"):
        fitted.transform(pd.concat([df, df.iloc[-1:]]))
    with pytest.raises(InputError, match="time='hours'; expected 'steps' or 'clock'"):
        EDDPMImputer(time="hours", **TINY).fit(df)
