"""
Fill the gaps of a record, with bands
=====================================

The weekly CO2 record of Mauna Loa has gaps of one to eighteen weeks. What was in them is not known;
what can be said is where it probably was.
"""

# %%
# Look at the data first. The longest gaps are in the first years.

import matplotlib.pyplot as plt

from tsimpute import EDDPMImputer, load_co2, plot_imputation
from tsimpute.plotting import plot_missingness, plot_series

record = load_co2()
figure, (above, below) = plt.subplots(2, height_ratios=(1, 3), figsize=(9, 5), layout="constrained")
plot_missingness(record, ax=above)
plot_series(record, units="ppm", ax=below)
figure.show()

# %%
# The level rises by 55 ppm, while a window of a year moves by 8: ``anchor="local"`` takes each
# window's own level out. The holes are outages, so training hides stretches of time.

early = record.iloc[:600]
imputer = EDDPMImputer(
    window_steps=52,
    kept_steps=4,
    n_samples=16,
    anchor="local",
    target_strategy="block",
    random_state=0,
    epochs=20,
    train_stride=4,
    channels=16,
    layers=2,
    heads=2,
    verbose=0,
)
filled = imputer.fit(early).transform(early)
print(int(early.isna().sum().sum()), "weeks filled,", int(filled.isna().sum().sum()), "left")

# %%
# Medians and bands around the longest gap.

years = early.loc["1963":"1965"]
quantiles = imputer.predict_quantiles(years, (0.05, 0.25, 0.5, 0.75, 0.95))
ax = plot_imputation(years, quantiles, units="ppm", ax=plt.subplots(figsize=(9, 4))[1])
ax.figure.show()

# %%
# A question about several weeks at once, such as the lowest value within the gap, is answered from
# whole sampled series, not from the bands.

samples = imputer.sample(years, n_samples=32)
lowest = samples.sel(time=slice("1964-02", "1964-05")).min("time").squeeze()
print("lowest value of the gap, 5 % to 95 %:", lowest.quantile([0.05, 0.95]).to_numpy().round(1))
