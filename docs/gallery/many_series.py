"""
Many series of unequal length
=============================

Births per woman, by country and year, from the World Bank (in statsmodels). Records begin in
different years and have holes; a country's own neighbours in time, and what the others look like,
tell what was in them.
"""

import matplotlib.pyplot as plt
import pandas as pd
from statsmodels.datasets import fertility

from tsimpute import EDDPMImputer, plot_imputation
from tsimpute.plotting import plot_missingness

# %%
# From a wide table to one indexed by (series, time). Years before the first report are no holes:
# such a country's series begins later.

wide = fertility.load_pandas().data.set_index("Country Name").loc[:, "1960":"2012"]
n_reports = wide.notna().sum(axis=1)
some = pd.concat([wide[n_reports.between(6, 51)], wide[n_reports >= 52].iloc[::8]])
parts = {}
for name, row in some.iterrows():
    reports = row.loc[row.first_valid_index() :]
    parts[name] = pd.DataFrame({"births": reports.to_numpy()}, index=reports.index.astype(int))
births = pd.concat(parts, names=["country", "year"])
lengths = births.groupby("country").size()
print(f"{len(lengths)} countries, {lengths.min()} to {lengths.max()} years")

# %%
# One line a country; grey is before its first report.

ax = plot_missingness(births, "series", ax=plt.subplots(figsize=(9, 8))[1])
ax.figure.show()

# %%
# One model for all of them.

imputer = EDDPMImputer(
    window_steps=20,
    kept_steps=4,
    n_samples=16,
    target_strategy="block",
    random_state=0,
    epochs=30,
    channels=16,
    layers=2,
    heads=2,
    verbose=0,
).fit(births)
filled = imputer.transform(births)
print(filled.index.equals(births.index), int(filled["births"].isna().sum()))

# %%
# The country with the most holes. Labelled results have a dimension for the series.

country = births["births"].isna().groupby("country").sum().idxmax()
own = births.loc[[country]]
quantiles = imputer.predict_quantiles(own, (0.05, 0.25, 0.5, 0.75, 0.95))
print(quantiles.dims)
ax = plot_imputation(
    own.droplevel("country"),
    quantiles.sel(series=country),
    units=f"per woman, {country}",
    ax=plt.subplots(figsize=(9, 4))[1],
)
ax.figure.show()
