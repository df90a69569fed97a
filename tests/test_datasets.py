"""Loaders: what they give, and what they say when a file is absent or altered."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsimpute import datasets
from tsimpute.datasets import healthcare
from tsimpute.datasets.files import DataFile, data_directory, read_plain, sha256
from tsimpute.errors import DatasetError, InputError

LOADERS = {
    "aqi36/pm25_latlng.txt": datasets.load_air_quality,
    "physionet2012/physionet2012_set_a_hourly.npz": datasets.load_healthcare,
    "ett/ETTh1.csv": datasets.load_ett,
    "weather/weather.csv": datasets.load_weather,
}
PLAIN = b"a,b\n1,2\n"
FILE = DataFile("folder/table.csv", sha256(PLAIN), "the publisher")


def _put(place: Path, name: str, raw: bytes) -> Path:
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("name", LOADERS)
def test_an_absent_file_is_named_with_its_source(name, tmp_path):
    with pytest.raises(DatasetError) as caught:
        LOADERS[name](tmp_path)
    message = str(caught.value)
    assert name in message
    assert str(tmp_path) in message
    assert "TSIMPUTE_DATA" in message
    assert "Get it from" in message


@pytest.mark.parametrize("name", LOADERS)
def test_altered_bytes_are_named_with_both_checksums(name, tmp_path):
    _put(tmp_path, name, b"other bytes")
    with pytest.raises(DatasetError) as caught:
        LOADERS[name](tmp_path)
    message = str(caught.value)
    assert f"got SHA-256 {sha256(b'other bytes')}" in message
    assert "expected" in message


def test_plain_and_packed_bytes_are_the_same(tmp_path):
    _put(tmp_path / "plain", FILE.path, PLAIN)
    _put(tmp_path / "packed", FILE.path + ".gz", gzip.compress(PLAIN, 1))
    assert read_plain(FILE, tmp_path / "plain") == PLAIN
    assert read_plain(FILE, tmp_path / "packed") == PLAIN


@pytest.mark.parametrize(
    "raw",
    [gzip.compress(b"other", mtime=0), gzip.compress(PLAIN, mtime=0)[:-9], b"not a gzip file"],
    ids=["other data", "cut off", "no archive"],
)
def test_damaged_archives_are_named(raw, tmp_path):
    _put(tmp_path, FILE.path + ".gz", raw)
    with pytest.raises(DatasetError, match=r"got SHA-256 .* expected"):
        read_plain(FILE, tmp_path)


def test_directory_is_argument_then_variable_then_data(monkeypatch, tmp_path):
    monkeypatch.delenv("TSIMPUTE_DATA", raising=False)
    assert data_directory() == Path("data")
    monkeypatch.setenv("TSIMPUTE_DATA", str(tmp_path))
    assert data_directory() == tmp_path
    assert data_directory(tmp_path / "other") == tmp_path / "other"


def test_unknown_transformer_is_named():
    with pytest.raises(InputError, match="got 'ETTx'"):
        datasets.load_ett(name="ETTx")


STAY = """Time,Parameter,Value
00:00,RecordID,132539
00:00,Age,54
00:07,HR,73
00:59,HR,77
01:00,pH,7.4
47:59,ALP,100
48:00,HR,90
"""


def test_the_last_reading_of_an_hour_wins():
    stays = healthcare.grid_stays(iter([(132540, "Time,Parameter,Value\n"), (132539, STAY)]))
    assert stays.record_ids.tolist() == [132539, 132540]
    assert stays.values.shape == (2, 48, 35)
    frame = stays.to_frame()
    assert frame.index.names == ["series", "time"]
    assert frame.loc[(132539, 0), "HR"] == 77
    assert frame.loc[(132539, 1), "pH"] == np.float32(7.4)
    assert frame.loc[(132539, 47), "ALP"] == 100
    assert frame.notna().to_numpy().sum() == 3
    assert stays.non_empty.record_ids.tolist() == [132539]


def _archive(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(text)
            archive.addfile(header, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_archive_and_folder_give_the_same_stays(tmp_path, monkeypatch):
    expected = healthcare.grid_stays(iter([(132539, STAY)]))
    monkeypatch.setattr(healthcare, "_CONTENT_SHA256", healthcare.content_sha256(expected))
    archive = _archive({"set-a/132539.txt": STAY, "set-a/README.txt": "no stay"})
    _put(tmp_path / "archive", "physionet2012/set-a.tar.gz", archive)
    _put(tmp_path / "folder", "physionet2012/set-a/132539.txt", STAY.encode())
    for place in ("archive", "folder"):
        stays = datasets.load_healthcare(tmp_path / place)
        np.testing.assert_array_equal(stays.values, expected.values)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("set-a.tar.gz", _archive({"set-a/132539.txt": STAY}), "got 1 stays whose"),
        ("set-a.tar.gz", b"no archive", "cannot be read"),
        ("set-a.tar.gz", _archive({"set-a/132539.txt": STAY})[:150], "cannot be read"),
        ("set-a.tar.gz", _archive({"set-a/132539.txt": "x\n1,2\n"}), "cannot be read"),
        ("set-a/132539.txt", STAY.encode(), "got 1 stays whose"),
        ("set-a/README", b"", "got 0 stays whose"),
    ],
)
def test_an_incomplete_set_is_named(name, raw, message, tmp_path):
    _put(tmp_path, f"physionet2012/{name}", raw)
    with pytest.raises(DatasetError, match=message):
        datasets.load_healthcare(tmp_path)


def test_co2_needs_no_file():
    table = datasets.load_co2()
    assert table.shape == (2284, 1)
    assert table.columns.tolist() == ["co2"]
    assert table.index.freqstr == "W-SAT"
    assert table["co2"].isna().sum() == 59
    assert table["co2"].min() > 300


def test_air_quality(data_dir):
    air = datasets.load_air_quality(data_dir)
    assert air.ground.shape == air.missing.shape == (8759, 36)
    assert air.ground.index.freqstr == "h"
    assert air.ground.columns[0] == "001001"
    assert air.stations.index.tolist() == air.ground.columns.tolist()
    assert air.target_mask.to_numpy().sum() == 35_737
    pd.testing.assert_frame_equal(air.missing, air.ground.where(air.missing.notna()))


def test_healthcare(data_dir):
    stays = datasets.load_healthcare(data_dir)
    assert stays.values.shape == (4000, 48, 35)
    assert np.isnan(stays.values).mean() == pytest.approx(0.80532, abs=1e-5)
    dropped = set(stays.record_ids) - set(stays.non_empty.record_ids)
    assert dropped == {140501, 140936, 141264}
    assert healthcare.content_sha256(stays) == healthcare._CONTENT_SHA256


def test_healthcare_from_the_original_archive(data_dir, tmp_path):
    original = data_dir / "physionet2012" / "set-a.tar.gz"
    if not original.is_file():
        pytest.skip("needs the original set-a.tar.gz")
    (tmp_path / "physionet2012").mkdir()
    (tmp_path / "physionet2012" / "set-a.tar.gz").symlink_to(original.resolve())
    gridded, grid = datasets.load_healthcare(tmp_path), datasets.load_healthcare(data_dir)
    np.testing.assert_array_equal(gridded.values, grid.values)


@pytest.mark.parametrize(("name", "shape"), [("ETTh1", (17420, 7)), ("ETTm1", (69680, 7))])
def test_ett(name, shape, data_dir):
    table = datasets.load_ett(data_dir, name)
    assert table.shape == shape
    assert not table.isna().to_numpy().any()
    assert table.index.freq is not None


def test_weather(data_dir):
    table = datasets.load_weather(data_dir)
    assert table.shape == (52704, 21)
    assert table.isna().to_numpy().sum() == 81 + 9 * 21
    assert table.index.freqstr == "10min"
    assert table.min().min() > -9999
    assert all(name.isascii() for name in table.columns)


def test_descriptors_are_those_at_admission():
    stay = (
        "Time,Parameter,Value\n00:00,RecordID,7\n00:00,Age,54\n00:00,Height,-1\n00:00,Weight,80\n"
    )
    later = stay + "00:00,Weight,81\n05:00,Weight,82\n"
    table = healthcare.described_stays(iter([(132540, later), (132539, "Time,Parameter,Value\n")]))
    assert table.index.tolist() == [132539, 132540] and table.index.name == "record_id"
    assert table.loc[132539].isna().all()
    known = table.loc[132540].dropna()
    assert known.to_dict() == {"Age": 54.0, "Weight": 80.0}


def test_descriptors_need_the_original_files(tmp_path):
    _put(tmp_path, "physionet2012/set-a/132539.txt", STAY.encode())
    with pytest.raises(DatasetError, match="got 1 stays whose descriptors"):
        datasets.load_healthcare_descriptors(tmp_path)
    with pytest.raises(DatasetError, match="set-a"):
        datasets.load_healthcare_descriptors(tmp_path / "physionet2012")


def test_healthcare_descriptors(data_dir):
    if not (data_dir / "physionet2012" / "set-a.tar.gz").is_file():
        pytest.skip("needs the original set-a.tar.gz")
    table = datasets.load_healthcare_descriptors(data_dir)
    assert table.index.tolist() == datasets.load_healthcare(data_dir).record_ids.tolist()
    assert set(table["ICUType"]) == {1, 2, 3, 4} and table["Age"].between(15, 90).all()
