"""Result rows of benchmarks: what was measured, on what, at which commit."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

RESULTS = Path(__file__).resolve().parents[1] / "results"
CACHE = Path(__file__).resolve().parents[1] / ".cache"
# Of networks of our own in tables that are older than the present defaults.
OLDER_DEFAULTS = {"learning_rate": 1e-3, "warmup": 0.0, "sampler": "ddpm"}


@cache
def circumstances() -> dict[str, Any]:
    """Commit, device and cores as they are at the first call: make it before any work."""
    import torch

    answer = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {
        "commit": answer.stdout.strip() or "unknown",
        "device": device,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }


def read_rows(file: Path) -> pd.DataFrame:
    """Rows of a result file; commits and kept steps are text, even where they look like numbers."""
    rows = pd.read_csv(file, dtype={"commit": str, "kept": str})
    return rows.fillna({"kept": ""}) if "kept" in rows else rows


def add_row(file: Path, row: dict[str, Any], key: list[str]) -> None:
    """Write a row, replacing an older one with the same key; the file is replaced atomically."""
    add_rows(file, [row], key)


def add_rows(file: Path, rows: list[dict[str, Any]], key: list[str]) -> None:
    """Write rows, replacing older ones with the same keys; the file is replaced atomically.

    One process at a time: what others add to the same file meanwhile is neither lost nor mixed up.
    """
    table = pd.DataFrame(rows)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        if file.is_file():
            old = read_rows(file)
            same = _key_index(old, key).isin(_key_index(table, key))
            table = pd.concat([old[~same], table], ignore_index=True)
        temporary = file.with_suffix(".tmp")
        # Whole numbers stay so in a column that has blanks.
        written = table.replace("", pd.NA).convert_dtypes()
        written.to_csv(temporary, index=False, float_format="%.6g")
        os.replace(temporary, file)


def _key_index(table: pd.DataFrame, key: list[str]) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(table[key].map(_as_written))


def _as_written(value: Any) -> str:
    """One text for a value and for what is read of it again: 3600.0 is written as 3600."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return "" if math.isnan(number) else f"{number:.6g}"


def has_row(file: Path, row: dict[str, Any]) -> bool:
    """Whether the file holds a row with all these values."""
    if not file.is_file():
        return False
    old = read_rows(file)
    same = pd.Series(True, index=old.index)
    for name, value in row.items():
        same &= old[name].map(_as_written) == _as_written(value)
    return bool(same.any())
