"""Directories of plain files: written all or not at all, and checked before anything is believed.

Beside its files a directory holds SHA256SUMS, the digest of each in the format of `sha256sum`, and
a file with the number of its format.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tsimpute.errors import InputError, ModelFileError

SUMS = "SHA256SUMS"


def write_directory(
    path: Path, files: Mapping[str, bytes], version_file: str, version: int
) -> None:
    """Write files with their digests; what is there already is replaced once all is on disk.

    Raises
    ------
    OSError
        If the disk is full or not writable; nothing is left behind.
    """
    sums = "".join(f"{digest(data)}  {name}\n" for name, data in files.items())
    signed = {**files, SUMS: sums.encode(), version_file: f"{version}\n".encode()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        for name, data in signed.items():
            _write(temporary / name, data)
        temporary.chmod(0o755)
        _swap(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def check_own(path: Path, version_file: str, what: str) -> None:
    """Raise InputError if something else than such a directory is there."""
    if path.exists() and not (path / version_file).is_file():
        raise InputError(f"{path} exists and is not {what}; choose another path")


def checked_version(path: Path, version_file: str, newest: int, what: str) -> int:
    """Number of the format of a directory.

    Raises
    ------
    ModelFileError
        If there is none, or it is newer than `newest`.
    """
    file = path / version_file
    if not file.is_file():
        raise ModelFileError(f"{path} is not {what}: it has no file {version_file}")
    text = file.read_text(errors="replace").strip()
    if not text.isdigit():
        raise ModelFileError(f"{file} holds {text[:20]!r}; expected a whole number")
    if int(text) > newest:
        raise ModelFileError(
            f"{path} has format {text}, newer than {newest}, which this version of tsimpute "
            f"reads; update tsimpute"
        )
    if int(text) < 1:
        raise ModelFileError(f"{path} has format {text}; expected 1 to {newest}")
    return int(text)


def check_digests(path: Path, payload: tuple[str, ...]) -> None:
    """Raise ModelFileError unless exactly the files of the payload are there, unaltered."""
    sums = path / SUMS
    if not sums.is_file():
        raise ModelFileError(f"{path} is incomplete: {SUMS} is missing")
    lines = [line.split("  ", 1) for line in sums.read_text(errors="replace").splitlines()]
    wanted = {parts[1]: parts[0] for parts in lines if len(parts) == 2}
    if set(wanted) != set(payload):
        raise ModelFileError(f"{sums} names {sorted(wanted)}; expected {sorted(payload)}")
    for name, listed in wanted.items():
        if not (path / name).is_file():
            raise ModelFileError(f"{path} is incomplete: {name} is missing")
        got = digest((path / name).read_bytes())
        if got != listed:
            raise ModelFileError(
                f"{path / name} was altered or truncated: its SHA-256 is {got[:12]}…, expected "
                f"{listed[:12]}…; copy the model again"
            )


def json_bytes(content: Any) -> bytes:
    """Plain data as a file of JSON; numbers must be finite."""
    text = json.dumps(content, indent=1, allow_nan=False, default=_number)
    return f"{text}\n".encode()


def tensor_bytes(state: Mapping[str, Tensor]) -> bytes:
    """Tensors as a file of safetensors."""
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})


def digest(data: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _number(value: object) -> Any:
    """What JSON holds of a number of numpy's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _write(file: Path, data: bytes) -> None:
    with open(file, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _swap(temporary: Path, path: Path) -> None:
    if not path.exists():
        os.rename(temporary, path)
        return
    retired = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-old-")) / "model"
    os.rename(path, retired)
    try:
        os.rename(temporary, path)
    except BaseException:
        os.rename(retired, path)
        raise
    finally:
        shutil.rmtree(retired.parent, ignore_errors=True)
