"""Saved imputers by name and version, checked before they serve and swapped all at once."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import tsimpute
from api.cost import Cost, measure
from api.errors import ServiceError
from api.settings import Settings
from tsimpute import EDDPMImputer
from tsimpute.model import FittedModel
from tsimpute.panel.refusal import Refusal
from tsimpute.sampling.choices import Choice, way_for

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model that serves.

    Attributes
    ----------
    name, version : str
    imputers : tuple of EDDPMImputer
        The same model on each device.
    features : tuple of str
        In the model's order.
    fingerprint : str
        Of the files on disk.
    cost : Cost
    """

    name: str
    version: str
    imputers: tuple[EDDPMImputer, ...]
    features: tuple[str, ...]
    fingerprint: str
    cost: Cost

    @property
    def window_steps(self) -> int:
        """Rows that the network sees at once."""
        return self.imputers[0].model_.window_steps

    @property
    def steps(self) -> int:
        """Diffusion steps of a sample."""
        return len(self.imputers[0].model_.grid)

    @property
    def methods(self) -> tuple[str, ...]:
        """What quantiles can come from; of a calibrated model, what it is calibrated for."""
        imputer = self.imputers[0]
        model = imputer.model_
        there = ("samples",) if model.marginals is None else ("samples", "head")
        if not model.calibrations:
            return there
        ways = {name: way_for(imputer, Choice(method=name)) for name in there}
        return tuple(name for name in there if model.calibrations.find(ways[name]) is not None)

    @property
    def exogenous(self) -> tuple[str, ...]:
        """Features that must be complete."""
        side = self.imputers[0].model_.side
        return () if side is None else tuple(self.features[place] for place in side.places)

    @property
    def times_needed(self) -> str | None:
        """What kind of times the answer depends on; see `api.times.check_kind`."""
        imputer = self.imputers[0]
        side = imputer.model_.side
        if side is not None and side.calendar:
            return "timestamps"
        if side is not None and side.clock is not None:
            return "timestamps or durations" if side.clock.in_seconds else "numbers"
        max_gap = Refusal.read(imputer.max_gap, imputer.min_observed).max_gap
        return "timestamps or durations" if isinstance(max_gap, pd.Timedelta) else None

    @property
    def labels(self) -> list[Any]:
        """Column labels as the imputer knows them."""
        names = self.imputers[0].model_.input_names
        return list(range(len(self.features))) if names is None else list(names)


Catalogue = Mapping[str, Mapping[str, Loaded]]  # name -> version, newest first -> model


@dataclass
class Report:
    """What a reload found: (name, version) loaded or kept, and what was wrong with the rest."""

    loaded: list[tuple[str, str]] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)


class Registry:
    """The models folder, <name>/<version>/ as `EDDPMImputer.save` writes it.

    Readers see one immutable catalogue; a reload builds another and replaces it in one
    assignment, so a request never sees half of it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.devices = [part.strip() for part in settings.devices.split(",") if part.strip()]
        self.catalogue: Catalogue = MappingProxyType({})

    def __len__(self) -> int:
        return len(self.catalogue)

    def find(self, name: str | None, version: str | None = None) -> Loaded:
        """A model; the first name and the newest version unless told.

        Raises
        ------
        ServiceError
            404 if there is none of that name and version, 503 if there is none at all.
        """
        catalogue = self.catalogue
        if not catalogue:
            raise ServiceError("not_ready", "no model is loaded yet", 503, headers=RETRY)
        versions = catalogue.get(next(iter(catalogue)) if name is None else name)
        if versions is None:
            raise ServiceError(
                "model_not_found", f"there is no such model; known: {', '.join(catalogue)}", 404
            )
        chosen = versions.get(next(iter(versions)) if version is None else version)
        if chosen is None:
            known = ", ".join(versions)
            raise ServiceError("model_not_found", f"no such version; known: {known}", 404)
        return chosen

    def all(self) -> list[Loaded]:
        """Every loaded model."""
        return [model for versions in self.catalogue.values() for model in versions.values()]

    def reload(self) -> Report:
        """Look at the folder again; blocks, so call it in a thread, one at a time."""
        report = Report()
        fresh: dict[str, Mapping[str, Loaded]] = {}
        folder = self.settings.models_path
        names = (
            sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        )
        for path in names:
            if NAME.fullmatch(path.name):
                versions = self._versions(path, report)
                if versions:
                    fresh[path.name] = MappingProxyType(versions)
        self.catalogue = MappingProxyType(fresh)
        return report

    def _versions(self, folder: Path, report: Report) -> dict[str, Loaded]:
        """Newest good versions of one name."""
        before = self.catalogue.get(folder.name, {})
        found: dict[str, Loaded] = {}
        paths = [p for p in folder.iterdir() if p.is_dir() and NAME.fullmatch(p.name)]
        for path in sorted(paths, key=lambda p: _natural(p.name), reverse=True):
            if len(found) == self.settings.keep_versions:
                break
            old = before.get(path.name)
            model = self._checked(path, old, report)
            if model is not None:
                found[path.name] = model
        return found

    def _checked(self, path: Path, old: Loaded | None, report: Report) -> Loaded | None:
        """The model of a folder; the old one if nothing changed or the new one is bad."""
        key = (path.parent.name, path.name)
        try:
            fingerprint = _fingerprint(path)
            if old is not None and old.fingerprint == fingerprint:
                report.kept.append(key)
                return old
            model = self._load(path, fingerprint)
        except Exception as error:  # whatever is wrong with a file, the old model keeps serving
            report.failed[key] = f"{type(error).__name__}: {error}"
            return old
        report.loaded.append(key)
        return model

    def _load(self, path: Path, fingerprint: str) -> Loaded:
        imputers = tuple(tsimpute.load(path, device) for device in self.devices)
        for imputer in imputers:
            imputer.verbose = 0
        names = imputers[0].model_.input_names
        k = imputers[0].n_features_in_
        features = tuple(map(str, range(k) if names is None else names))
        if len(set(features)) != k:
            raise ValueError("two features have the same name as text")
        cost, *_ = [_warm_up(imputer) for imputer in imputers]
        return Loaded(path.parent.name, path.name, imputers, features, fingerprint, cost)


RETRY = {"Retry-After": "5"}


def _fingerprint(path: Path) -> str:
    return hashlib.sha256((path / "SHA256SUMS").read_bytes()).hexdigest()


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Order in which 10 comes after 9."""
    pieces = re.findall(r"\d+|\D+", name)
    return [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in pieces]


def is_sound(values: NDArray[np.float64], imputer: EDDPMImputer) -> bool:
    """Whether all numbers are finite, or NaN where the model may leave cells open."""
    refuses = imputer.max_gap is not None or imputer.min_observed is not None
    return bool(np.isfinite(values).all() if not refuses else not np.isinf(values).any())


def _warm_up(imputer: EDDPMImputer) -> Cost:
    """Fill a window of the training means with holes; times it and checks that it is finite."""
    model = imputer.model_
    frame = _window_with_holes(model)

    def seconds(n_samples: int) -> float:
        begun = time.perf_counter()
        found = imputer.predict_quantiles(  # uncalibrated: a calibration may be the head's
            frame, n_samples=n_samples, method="samples", calibrated=False
        )
        if not is_sound(found.values, imputer):
            raise ValueError("the warm-up gave numbers that are not finite")
        return time.perf_counter() - begun

    return measure(seconds, len(model.grid))


def _window_with_holes(model: FittedModel) -> pd.DataFrame:
    """Training means, every second row of the imputed columns missing."""
    means = model.scaler.inverse(np.zeros((1, model.n_features)))
    values = np.repeat(means, model.window_steps, axis=0)
    values[::2] = np.nan
    if model.side is not None:
        known = zip(model.side.places, model.side.scaler.center, strict=True)
        for place, mean in sorted(known):
            values = np.insert(values, place, mean, axis=1)
    names = model.input_names
    times: pd.Index[Any] = pd.date_range("2000-01-01", periods=len(values), freq=_freq(model))
    clock = None if model.side is None else model.side.clock
    if clock is not None and not clock.in_seconds:
        times = pd.RangeIndex(len(values))
    return pd.DataFrame(values, times, None if names is None else list(names))


def _freq(model: FittedModel) -> str | pd.Timedelta:
    """A row of the training data as pandas has it, or an hour where that is not known."""
    step = model.time_step
    if step is None or not step.in_time:
        return "h"
    if step.calendar is not None:
        return step.calendar
    return pd.Timedelta(seconds=step.length) if step.length else "h"
