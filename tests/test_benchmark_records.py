"""Result rows of the benchmarks: found again after a restart, replaced and never doubled."""

from __future__ import annotations

import importlib.util
import multiprocessing
from pathlib import Path

import pandas as pd
import pytest

PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "accuracy" / "records.py"


def load_records():
    spec = importlib.util.spec_from_file_location("records", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def records():
    return load_records()


ROW = {"seconds": 3600.0, "rate": 0.1, "tiny": 1e-3, "n": 40, "kept": "27", "name": "", "on": True}


def test_a_row_is_found_again_whatever_its_values_look_like_when_read(records, tmp_path):
    file = tmp_path / "rows.csv"
    records.add_row(file, ROW | {"crps": 0.2}, list(ROW))
    assert records.has_row(file, ROW)
    for name, other in [("seconds", 3600.5), ("rate", 0.2), ("kept", "28"), ("on", False)]:
        assert not records.has_row(file, ROW | {name: other})


def test_a_row_that_is_measured_again_replaces_the_old_one(records, tmp_path):
    file = tmp_path / "rows.csv"
    for crps in (0.2, 0.3):
        records.add_row(file, ROW | {"crps": crps}, list(ROW))
        records.add_row(file, ROW | {"name": "other", "crps": crps}, list(ROW))
    assert pd.read_csv(file)["crps"].tolist() == [0.3, 0.3]


def test_rows_with_blanks_leave_the_lines_of_the_others_as_they_are(records, tmp_path):
    file = tmp_path / "rows.csv"
    records.add_row(file, ROW | {"crps": 0.2}, list(ROW))
    before = file.read_text().splitlines()
    for kept in ("1", "2"):
        blank = {"seconds": "", "n": "", "on": "", "kept": kept, "crps": 0.25}
        records.add_row(file, blank, ["kept"])
    assert file.read_text().splitlines()[:2] == before


def add_many(file: Path, name: str) -> None:
    records = load_records()
    for kept in range(15):
        records.add_row(file, {"name": name, "kept": str(kept), "crps": 0.2}, ["name", "kept"])


def test_processes_that_write_at_the_same_time_lose_no_row(records, tmp_path):
    file = tmp_path / "rows.csv"
    names = ["a" * 2_000, "b", "c"]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_many, args=(file, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    rows = records.read_rows(file)
    assert rows.groupby("name")["kept"].nunique().to_dict() == dict.fromkeys(names, 15)
    assert len(rows) == 45
