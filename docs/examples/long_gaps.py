"""
Long gaps in a record with a season
===================================

A gap of four months is long against the year of Mauna Loa's CO2, and a straight line across it cuts
off a valley or a peak. With ``period`` the model starts from what the window holds at the same time
of the other year, and has only the rest to learn.
"""

# %%
# Six stretches of twenty weeks are hidden, so that there is a truth to compare with.

import matplotlib.pyplot as plt
import numpy as np

from tsimpute import EDDPMImputer, load_co2, plot_imputation

record = load_co2().iloc[1200:1800]
given = record.copy()
for start in range(40, 600, 97):
    given.iloc[start : start + 20] = np.nan

# %%
# The same small network, trained equally long, without the season and with it: 52 weeks, in windows
# of two years. ``period="auto"``, the default, finds them in the timestamps.

fitted = {}
for period in (None, 52):
    imputer = EDDPMImputer(
        window_steps=104,
        kept_steps=4,
        n_samples=16,
        anchor="local",
        period=period,
        target_strategy="block",
        random_state=0,
        epochs=10,
        train_stride=4,
        channels=16,
        layers=2,
        heads=2,
        verbose=0,
    ).fit(given)
    error = (imputer.transform(given) - record)[given.isna()].abs().mean().item()
    print(f"period={period}: mean absolute error {error:.2f} ppm")
    fitted[period] = imputer

# %%
# The bands of both around two of the gaps, with the hidden weeks.

figure, axes = plt.subplots(2, sharex=True, figsize=(9, 6.5), layout="constrained")
years = given.iloc[110:260]
for ax, (period, imputer) in zip(axes, fitted.items(), strict=True):
    quantiles = imputer.predict_quantiles(years, (0.05, 0.25, 0.5, 0.75, 0.95))
    plot_imputation(years, quantiles, truth=record.loc[years.index], units="ppm", ax=ax)
    ax.annotate(f"period={period}", (0.01, 0.92), xycoords="axes fraction")
figure.show()

# %%
# Nothing is lost where there is no season: how far the line may bend is fitted for each feature on
# cells that training hides, and is 0 where bending does not help.

season = fitted[52].model_.anchor.season
print(f"the line goes {season.weight.item():.0%} of the way to the season, far from readings")
