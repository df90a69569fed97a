"""
In scikit-learn: pipelines and a search
=======================================

The imputer is an estimator like any other: it can be cloned, stand in a pipeline, and be tuned.
``score`` hides observed cells of its own, so a search needs no complete data. Quarterly series of
the United States (in statsmodels), with made outages.
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from statsmodels.datasets import macrodata

from tsimpute import EDDPMImputer
from tsimpute.panel.missingness import hide_blocks

table = macrodata.load_pandas().data[["infl", "tbilrate", "unemp"]]
table.index = pd.period_range("1959Q1", periods=len(table), freq="Q").to_timestamp()
hidden = hide_blocks(table.notna().to_numpy(), 0.1, 2, 6, np.random.default_rng(1))
given = table.mask(hidden)

imputer = EDDPMImputer(
    window_steps=16,
    kept_steps=2,
    n_samples=8,
    random_state=0,
    epochs=8,
    channels=8,
    layers=1,
    heads=2,
    variance="fixed",
    verbose=0,
)

# %%
# Rows are in the order of time, so the folds must be too. The score is minus the normalised CRPS.

search = GridSearchCV(
    imputer, {"anchor": ["linear", "none"], "window_steps": [8, 16]}, cv=TimeSeriesSplit(2)
)
search.fit(given)
columns = ["param_anchor", "param_window_steps", "mean_test_score", "rank_test_score"]
print(pd.DataFrame(search.cv_results_)[columns].round(3).to_string(index=False))

# %%
# In front of a model that cannot cope with holes: next quarter's unemployment from this one's
# numbers. Only what was known at the time may be used in earnest: this imputer looks ahead within a
# window.


def with_changes(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.diff().fillna(0).add_suffix("_change")], axis=1)


pipeline = make_pipeline(search.best_estimator_, FunctionTransformer(with_changes), Ridge())
inputs, outcome = given.iloc[:-1], table["unemp"].shift(-1).iloc[:-1]
pipeline.fit(inputs.iloc[:150], outcome.iloc[:150])
print("R² on the later years:", round(pipeline.score(inputs.iloc[150:], outcome.iloc[150:]), 2))
