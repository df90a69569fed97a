"""
Rules, refusal, and where a number comes from
=============================================

What is consumed is part of the gross domestic product, and nothing that is spent is below zero:
rules that hold in every sample. A gap that is too long stays open, and each cell can be accounted
for. Quarterly accounts of the United States (in statsmodels), with made outages.
"""

import numpy as np
import pandas as pd
from statsmodels.datasets import macrodata

from tsimpute import EDDPMImputer, pool
from tsimpute.panel.missingness import hide_blocks

table = macrodata.load_pandas().data[["realcons", "realgdp", "realinv"]]
table.index = pd.period_range("1959Q1", periods=len(table), freq="Q").to_timestamp()
hidden = hide_blocks(table.notna().to_numpy(), 0.15, 2, 4, np.random.default_rng(0))
hidden[60:75, 2] = True
given = table.mask(hidden)

imputer = EDDPMImputer(
    bounds={"realinv": (0, None)},
    order=(("realcons", "realgdp"), ("realinv", "realgdp")),
    max_gap=8,
    window_steps=16,
    kept_steps=3,
    n_samples=16,
    anchor="local",
    target_strategy="block",
    random_state=0,
    epochs=20,
    train_stride=3,
    channels=16,
    layers=2,
    heads=2,
    verbose=0,
).fit(given)

# %%
# Every sample obeys, also where only one of the two was observed.

samples = imputer.sample(given, n_samples=50)
cons, gdp = samples.sel(feature="realcons"), samples.sel(feature="realgdp")
print("consumption within the product:", bool((cons <= gdp).all()))

# %%
# The gap of fifteen quarters is longer than the eight that were allowed.

filled = imputer.transform(given)
print("left open:", filled.isna().sum().to_dict())

# %%
# A row for each missing cell: imputed or refused and why, how far the nearest observation is, how
# wide the interval, and which model with which seed said so.

cells = imputer.explain_cells(given, missing_only=True)
print(cells.groupby(["feature", "status", "reason"]).size().to_string())
print(cells.iloc[0].to_string())

# %%
# An analysis that knows what was imputed: the mean share of consumption, by Rubin's rules. (Shares
# of neighbouring quarters are alike; an analysis in earnest would allow for that in the variance.)

complete = imputer.set_params(max_gap=None).multiple_impute(given, m=10)
shares = [100 * one["realcons"] / one["realgdp"] for one in complete]
pooled = pool([share.mean() for share in shares], [share.var() / len(share) for share in shares])
print(f"share {pooled.estimate:.2f} %, 95 % interval {pooled.lower:.2f} to {pooled.upper:.2f}")
