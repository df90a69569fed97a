"""Darts: there and back. Run where Darts is installed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("darts")

from darts import TimeSeries

from tsimpute import EDDPMImputer
from tsimpute.errors import InputError, InputTypeError
from tsimpute.neighbours.darts import impute, to_frame

SMALL = {
    "window_steps": 8,
    "kept_steps": 2,
    "n_samples": 4,
    "epochs": 1,
    "diffusion_steps": 8,
    "channels": 8,
    "layers": 1,
    "heads": 2,
    "variance": "fixed",
    "random_state": 0,
    "verbose": 0,
    "device": "cpu",
}


def wave(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    index = pd.date_range("2026-01-01", periods=n, freq="h", name="time")
    frame = pd.DataFrame({"a": np.sin(t / 3), "b": np.cos(t / 3)}, index=index)
    return frame.mask(rng.random(frame.shape) < 0.2)


@pytest.fixture(scope="module")
def imputer() -> EDDPMImputer:
    return EDDPMImputer(**SMALL).fit(wave(60))


def test_a_series_comes_back_filled_with_all_it_had(imputer: EDDPMImputer) -> None:
    covariates = pd.DataFrame({"place": [3.0]})
    series = TimeSeries.from_dataframe(wave(40), static_covariates=covariates)
    found = impute(imputer, series)
    assert isinstance(found, TimeSeries)
    assert found.time_index.equals(series.time_index)
    assert found.static_covariates.equals(series.static_covariates)
    wanted = imputer.transform(wave(40))
    np.testing.assert_array_equal(found.values(), wanted.to_numpy())


def test_samples_become_a_stochastic_series(imputer: EDDPMImputer) -> None:
    found = impute(imputer, TimeSeries.from_dataframe(wave(40)), 3, random_state=5)
    drawn = imputer.sample(wave(40), 3, random_state=5)
    assert found.n_samples == 3
    wanted = drawn.transpose("time", "feature", "sample").to_numpy()
    np.testing.assert_array_equal(found.all_values(), wanted)


@pytest.mark.parametrize("n_samples", [None, 2])
def test_several_series_of_unequal_length(imputer: EDDPMImputer, n_samples: int | None) -> None:
    frames = [wave(30), wave(11, seed=1)]
    found = impute(imputer, [TimeSeries.from_dataframe(frame) for frame in frames], n_samples)
    assert [len(one) for one in found] == [30, 11]
    for one, frame in zip(found, frames, strict=True):
        known = frame.notna().to_numpy()
        assert np.isfinite(one.all_values()).all()
        assert (one.all_values()[known] == frame.to_numpy()[known][:, None]).all()


def test_counted_rows_and_single_precision_are_kept(imputer: EDDPMImputer) -> None:
    series = TimeSeries.from_values(wave(20).to_numpy(dtype=np.float32), columns=["a", "b"])
    assert to_frame(series).index.tolist() == list(range(20))
    assert impute(imputer, series).dtype == np.float32


def test_what_cannot_be_used_is_named(imputer: EDDPMImputer) -> None:
    with pytest.raises(InputTypeError, match="got DataFrame, expected a Darts TimeSeries"):
        to_frame(wave(20))
    with pytest.raises(InputError, match="empty list"):
        to_frame([])
    with pytest.raises(InputError, match="series 0 holds 3 samples"):
        to_frame(TimeSeries.from_values(np.zeros((20, 1, 3))))
    several = [TimeSeries.from_dataframe(wave(20)), TimeSeries.from_dataframe(wave(20)[["a"]])]
    with pytest.raises(InputError, match=r"series 1 has the components \['a'\]"):
        to_frame(several)
