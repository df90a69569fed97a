"""
Medians and bands in one evaluation
===================================

Where only single cells matter, a second head tells their whole distribution in one evaluation of
the network, without sampling. The data are quarterly macroeconomic series of the United States (in
statsmodels), with made outages.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from statsmodels.datasets import macrodata

from tsimpute import EDDPMImputer, plot_imputation
from tsimpute.panel.missingness import hide_blocks

table = macrodata.load_pandas().data[["infl", "tbilrate", "unemp", "realint"]]
table.index = pd.period_range("1959Q1", periods=len(table), freq="Q").to_timestamp()
hidden = hide_blocks(table.notna().to_numpy(), 0.2, 2, 8, np.random.default_rng(0))
given = table.mask(hidden)

imputer = EDDPMImputer(
    window_steps=16,
    kept_steps=10,
    n_samples=20,
    random_state=0,
    target_strategy="block",
    epochs=24,
    train_stride=3,
    channels=16,
    layers=2,
    heads=2,
    verbose=0,
).fit(given)
imputer.fit_marginals(given, iterations=100)

# %%
# The same question to the sampler and to the head.

levels = (0.05, 0.25, 0.5, 0.75, 0.95)
answers = {}
for method in ("samples", "head"):
    begun = time.perf_counter()
    answers[method] = imputer.predict_quantiles(given, levels, method=method)
    seconds = time.perf_counter() - begun
    low, middle, high = (answers[method].sel(quantile=q).to_numpy() for q in (0.05, 0.5, 0.95))
    truth = table.to_numpy()
    error = np.abs(middle - truth)[hidden].mean()
    inside = ((low <= truth) & (truth <= high))[hidden].mean()
    print(f"{method:8} {seconds:5.2f} s, MAE {error:.2f}, {inside:.0%} within the 90 % band")

# %%
figure, axes = plt.subplots(2, sharex=True, figsize=(9, 6), layout="constrained")
for ax, (method, quantiles) in zip(axes, answers.items(), strict=True):
    plot_imputation(given, quantiles, "tbilrate", table.where(hidden), units=f"%, {method}", ax=ax)
figure.show()

# %%
# The head knows nothing of how cells hang together. A sum or a difference needs samples; they can
# be given the head's distribution in each cell, and keep their own order.

samples = imputer.sample(given, n_samples=8, marginals="head")
means = samples.sel(feature="unemp").mean("time")
print("mean unemployment:", means.quantile([0.05, 0.5, 0.95]).to_numpy().round(3))
