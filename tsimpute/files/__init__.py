"""Series in files: CSV, Parquet, NetCDF and Zarr, told apart by the ending; ``-`` is a CSV pipe.

A table has a row for each time, a column for each feature, and may have columns that hold the time
and name the series. A NetCDF or Zarr data set has a variable for each feature. What is written
has the columns or variables of what was read, in the same order; only holes differ.
"""

from __future__ import annotations

from tsimpute.files.kinds import KINDS, kind_of
from tsimpute.files.levels import level_suffix
from tsimpute.files.reading import read
from tsimpute.files.recording import Recording
from tsimpute.files.writing import check_target, write

__all__ = ["KINDS", "Recording", "check_target", "kind_of", "level_suffix", "read", "write"]
