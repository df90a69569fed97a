"""Find a data file, check its bytes, unpack it."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from tsimpute.errors import DatasetError

DIRECTORY_VARIABLE = "TSIMPUTE_DATA"


@dataclass(frozen=True)
class DataFile:
    """One file of a data set.

    Attributes
    ----------
    path : str
        Its plain name below the data directory; with ``.gz`` appended it is found as well.
    sha256 : str
        Checksum of the plain bytes.
    source : str
        Publisher, reference and licence, for the error message.
    sha256_packed : str
        Checksum of the known packed copy; packed copies with other bytes are unpacked and
        compared with ``sha256``.  Empty if there is no such copy.
    """

    path: str
    sha256: str
    source: str
    sha256_packed: str = ""


def data_directory(directory: str | os.PathLike[str] | None = None) -> Path:
    """Return the argument, else ``TSIMPUTE_DATA``, else ``./data``."""
    return Path(directory or os.environ.get(DIRECTORY_VARIABLE) or "data").expanduser()


def read_plain(file: DataFile, directory: Path) -> bytes:
    """Read a file, packed or not, and return its plain bytes after the check.

    Raises
    ------
    DatasetError
        If it is absent or its bytes are not the expected ones.
    """
    for path in (directory / f"{file.path}.gz", directory / file.path):
        if path.is_file():
            return _plain_bytes(path, file)
    raise absent(file.path, [directory / f"{file.path}.gz", directory / file.path], file.source)


def checked_bytes(path: Path, expected: str, source: str) -> bytes:
    """Read a file as it is; other bytes than expected are a `DatasetError`."""
    raw = path.read_bytes()
    if sha256(raw) != expected:
        raise _altered(path, sha256(raw), expected, source)
    return raw


def sha256(raw: bytes) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(raw).hexdigest()


def absent(name: str, places: list[Path], source: str) -> DatasetError:
    """Error for a data set that is not there."""
    looked = ", ".join(str(place.absolute()) for place in places)
    return DatasetError(
        f"{name}: got no such file, looked for {looked}. Get it from {source}; put it there, or "
        f"set the environment variable {DIRECTORY_VARIABLE} to the directory that holds it"
    )


def _plain_bytes(path: Path, file: DataFile) -> bytes:
    raw = path.read_bytes()
    if path.suffix != ".gz":
        return checked_bytes(path, file.sha256, file.source)
    try:
        plain = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        expected = file.sha256_packed or f"a gzip file of {file.sha256}"
        raise _altered(path, f"{sha256(raw)} ({error})", expected, file.source) from error
    if file.sha256_packed != sha256(raw) and sha256(plain) != file.sha256:
        raise _altered(path, f"{sha256(plain)} (unpacked)", file.sha256, file.source)
    return plain


def _altered(path: Path, got: str, expected: str, source: str) -> DatasetError:
    return DatasetError(
        f"{path.absolute()}: got SHA-256 {got}, expected {expected}; the file is damaged or "
        f"another edition. Get it again from {source}"
    )
