"""
From the past alone, row by row
===============================

A value that is to stand for what was known at the time must not have seen what came later.
``mode="online"`` fills each hole from its own row and those before it, and ``update`` does the same
as rows arrive. Quarterly series of the United States (in statsmodels), with made holes.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from statsmodels.datasets import macrodata

from tsimpute import EDDPMImputer, plot_imputation

table = macrodata.load_pandas().data[["infl", "tbilrate", "unemp"]]
table.index = pd.period_range("1959Q1", periods=len(table), freq="Q").to_timestamp()
hidden = np.random.default_rng(0).random(table.shape) < 0.15
given = table.mask(hidden)

imputer = EDDPMImputer(
    mode="online",
    window_steps=12,
    kept_steps=2,
    n_samples=16,
    random_state=0,
    epochs=16,
    train_stride=2,
    channels=16,
    layers=2,
    heads=2,
    verbose=0,
).fit(given.loc[:"1989"])

# %%
# What happens after 1999 does not touch a value before, to the last bit.

later = given.loc["1990":]
changed = later.copy()
changed.loc["2000":] += 5
before = slice("1990", "1999")
print(
    "unchanged:",
    imputer.transform(changed).loc[before].equals(imputer.transform(later).loc[before]),
)

# %%
# The same, as the rows come.

for _, row in later.iloc[:24].iterrows():
    now = imputer.update(row)
print(now.round(2).to_string())

# %%
# The price: what comes after a hole often says more about it than what came before.

levels = (0.05, 0.25, 0.5, 0.75, 0.95)
target = hidden[-len(later) :]
figure, axes = plt.subplots(2, sharex=True, figsize=(9, 6), layout="constrained")
for ax, mode in zip(axes, ("online", "offline"), strict=True):
    quantiles = imputer.set_params(mode=mode).predict_quantiles(later, levels)
    errors = np.abs(quantiles.sel(quantile=0.5).to_numpy() - table.loc["1990":].to_numpy())
    print(f"{mode:8} MAE {errors[target].mean():.2f}")
    truth = table.loc["1990":].where(target)
    plot_imputation(later, quantiles, "tbilrate", truth, units=f"%, {mode}", ax=ax)
figure.show()
