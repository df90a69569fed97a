"""Shape of the network."""

from __future__ import annotations

from dataclasses import dataclass

from tsimpute.errors import InputError


@dataclass(frozen=True)
class DenoiserConfig:
    """Shape of the network; the defaults are CSDI's, but for `attention_dropout`, 0.1 there.

    Attributes
    ----------
    n_features : int
        K, the number of series channels (columns).
    feed_width : int
        Of the feed-forward layers; 64 in CSDI whatever the channels.
    n_covariates : int
        Columns that condition the network without being imputed; none in CSDI.
    """

    n_features: int
    channels: int = 64
    layers: int = 4
    heads: int = 8
    feed_width: int = 64
    step_width: int = 128
    time_width: int = 128
    feature_width: int = 16
    dropout: float = 0.1
    attention_dropout: float = 0.0
    n_covariates: int = 0

    def __post_init__(self) -> None:
        if min(self.n_features, self.channels, self.layers, self.heads) < 1:
            raise InputError(f"every size of the network must be at least 1; got {self}")
        if self.channels % self.heads:
            raise InputError(
                f"channels={self.channels} cannot be shared by heads={self.heads}; expected a "
                f"multiple, for example channels={self.heads * max(1, self.channels // self.heads)}"
            )
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must lie in [0, 1)")

    @property
    def side_width(self) -> int:
        """Channels of the side information: time, feature, and which cells are given."""
        return self.time_width + self.feature_width + 1
