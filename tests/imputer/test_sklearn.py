"""scikit-learn's own checks of an estimator.

None is excepted: even those that shuffle or split the rows pass, because their data have no
holes, and what is observed comes back as it is, whatever stands beside it.
"""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from tsimpute import EDDPMImputer


@pytest.mark.filterwarnings("ignore:the noisiest kept step")
@parametrize_with_checks(
    [
        EDDPMImputer(
            window_steps=2,
            kept_steps=2,
            n_samples=2,
            epochs=1,
            diffusion_steps=4,
            channels=4,
            layers=1,
            heads=1,
            validation_fraction=0.0,
            variance="fixed",
            verbose=0,
            device="cpu",
        )
    ]
)
def test_scikit_learn_check(estimator: EDDPMImputer, check: Any) -> None:
    check(estimator)
