"""Public data sets, read from files that the user has put in place; nothing is downloaded.

The directory is the argument ``directory``, else the environment variable ``TSIMPUTE_DATA``, else
``./data``; the layout is described in ``data/README.md``.  Every file's SHA-256 is checked.
"""

from __future__ import annotations

from tsimpute.datasets.air_quality import AirQuality, load_air_quality
from tsimpute.datasets.co2 import load_co2
from tsimpute.datasets.healthcare import Healthcare, load_healthcare, load_healthcare_descriptors
from tsimpute.datasets.regular import load_ett, load_weather

__all__ = [
    "AirQuality",
    "Healthcare",
    "load_air_quality",
    "load_co2",
    "load_ett",
    "load_healthcare",
    "load_healthcare_descriptors",
    "load_weather",
]
