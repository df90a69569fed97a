"""A folder of models: versions, reloads, and bad ones that change nothing."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from api.registry import Registry, _natural
from api.settings import Settings
from tests.api.conftest import (
    FEATURES,
    Starter,
    body,
    is_ready,
    make_imputer,
    series,
    wait_until,
)
from tsimpute import EDDPMImputer


@pytest.fixture
def folder(tmp_path: Path, imputer: EDDPMImputer) -> Path:
    imputer.save(tmp_path / "models" / "demo" / "1")
    return tmp_path / "models"


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(bytes(data))


def versions(server: Any) -> list[str]:
    with server.client() as client:
        return list(client.get("/models/demo").json()["versions"])


def test_models_are_listed_with_features_and_limits(start: Starter, folder: Path) -> None:
    server = start(folder)
    with server.client() as client:
        (model,) = client.get("/models").json()["models"]
        one = client.get("/models/demo").json()
        assert client.get("/models/none").status_code == 404
    assert model["features"] == FEATURES
    assert (model["name"], model["version"], model["kept_steps"]) == ("demo", "1", 3)
    assert (model["window_steps"], model["n_samples"], model["methods"]) == (12, 50, ["samples"])
    assert model["limits"]["cells"] == 250_000
    assert one == model | {"versions": ["1"]}


def test_a_new_version_serves_after_a_reload_and_an_old_one_can_be_asked_for(
    start: Starter, folder: Path, imputer: EDDPMImputer
) -> None:
    server = start(folder)
    for version in ("9", "10"):
        imputer.save(folder / "demo" / version)
    with server.client() as client:
        assert client.post("/admin/reload").status_code == 200
    assert versions(server) == ["10", "9"]  # the newest two
    sent = body(series(6), n_samples=1)
    assert server.impute(sent).json()["model"]["version"] == "10"
    assert server.impute(sent | {"version": "9"}).json()["model"]["version"] == "9"
    shutil.rmtree(folder / "demo" / "10")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: versions(server) == ["9", "1"], 60, server)


@pytest.mark.parametrize(
    "file",
    [
        "weights.safetensors",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("config.json", "SHA256SUMS", None)
        ),
    ],
)
def test_a_bad_version_leaves_the_old_one_serving(
    start: Starter, folder: Path, imputer: EDDPMImputer, file: str | None
) -> None:
    server = start(folder)
    sent = body(series(9), n_samples=2)
    before = server.impute(sent).json()
    target = imputer.save(folder / "demo" / "2")
    if file is None:
        shutil.rmtree(target)
        target.mkdir()
    else:
        spoil(target / file)
    with server.client() as client:
        answer = client.post("/admin/reload")
        assert answer.status_code == 409
        assert answer.json()["error"]["details"][0]["location"] == ["demo", "2"]
        metrics = client.get("/metrics").text
    assert "tsimpute_reload_failures_total 1.0" in metrics
    after = server.impute(sent).json()
    assert (after["model"], after["values"]) == (before["model"], before["values"])
    assert is_ready(server)


def test_a_model_that_is_spoiled_on_disk_goes_on_from_memory(start: Starter, folder: Path) -> None:
    server = start(folder)
    spoil(folder / "demo" / "1" / "SHA256SUMS")
    with server.client() as client:
        assert client.post("/admin/reload").status_code == 409
    assert server.impute(body(series(6), n_samples=1)).status_code == 200


def test_a_model_whose_numbers_are_not_finite_is_refused(
    folder: Path, imputer: EDDPMImputer
) -> None:
    import copy

    import torch

    bad = copy.deepcopy(imputer)
    with torch.no_grad():
        for parameter in bad.model_.network.parameters():
            parameter.fill_(float("nan"))
    bad.save(folder / "demo" / "2")
    registry = Registry(Settings(models_dir=folder, devices="cpu"))
    report = registry.reload()
    assert list(report.failed) == [("demo", "2")]
    assert registry.find("demo").version == "1"


def test_a_reload_keeps_what_has_not_changed(folder: Path) -> None:
    registry = Registry(Settings(models_dir=folder, devices="cpu"))
    assert registry.reload().loaded == [("demo", "1")]
    first, catalogue = registry.find("demo"), registry.catalogue
    assert registry.reload().kept == [("demo", "1")]
    assert registry.find("demo") is first
    assert registry.catalogue is not catalogue


def test_stray_files_and_folders_are_left_alone(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / ".demo-half-copied").mkdir()
    (folder / "empty").mkdir()
    registry = Registry(Settings(models_dir=folder, devices="cpu"))
    assert registry.reload().failed == {}
    assert list(registry.catalogue) == ["demo"]


def test_versions_are_in_natural_order() -> None:
    names = ["10", "9", "1.10", "1.9", "v2", "v10", "2026-01-31"]
    assert sorted(names, key=_natural) == ["v2", "v10", "1.9", "1.10", "9", "10", "2026-01-31"]


@pytest.mark.slow
def test_no_pickle_is_read(folder: Path, start: Starter) -> None:
    (folder / "demo" / "2").mkdir()
    (folder / "demo" / "2" / "model.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    server = start(folder)
    assert versions(server) == ["1"]
    assert "failed" in server.log


def test_a_model_whose_intervals_are_calibrated_for_the_head_can_be_loaded(tmp_path: Path) -> None:
    """Loading times a few samples, which such a calibration does not fit."""
    imputer = make_imputer(variance="fixed", method="head").fit(series(60))
    imputer.fit_marginals(series(60), iterations=1).fit_calibration(series(60), max_windows=6)
    imputer.save(tmp_path / "models" / "demo" / "1")
    registry = Registry(Settings(models_dir=tmp_path / "models", devices="cpu"))
    registry.reload()
    assert registry.find("demo").methods == ("head",)
