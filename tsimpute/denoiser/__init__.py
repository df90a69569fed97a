"""The network that predicts the noise."""
