"""A pre-trained network: what a fit may start from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.errors import InputError
from tsimpute.panel.time_step import TimeStep

if TYPE_CHECKING:
    import pandas as pd

# Parameters without which the weights mean something else, or do not fit at all.
BINDING = (
    "channels",
    "layers",
    "heads",
    "diffusion_steps",
    "schedule",
    "beta_start",
    "beta_end",
    "conditioning",
    "anchor",
)
CARRIED = (*BINDING, "window_steps", "exogenous", "calendar", "time", "period")
EMBEDDING = "feature_embedding.weight"


@dataclass(frozen=True, eq=False)
class PretrainedTrunk:
    """What was learned from visible cells.

    Attributes
    ----------
    config : DenoiserConfig
        Shape of the network; `n_features` counts those of all data sets.
    weights : mapping of str to Tensor
        Averaged weights of the network, on the CPU.
    feature_names : tuple of hashable or None
        Of each feature that the network knows; None where the data had no names.
    time_step : TimeStep
        Of the data.
    parameters : mapping of str to object
        Those of the imputer that the network was made with.
    history : DataFrame
        One row an epoch.
    """

    config: DenoiserConfig
    weights: Mapping[str, Tensor]
    feature_names: tuple[Hashable | None, ...]
    time_step: TimeStep
    parameters: Mapping[str, Any]
    history: pd.DataFrame

    def check(self, imputer: Any, n_covariates: int) -> None:
        """Refuse an imputer whose network would not be this one.

        Raises
        ------
        InputError
            Naming each parameter, its value now and in pre-training.
        """
        wrong = [name for name in BINDING if getattr(imputer, name) != self.parameters[name]]
        calendars = [list(of or ()) for of in (imputer.calendar, self.parameters["calendar"])]
        if calendars[0] != calendars[1]:
            wrong.append("calendar")
        elif n_covariates != self.config.n_covariates:
            wrong.append("exogenous")
        if wrong:
            differ = "; ".join(
                f"{name}={getattr(imputer, name)!r}, but pre-training had {self.parameters[name]!r}"
                for name in wrong
            )
            raise InputError(
                f"{differ}; expected the same (of exogenous columns the same number), so set "
                f"them alike, or fit an imputer that was not pre-trained"
            )

    def start(self, network: CSDIDenoiser, names: Sequence[Hashable] | None) -> None:
        """Put the weights into a new network.

        Features that were pre-trained, known by name, keep their embedding, and others have the
        new network's. Where either side has no names they count by position, if there are as
        many.
        """
        weights = dict(self.weights)
        embedding = network.state_dict()[EMBEDDING].clone()
        for new, old in self._found(names, len(embedding)):
            embedding[new] = weights[EMBEDDING][old]
        network.load_state_dict(weights | {EMBEDDING: embedding})

    def _found(self, names: Sequence[Hashable] | None, k: int) -> list[tuple[int, int]]:
        """Pairs of a feature's place in a data set of K and here."""
        known = self.feature_names
        if names is None or all(name is None for name in known):
            return [(i, i) for i in range(k)] if k == len(known) else []
        return [(i, known.index(name)) for i, name in enumerate(names) if name in known]


def feature_numbers(
    data_sets: Sequence[Sequence[Hashable] | int],
) -> tuple[tuple[Hashable | None, ...], list[Tensor]]:
    """Numbers for the features of several data sets, those of one name having one number.

    Parameters
    ----------
    data_sets : sequence of (sequence of hashable, or int)
        Names of each one's features; where there are none, how many there are.

    Returns
    -------
    names : tuple of hashable or None
        Of each number.
    numbers : list of Tensor of int64, each of shape (K_i,)
    """
    names: list[Hashable | None] = []
    numbers = []
    for features in data_sets:
        own: list[int] = []
        for label in [None] * features if isinstance(features, int) else features:
            if label is None or label not in names:
                names.append(label)
                own.append(len(names) - 1)
            else:
                own.append(names.index(label))
        numbers.append(torch.tensor(own))
    return tuple(names), numbers
