"""Diffusion imputation of multivariate time series, behind a scikit-learn estimator.

Importing the package loads none of its heavy dependencies: each public name is fetched from its
module when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsimpute.datasets import (
        load_air_quality,
        load_co2,
        load_ett,
        load_healthcare,
        load_weather,
    )
    from tsimpute.imputer import EDDPMImputer
    from tsimpute.persistence import load
    from tsimpute.plotting import plot_imputation, plot_step_schedule
    from tsimpute.pooling import pool

__version__ = "0.1.0"

__all__ = [
    "EDDPMImputer",
    "__version__",
    "load",
    "load_air_quality",
    "load_co2",
    "load_ett",
    "load_healthcare",
    "load_weather",
    "plot_imputation",
    "plot_step_schedule",
    "pool",
]

_HOME_OF = {
    "EDDPMImputer": "tsimpute.imputer",
    "load": "tsimpute.persistence",
    "load_air_quality": "tsimpute.datasets",
    "load_co2": "tsimpute.datasets",
    "load_ett": "tsimpute.datasets",
    "load_healthcare": "tsimpute.datasets",
    "load_weather": "tsimpute.datasets",
    "plot_imputation": "tsimpute.plotting",
    "plot_step_schedule": "tsimpute.plotting",
    "pool": "tsimpute.pooling",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}",
            name=name,
            obj=sys.modules[__name__],
        )
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value  # the next access does not come through here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
