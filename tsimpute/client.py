"""A client of the service; needs nothing but the standard library and pandas."""

from __future__ import annotations

import datetime
import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsimpute.errors import InputError, TsimputeError
from tsimpute.panel.containers import read_panel
from tsimpute.panel.core import Panel

if TYPE_CHECKING:
    import xarray as xr

FloatArray = NDArray[np.float64]
BUSY = 429
LONGEST_PAUSE_S = 60.0


class ServiceRefusal(TsimputeError):
    """The service answered, but not with numbers.

    Attributes
    ----------
    status : int
        Of HTTP.
    code : str
        The service's own word for the reason.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{message} ({status}, {code})")
        self.status, self.code = status, code


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected request would take the key along to wherever it is sent."""

    def redirect_request(self, *_: Any) -> None:
        return None


class ImputeClient:
    """Asks a running service what the library would answer in this process.

    Parameters
    ----------
    url : str
        Of the service, for example "http://127.0.0.1:8000".
    key : str, optional
        API key.
    model, version : str, optional
        Default: the service's first model, its newest version.
    timeout_s : float, default=60.0
        Of each attempt, to connect and between two pieces of the answer.
    retries : int, default=5
        Further attempts while the service answers 429, each after the pause that it asks for
        in Retry-After.

    Examples
    --------
    >>> from tsimpute.client import ImputeClient
    >>> client = ImputeClient("http://127.0.0.1:8000", key="...")
    >>> filled = client.impute(df)  # doctest: +SKIP
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        model: str | None = None,
        version: str | None = None,
        timeout_s: float = 60.0,
        retries: int = 5,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(f"url={url!r} cannot be used; expected http://… or https://…")
        self.url, self._key = url.rstrip("/"), key
        self.model, self.version = model, version
        self.timeout_s, self.retries = timeout_s, retries
        self._opener = urllib.request.build_opener(_NoRedirects)

    def impute(
        self, X: Any, *, n_samples: int | None = None, seed: int = 0, method: str | None = None
    ) -> Any:
        """Fill the holes with the median.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            As for :meth:`EDDPMImputer.transform`; NaN is missing. Times are sent where there are
            any, with their time zone; whether they must be regular, the model decides.
        n_samples : int, optional
            Samples behind the median; default: the service's.
        seed : int, default=0
            Same seed, same answer.
        method : {"samples", "head"}, optional
            Default: "samples".

        Returns
        -------
        Same type as X
            Same index, columns and dtypes; observed cells bit for bit as they were.

        Raises
        ------
        InputError
            If the data are of a kind that cannot be sent.
        ServiceRefusal
            If the service refuses, with its status and code.
        OSError
            If it cannot be reached, or a timeout passes.
        """
        panel = read_panel(X, regular=False)
        answer = self._ask(panel, None, n_samples, seed, method)
        return panel.fill(_split(np.array(answer["median"], dtype=np.float64), panel))

    def predict_quantiles(
        self,
        X: Any,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        *,
        n_samples: int | None = None,
        seed: int = 0,
        method: str | None = None,
    ) -> xr.DataArray:
        """Quantiles of every cell.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
        quantiles : sequence of float, default=(0.05, 0.5, 0.95)
            Levels in (0, 1), sorted.
        n_samples, seed, method
            As in `impute`.

        Returns
        -------
        DataArray of float64, dims (quantile, [series,] time, feature)
            As :meth:`EDDPMImputer.predict_quantiles` with `random_state=seed`.

        Raises
        ------
        InputError, ServiceRefusal, OSError
            As in `impute`.
        """
        panel, levels = read_panel(X, regular=False), [float(level) for level in quantiles]
        answer = self._ask(panel, levels, n_samples, seed, method)
        values = np.array([answer["values"][str(x)] for x in levels], dtype=np.float64)
        parts = [_split(value, panel) for value in values]
        return panel.label(
            [np.stack(series) for series in zip(*parts, strict=True)], "quantile", levels
        )

    def _ask(
        self,
        panel: Panel,
        levels: list[float] | None,
        n_samples: int | None,
        seed: int,
        method: str | None,
    ) -> Any:
        columns = self._features() if panel.feature_names is None else panel.feature_names
        options: dict[str, Any] = {
            "model": self.model,
            "version": self.version,
            "quantiles": levels,
            "n_samples": n_samples,
            "method": method,
        }
        body = {name: value for name, value in options.items() if value is not None}
        body |= {"columns": [str(name) for name in columns], "rows": _rows(panel), "seed": seed}
        if panel.n_series > 1:
            body["series"] = [i for i, part in enumerate(panel.values) for _ in part]
        if panel.source.layout.has_time_labels:
            body |= _times(panel)
        return self._send("/impute", json.dumps(body, allow_nan=False).encode())

    def _features(self) -> list[str]:
        """The model's features, for data without names."""
        path = "/models" if self.model is None else f"/models/{self.model}"
        answer = self._send(path)
        features: list[str] = (answer["models"][0] if self.model is None else answer)["features"]
        return features

    def _send(self, path: str, body: bytes | None = None) -> Any:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._key is not None:
            headers["X-API-Key"] = self._key
        request = urllib.request.Request(self.url + path, body, headers)
        for attempt in range(self.retries + 1):
            try:
                with self._opener.open(request, timeout=self.timeout_s) as response:
                    return json.load(response)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code != BUSY or attempt == self.retries:
                        raise _refusal(error) from None
                    time.sleep(_pause_s(error))
        raise AssertionError("unreachable")


def _rows(panel: Panel) -> list[list[float | None]]:
    values = np.concatenate(panel.values)
    cells = values.astype(object)
    cells[np.isnan(values)] = None
    rows: list[list[float | None]] = cells.tolist()
    return rows


def _times(panel: Panel) -> dict[str, Any]:
    """Times of all rows, and the zone that they are in."""
    sent: dict[str, Any] = {
        "timestamps": [stamp for part in panel.times for stamp in _stamps(part)]
    }
    zone = getattr(panel.times[0], "tz", None)
    if zone is not None and _is_known(str(zone)):
        sent["time_zone"] = str(zone)
    elif zone is not None and not isinstance(zone, datetime.timezone):
        raise InputError(
            f"{panel.name} has times in {zone!r}, which has no name that could be sent; use for "
            f"example df.tz_convert('Europe/Berlin')"
        )
    return sent


def _stamps(times: pd.Index[Any]) -> list[str] | list[float]:
    """ISO 8601 times or durations, of periods the start; or numbers."""
    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp()
    if isinstance(times, pd.DatetimeIndex | pd.TimedeltaIndex):
        return [time.isoformat() for time in times]
    numbers: list[float] = times.to_numpy(dtype=np.float64).tolist()
    return numbers


def _is_known(zone: str) -> bool:
    try:
        return bool(ZoneInfo(zone).key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _split(values: FloatArray, panel: Panel) -> list[FloatArray]:
    """Rows of all series to one array a series."""
    ends = np.cumsum([len(part) for part in panel.values])[:-1]
    return np.split(values, ends)


def _pause_s(error: urllib.error.HTTPError) -> float:
    try:
        asked = float(error.headers.get("Retry-After", "1"))
    except ValueError:  # a date, which this service does not send
        asked = 1.0
    return min(asked, LONGEST_PAUSE_S) if math.isfinite(asked) and asked >= 0 else 1.0


def _refusal(error: urllib.error.HTTPError) -> ServiceRefusal:
    try:
        told = json.loads(error.read())["error"]
        places = [f"{'.'.join(map(str, d['location']))}: {d['message']}" for d in told["details"]]
        return ServiceRefusal(error.code, told["code"], "; ".join(places) or told["message"])
    except (ValueError, KeyError, TypeError):  # something between us and the service
        return ServiceRefusal(error.code, "unknown", str(error.reason))
