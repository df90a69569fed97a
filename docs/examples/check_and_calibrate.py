"""
Does it beat interpolation, and do its bands hold?
==================================================

Two questions to ask before an imputation is used. Both are answered on observed cells that the
imputer hides from itself, in years that training has not seen. Monthly temperatures of the sea
surface off Peru (El Niño, from the Climate Prediction Center, in statsmodels).
"""

import matplotlib.pyplot as plt
import pandas as pd
from statsmodels.datasets import elnino

from tsimpute import EDDPMImputer
from tsimpute.plotting import plot_reliability

years = elnino.load_pandas().data.set_index("YEAR")
months = pd.date_range("1950-01", periods=years.size, freq="MS", name="time")
sea = pd.DataFrame({"temperature": years.to_numpy().ravel()}, index=months)
train, middle, later = sea.loc[:"1979"], sea.loc["1980":"1994"], sea.loc["1995":]

imputer = EDDPMImputer(
    window_steps=24,
    kept_steps=3,
    n_samples=16,
    target_strategy="block",
    random_state=0,
    epochs=20,
    train_stride=3,
    channels=16,
    layers=2,
    heads=2,
    verbose=0,
).fit(train)

# %%
# The outcome in words; where a simple method wins, they say so.

methods = ("last value", "linear", "seasonal")
found = imputer.evaluate(later, "block", methods=methods, hidden_fraction=0.3, max_windows=16)
print(found)
print(found.overall.round(3).to_string())

# %%
# How often do intervals hold what was hidden? Calibration learns, on other years, how much wider
# or narrower they must be.

imputer.fit_calibration(middle, hidden_fraction=0.3, max_windows=24)
report = imputer.calibration_report(later, hidden_fraction=0.3, max_windows=24)
overall = report[report["by"] == "all"]
print(overall.drop(columns=["by", "group"]).round(3).to_string(index=False))
ax = plot_reliability(report, ax=plt.subplots(figsize=(5, 5), layout="constrained")[1])
ax.figure.show()
