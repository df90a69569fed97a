"""Saved models: round trip, refusal of anything doubtful, atomic writing."""

from __future__ import annotations

import copy
import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsimpute import EDDPMImputer, load
from tsimpute.errors import InputError, ModelFileError
from tsimpute.sampling.methods import FITTED_SAMPLERS

GOLDEN = Path(__file__).parent / "golden"
SMALL = {
    "window_steps": 8,
    "kept_steps": 2,
    "n_samples": 4,
    "epochs": 1,
    "diffusion_steps": 8,
    "channels": 8,
    "layers": 1,
    "heads": 2,
    "random_state": 3,
    "verbose": 0,
    "variance": "fixed",
    "device": "cpu",
}


def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    t = np.arange(60)
    df = pd.DataFrame({"x": np.sin(t / 3), "y": np.cos(t / 3)})
    return df.mask(rng.random(df.shape) < 0.2)


@pytest.fixture(scope="module")
def imputer() -> EDDPMImputer:
    return EDDPMImputer(**SMALL).fit(table())


@pytest.fixture
def saved(imputer: EDDPMImputer, tmp_path: Path) -> Path:
    return imputer.save(tmp_path / "model")


def test_round_trip_needs_nothing_retyped(imputer: EDDPMImputer, saved: Path) -> None:
    again = load(saved, device="cpu")
    pd.testing.assert_frame_equal(again.transform(table()), imputer.transform(table()))
    assert again.get_params() == imputer.get_params()
    pd.testing.assert_frame_equal(again.step_schedule_, imputer.step_schedule_)
    pd.testing.assert_frame_equal(again.history_, imputer.history_)
    assert len(imputer.keep_prob_history_) == len(imputer.history_)
    np.testing.assert_array_equal(again.keep_prob_history_, imputer.keep_prob_history_)
    assert again.feature_names_in_.tolist() == ["x", "y"]
    again.prune(table(), kept_steps=1)
    assert again.step_schedule_["kept"].sum() == 1


def test_further_outputs_are_saved_with_the_model(tmp_path: Path) -> None:
    fitted = EDDPMImputer(**SMALL | {"variance": "npr", "start": "marginals"}).fit(table())
    fitted.fit_variance(table(), "analytic").fit_marginals(table(), iterations=3)
    again = load(fitted.save(tmp_path / "model"), device="cpu")
    for choice in ({"variance": "npr"}, {"variance": "analytic"}, {"method": "head"}):
        one = fitted.predict_quantiles(table(), **choice)
        assert one.equals(again.predict_quantiles(table(), **choice))


@pytest.mark.parametrize("sampler", FITTED_SAMPLERS)
def test_fitted_samplers_are_saved_with_the_model(
    imputer: EDDPMImputer, sampler: str, tmp_path: Path
) -> None:
    fitted = copy.copy(imputer).set_params(sampler=sampler)
    fitted.fit_sampler(table(), sampler, iterations=2)
    again = load(fitted.save(tmp_path / "model"), device="cpu")
    assert again.predict_quantiles(table()).equals(fitted.predict_quantiles(table()))
    assert again.sample(table()).equals(fitted.sample(table()))


def test_files_are_plain_and_listed(saved: Path) -> None:
    names = {file.name for file in saved.iterdir()}
    assert names == {
        "FORMAT_VERSION",
        "SHA256SUMS",
        "config.json",
        "scaler.json",
        "step_schedule.json",
        "weights.safetensors",
        "heads.safetensors",
        "parts.json",
        "history.csv",
    }
    for line in (saved / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((saved / name).read_bytes()).hexdigest() == digest


def test_saving_over_a_model_replaces_it_and_leaves_no_litter(
    imputer: EDDPMImputer, saved: Path
) -> None:
    imputer.save(saved)
    assert [p.name for p in saved.parent.iterdir()] == ["model"]
    load(saved)


def test_saving_over_something_else_is_refused(imputer: EDDPMImputer, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    with pytest.raises(InputError, match="not a saved model"):
        imputer.save(tmp_path / "notes")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="not a saved model"):
        imputer.save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["config.json", "scaler.json", "step_schedule.json", "weights.safetensors"]
)
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_damage_is_refused(saved: Path, name: str, damage: str) -> None:
    file = saved / name
    data = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    elif damage == "truncate":
        file.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    with pytest.raises(ModelFileError, match=name):
        load(saved)


def test_newer_format_and_strangers_are_refused(saved: Path, tmp_path: Path) -> None:
    (saved / "FORMAT_VERSION").write_text("999\n")
    with pytest.raises(ModelFileError, match=r"format 999.*update tsimpute"):
        load(saved)
    (saved / "FORMAT_VERSION").write_text("one")
    with pytest.raises(ModelFileError, match="whole number"):
        load(saved)
    with pytest.raises(ModelFileError, match="not a saved model"):
        load(tmp_path)
    with pytest.raises(ModelFileError, match="not a saved model"):
        load(tmp_path / "absent")


def test_extra_names_in_the_sums_cannot_reach_other_files(saved: Path) -> None:
    sums = saved / "SHA256SUMS"
    sums.write_text(sums.read_text() + "0" * 64 + "  ../outside\n")
    with pytest.raises(ModelFileError, match="outside"):
        load(saved)


def test_files_that_do_not_fit_together_are_refused(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    config["network"]["channels"] = 16
    _rewrite(saved, "config.json", json.dumps(config).encode())
    with pytest.raises(ModelFileError, match="do not fit together"):
        load(saved)


def _rewrite(saved: Path, name: str, data: bytes) -> None:
    (saved / name).write_bytes(data)
    lines = []
    for line in (saved / "SHA256SUMS").read_text().splitlines():
        digest, other = line.split("  ")
        lines.append(f"{hashlib.sha256(data).hexdigest() if other == name else digest}  {other}\n")
    (saved / "SHA256SUMS").write_text("".join(lines))


def test_full_disk_leaves_the_old_model_and_nothing_else(
    imputer: EDDPMImputer, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in saved.iterdir()}

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        imputer.save(saved)
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before
    assert [p.name for p in saved.parent.iterdir()] == ["model"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_really_full_device_is_an_error_of_the_system(imputer: EDDPMImputer) -> None:
    with pytest.raises((OSError, InputError)):
        imputer.save("/dev/full/model")


def test_labels_that_text_cannot_hold(tmp_path: Path) -> None:
    df = table().set_axis([pd.Timestamp("2026-01-01"), pd.Timestamp("2026-01-02")], axis=1)
    odd = EDDPMImputer(**SMALL).fit(df)
    with pytest.raises(InputError, match="column labels"):
        odd.save(tmp_path / "model")
    assert not any(tmp_path.iterdir())


def test_random_state_object_does_not_hinder_saving(tmp_path: Path) -> None:
    options: dict[str, Any] = SMALL | {"random_state": np.random.RandomState(0)}
    fitted = EDDPMImputer(**options).fit(table())
    again = load(fitted.save(tmp_path / "model"), device="cpu")
    pd.testing.assert_frame_equal(again.transform(table()), fitted.transform(table()))


def test_golden_model_of_every_format_still_loads() -> None:
    """One directory a format version; written by tests/golden/make.py at that version."""
    versions = sorted(path for path in GOLDEN.glob("format-*") if path.is_dir())
    assert versions, "no golden model: run tests/golden/make.py"
    for directory in versions:
        imputer = load(directory, device="cpu")
        wanted = np.load(directory.with_suffix(".npz"))
        got = imputer.transform(wanted["given"])
        np.testing.assert_allclose(got, wanted["filled"], rtol=1e-4, atol=1e-4)
        if "by_head" in wanted:
            got = imputer.transform(wanted["given"], method="head")
            np.testing.assert_allclose(got, wanted["by_head"], rtol=1e-4, atol=1e-4)
        if "low" in wanted:
            got = imputer.predict_quantiles(wanted["given"], [0.05]).values[0]
            np.testing.assert_allclose(got, wanted["low"], rtol=1e-4, atol=1e-4)


def test_official_csdi_weights(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "csdi_pretrained"
    one = EDDPMImputer.from_csdi_weights(folder / "model_state.npz", random_state=0, verbose=0)
    two = EDDPMImputer.from_csdi_weights(folder / "model.pth", random_state=0, verbose=0)
    given = np.full((2, 48, 35), np.nan)
    given[:, ::5] = np.random.default_rng(0).normal(size=(2, 10, 35))
    one.prune(np.nan_to_num(given[:, :, :]), steps=[20, 40], epochs=1)
    assert two.step_schedule_["kept"].all() and one.step_schedule_["kept"].sum() == 2
    again = load(one.save(tmp_path / "model"))
    np.testing.assert_array_equal(
        again.sample(given, n_samples=2).values, one.sample(given, n_samples=2).values
    )


def test_official_csdi_weights_bad_files(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no CSDI checkpoint"):
        EDDPMImputer.from_csdi_weights(tmp_path / "absent.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ModelFileError, match="not the tensors"):
        EDDPMImputer.from_csdi_weights(tmp_path / "other.npz")


def test_copy_of_a_model_elsewhere_loads(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "elsewhere" / "m")
    load(tmp_path / "elsewhere" / "m")
