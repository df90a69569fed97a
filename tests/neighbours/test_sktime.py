"""sktime: its own checks, pipelines and panels. Run where sktime is installed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime")

from sktime.transformations.series.exponent import ExponentTransformer

from tsimpute import EDDPMImputer
from tsimpute.neighbours.sktime import SMALL, SktimeImputer


def wave(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    index = pd.period_range("2026-01", periods=n, freq="M")
    frame = pd.DataFrame({"a": np.sin(t / 3), "b": np.cos(t / 3)}, index=index)
    return frame.mask(rng.random(frame.shape) < 0.2)


def test_a_series_is_filled_as_the_imputer_fills_it() -> None:
    frame = wave(40)
    wanted = EDDPMImputer(**SMALL).fit(frame).transform(frame)
    found = SktimeImputer(EDDPMImputer(**SMALL)).fit_transform(frame)
    pd.testing.assert_frame_equal(found, wanted)


def test_a_panel_of_unequal_length_is_filled() -> None:
    both = pd.concat({"p": wave(30), "q": wave(17, 1)}, names=["instance", "time"])
    found = SktimeImputer(EDDPMImputer(**SMALL)).fit_transform(both)
    assert found.index.equals(both.index) and not found.isna().any(axis=None)
    known = both.notna()
    assert found[known].equals(both[known])


def test_it_stands_in_a_pipeline_and_leaves_its_settings_alone() -> None:
    settings = EDDPMImputer(**SMALL)
    pipeline = SktimeImputer(settings) * ExponentTransformer(2)
    found = pipeline.fit_transform(wave(30))
    assert (found.to_numpy() >= 0).all()
    assert not hasattr(settings, "model_")
    changed = SktimeImputer(settings).set_params(imputer__n_samples=3)
    assert changed.get_params()["imputer__n_samples"] == 3


def test_what_was_pretrained_is_not_lost() -> None:
    pretrained = EDDPMImputer(**SMALL).pretrain(wave(40), epochs=1)
    trunk = pretrained.pretrained_
    wanted = pretrained.fit(wave(30, 1)).transform(wave(30, 1))
    for one in (SktimeImputer(pretrained), SktimeImputer(pretrained).clone()):
        pd.testing.assert_frame_equal(one.fit_transform(wave(30, 1)), wanted)
        assert one.imputer_.pretrained_ is trunk


@pytest.mark.slow
def test_sktimes_own_checks_pass() -> None:
    from sktime.utils.estimator_checks import check_estimator

    results = check_estimator(SktimeImputer, raise_exceptions=False)
    failed = {name: result for name, result in results.items() if result != "PASSED"}
    assert not failed
