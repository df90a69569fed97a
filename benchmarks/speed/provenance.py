"""What stands beside every measured row: the state of the code and the machine at its beginning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "accuracy"))
from records import CACHE, RESULTS, add_row, circumstances  # noqa: E402

__all__ = ["CACHE", "HERE", "RESULTS", "add_row", "provenance"]


def provenance() -> dict[str, Any]:
    """Commit, device, cores, and whether the library differed from the commit."""
    answer = subprocess.run(
        ["git", "status", "--porcelain", "--", "tsimpute", "benchmarks/speed"],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    return circumstances() | {"uncommitted_changes": bool(answer.stdout.strip())}
