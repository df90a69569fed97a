"""xarray data in chunks of dask: filled when computed, one block of series at a time."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tsimpute import EDDPMImputer
from tsimpute.errors import InputError

pytest.importorskip("dask.array")

TINY = {"window_steps": 8, "channels": 8, "layers": 1, "heads": 2, "epochs": 1, "n_samples": 3}


def stays(n: int = 5) -> xr.DataArray:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(n, 12, 2))
    values[rng.random(values.shape) < 0.3] = np.nan
    labels = {"stay": [f"s{i}" for i in range(n)], "feature": ["a", "b"]}
    return xr.DataArray(values, coords=labels, dims=("stay", "time", "feature"), name="ward")


@pytest.fixture(scope="module")
def imputer() -> EDDPMImputer:
    return EDDPMImputer(**TINY, kept_steps=2, random_state=0, verbose=0).fit(stays())


def test_one_chunk_is_filled_as_if_it_were_in_memory(imputer):
    filled = imputer.transform(stays().chunk())
    assert filled.chunks is not None
    xr.testing.assert_identical(filled.compute(), imputer.transform(stays()))


def test_nothing_is_filled_before_it_is_asked_for(imputer, monkeypatch):
    seen = []
    transform = EDDPMImputer.transform

    def watched(self, X, **choice):
        seen.append(X.shape)
        return transform(self, X, **choice)

    lazy = imputer.transform(stays().chunk(stay=2))
    monkeypatch.setattr(EDDPMImputer, "transform", watched)
    assert not seen
    lazy.isel(stay=slice(2)).compute()
    assert seen == [(2, 12, 2)]


def test_blocks_keep_chunks_labels_and_observed_values_and_repeat(imputer):
    data = stays().chunk(stay=2)
    filled = imputer.transform(data)
    assert filled.chunks == data.chunks
    first, again = filled.compute(), imputer.transform(data).compute()
    xr.testing.assert_identical(first, again)
    assert not first.isnull().any()
    observed = stays().notnull()
    np.testing.assert_array_equal(first.values[observed], stays().values[observed])


def test_blocks_do_not_share_their_noise(imputer):
    same = xr.concat([stays(1)] * 2, dim="stay").assign_coords(stay=["x", "y"])
    filled = imputer.transform(same.chunk(stay=1)).compute()
    assert not np.array_equal(filled[0], filled[1])


def test_a_dataset_and_a_single_series_stay_what_they_are(imputer):
    dataset = stays().to_dataset("feature").chunk(stay=2)
    assert isinstance(imputer.transform(dataset), xr.Dataset)
    assert not imputer.transform(dataset).compute()["a"].isnull().any()
    alone = stays().isel(stay=0, drop=True)
    lazy = imputer.transform(alone.chunk())
    xr.testing.assert_identical(lazy.compute(), imputer.transform(alone))


def test_a_series_in_several_chunks_is_refused(imputer):
    with pytest.raises(InputError, match=r"2 chunks along 'time'.*call X.chunk\({'time': -1}\)"):
        imputer.transform(stays().chunk(time=6))
