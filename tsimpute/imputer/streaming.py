"""Rows that come one at a time."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from tsimpute.errors import InputError
from tsimpute.imputer.base import FittedImputer


class Streams(FittedImputer):
    """Part of `EDDPMImputer`: filling a stream row by row."""

    def update(self, row: Any, series: Hashable | None = None) -> Any:
        """Take the next row of a stream and fill its holes from it and the rows before.

        What `transform` with ``mode="online"`` fills in this row, given all rows since the
        stream began, up to the rounding of float32; whatever the imputer's mode. Only the last
        `window_steps` rows (more with a longer `max_gap`) are kept, as they came, in `stream_`,
        which is not saved.

        Parameters
        ----------
        row : Series, dict, DataFrame of one row, or array of shape (K,)
            NaN (also None) is missing. The time is a Series' name or a DataFrame's index; it
            must follow the last one by the same step, so pass a row of NaN where one is left
            out. A dict or an array has no time.
        series : hashable, optional
            Which series the row belongs to, where there are many; also from a DataFrame with a
            (series, time) index. Noise belongs to a series' place, in the order of the first
            rows, as in `transform`.

        Returns
        -------
        Same type as row
            Holes filled with the median, but for those that are refused; readings as they were.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if columns, values or the time do not fit. The row then does not count.
        """
        from tsimpute.sampling.streams import Past, fill_newest, read_row, rows_kept

        check_is_fitted(self)
        new = read_row(row, self.model_)
        name = new.series if series is None else series
        known = self.stream_.get(name) or Past.empty(len(self.stream_), self.n_features_in_)
        where = "row" if name is None else f"row of series {name!r}"
        past = known.followed_by(new, rows_kept(self), self.model_.regular, where)
        filled = new.filled(fill_newest(self, past))
        self.stream_[name] = past
        return filled

    def reset_stream(self, series: Hashable | None = None) -> Self:
        """Forget the rows that `update` has taken.

        Parameters
        ----------
        series : hashable, optional
            The series to begin again; it keeps its place among the others. None: forget all.

        Returns
        -------
        EDDPMImputer
            Itself.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if there is no such series.
        """
        from tsimpute.sampling.streams import Past

        check_is_fitted(self)
        if series is None:
            self.stream_ = {}
            return self
        if series not in self.stream_:
            raise InputError(
                f"series={series!r} has no row in this stream; expected one of "
                f"{list(self.stream_)[:5]}"
            )
        place = self.stream_[series].place
        self.stream_[series] = Past.empty(place, self.n_features_in_)
        return self
