"""The calibrations of a model: one for each way to make quantiles that was calibrated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tsimpute.errors import InputError
from tsimpute.evaluation.conformal import Calibration


@dataclass(frozen=True)
class Calibrations:
    """Calibrations, no two of the same way.

    Attributes
    ----------
    members : tuple of Calibration
    """

    members: tuple[Calibration, ...] = ()

    def __iter__(self) -> Iterator[Calibration]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def find(self, way: Mapping[str, str]) -> Calibration | None:
        """The one of quantiles that are made in this way."""
        return next((own for own in self if own.way == way), None)

    def needed(self, way: Mapping[str, str]) -> Calibration:
        """The one of this way, which a calibrated model must have.

        Raises
        ------
        InputError
            If there is none.
        """
        found = self.find(way)
        if found is None:
            known = "; ".join(_named(own.way) for own in self)
            raise InputError(
                f"the intervals of this model were calibrated for {known}, and this call asks for "
                f"{_named(way)}; set these as parameters of the imputer and call fit_calibration(X)"
                f", which keeps the others, or pass calibrated=False"
            )
        return found

    def updated(self, new: Calibration) -> Calibrations:
        """With one that replaces that of its way."""
        return Calibrations((*(own for own in self if own.way != new.way), new))

    def without(self, learned: Mapping[str, str]) -> Calibrations:
        """Without those of quantiles that were made by what was learned anew."""
        kept = (own for own in self if own.way.items().isdisjoint(learned.items()))
        return Calibrations(tuple(kept))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; they pass through JSON without any loss."""
        return {"members": [own.to_dict() for own in self]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Calibrations:
        """The calibrations that `to_dict` described.

        Raises
        ------
        InputError
            If one is of other levels than those of today.
        """
        return cls(tuple(Calibration.from_dict(own) for own in stored["members"]))


NO_CALIBRATIONS = Calibrations()


def _named(way: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in way.items())
