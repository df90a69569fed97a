"""Kinds of files, by their ending."""

from __future__ import annotations

from importlib import import_module

from tsimpute.errors import InputError, MissingExtraError

PIPE = "-"
KINDS = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".nc": "netcdf",
    ".nc4": "netcdf",
    ".netcdf": "netcdf",
    ".zarr": "zarr",
}
TITLES = {"csv": "CSV", "parquet": "Parquet", "netcdf": "NetCDF", "zarr": "Zarr"}
LIBRARIES = {"csv": (), "parquet": ("pyarrow",), "netcdf": ("h5netcdf", "h5py"), "zarr": ("zarr",)}


def kind_of(path: str) -> str:
    """Kind of a file: "csv", "parquet", "netcdf" or "zarr".

    Parameters
    ----------
    path : str
        A path, or ``-`` for standard input or output, which is CSV.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If the ending is none of `KINDS`.

    Examples
    --------
    >>> kind_of("weather.NC"), kind_of("-")
    ('netcdf', 'csv')
    """
    if path == PIPE:
        return "csv"
    trimmed = path.rstrip("/\\").lower()
    for ending, kind in KINDS.items():
        if trimmed.endswith(ending):
            return kind
    raise InputError(f"{path}: got an unknown ending, expected one of {', '.join(KINDS)}, or -")


def need(kind: str) -> None:
    """Raise MissingExtraError, naming the extra, if the library for a kind is not installed."""
    for library in LIBRARIES[kind]:
        try:
            import_module(library)
        except ImportError as error:
            raise MissingExtraError(
                f"{TITLES[kind]} files need {library}, which is not installed; "
                f"run: pip install 'tsimpute[files]'"
            ) from error
