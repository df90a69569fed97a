"""Fixtures that several parts of the test suite share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# The same examples in every run; other ones with HYPOTHESIS_PROFILE=default.
settings.register_profile("same", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets; the test is skipped where there is none."""
    name = os.environ.get("TSIMPUTE_DATA", "")
    if not name:
        pytest.skip("needs real data: TSIMPUTE_DATA is not set")
    if not Path(name).is_dir():
        pytest.skip(f"needs real data: TSIMPUTE_DATA={name!r} is not a folder")
    return Path(name)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Networks this small gain nothing from a second thread, and lose much on a busy machine."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that draws the same numbers in every run."""
    return np.random.default_rng(0)
