"""Fitting the network and, with it, the steps that are kept."""
