"""The estimator."""

from tsimpute.imputer.estimator import EDDPMImputer

__all__ = ["EDDPMImputer"]
