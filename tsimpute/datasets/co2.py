"""Weekly atmospheric CO2 at Mauna Loa, with its real gaps."""

from __future__ import annotations

import pandas as pd

from tsimpute.errors import MissingExtraError


def load_co2() -> pd.DataFrame:
    """Read the weekly CO2 record at Mauna Loa that statsmodels carries with it.

    Keeling and Whorf (2004), Scripps Institution of Oceanography; public domain.  No file and no
    network is needed.

    Returns
    -------
    DataFrame of float64, (2284 weeks, 1)
        Column ``co2``, the mole fraction in ppm; 59 weeks are NaN because nothing was measured.
        DatetimeIndex ``time``, Saturdays (``W-SAT``), 1958-03-29 to 2001-12-29.

    Raises
    ------
    MissingExtraError
        If statsmodels is not installed.
    """
    try:
        from statsmodels.datasets import co2
    except ImportError as error:
        raise MissingExtraError(
            "load_co2 needs statsmodels, which is not installed; "
            "run: pip install 'tsimpute[baselines]'"
        ) from error
    table: pd.DataFrame = co2.load_pandas().data[["co2"]].astype("float64")
    return table.asfreq("W-SAT").rename_axis(index="time")
