"""A network only as wide as each step needs (DDSM, Yang et al. 2024)."""
