"""Scores that took long to compute, kept in a file so that a search can be taken up again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsimpute.errors import ModelFileError
from tsimpute.storage.atomic import new_file

Key = tuple[int, ...]


class ScoreFile:
    """Scores by their kind and key; without a path they are kept in memory only.

    Parameters
    ----------
    path : str or Path, optional
        JSON file, written after every new score.
    settings : dict
        Plain data on which scores depend.
    """

    def __init__(self, path: str | Path | None, settings: dict[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self.settings = settings
        self.scores: dict[tuple[str, Key], float] = {}

    @classmethod
    def open(cls, path: str | Path | None, settings: dict[str, Any]) -> ScoreFile:
        """The scores in a file, or none if there is no file yet.

        Raises
        ------
        ModelFileError
            If the file holds something else, or scores of other settings.
        """
        found = cls(path, settings)
        if found.path is None or not found.path.exists():
            return found
        try:
            stored = json.loads(found.path.read_text())
            known, rows = stored["settings"], stored["scores"]
            found.scores = {(kind, tuple(key)): float(score) for kind, key, score in rows}
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ModelFileError(f"{path} is not a readable file of scores: {error}") from error
        differing = [name for name, value in settings.items() if known.get(name) != value]
        if differing:
            raise ModelFileError(
                f"{path} belongs to a search with other settings ({', '.join(differing)}); pass "
                f"the same ones, or another path"
            )
        return found

    def get(self, kind: str, key: Key, compute: Callable[[Key], float]) -> float:
        """A known score, or a new one."""
        if (kind, key) not in self.scores:
            self.scores[kind, key] = compute(key)
            self._write()
        return self.scores[kind, key]

    def _write(self) -> None:
        if self.path is None:
            return
        rows = [[kind, list(key), score] for (kind, key), score in self.scores.items()]
        with new_file(self.path) as file:
            file.write(json.dumps({"settings": self.settings, "scores": rows}).encode())


def digest(arrays: Iterable[NDArray[Any]]) -> str:
    """A short text that differs where arrays differ."""
    sums = hashlib.sha256()
    for array in arrays:
        sums.update(str((array.shape, array.dtype)).encode())
        sums.update(np.ascontiguousarray(array).tobytes())
    return sums.hexdigest()[:16]
