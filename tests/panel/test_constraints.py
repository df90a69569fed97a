"""Bounds, whole numbers and order among columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linprog
from sklearn.isotonic import isotonic_regression

from tsimpute.errors import InputError
from tsimpute.panel import read_panel
from tsimpute.panel.constraint_rules import read_constraints
from tsimpute.panel.constraints import Constraints, check_obeyed

NAMES = ("a", "b", "c", "d")


def made(bounds: Any = None, integers: Any = None, order: Any = None) -> Constraints:
    found = read_constraints(bounds, integers, order, NAMES, len(NAMES))
    assert found is not None
    return found


def one_row(constraints: Constraints, values: list[float], observed: str = "") -> list[float]:
    seen = np.array([[name in observed for name in NAMES]])
    return constraints.apply(np.array([[values]], dtype=float), seen)[0, 0].tolist()


# ---- known values ------------------------------------------------------------------------------


def test_nothing_asked_for_is_nothing() -> None:
    assert read_constraints(None, (), [], NAMES, 4) is None


def test_bounds_move_holes_to_the_nearest_value_and_leave_observed_cells() -> None:
    rule = made({"a": (0, 100), "b": (None, 5), "c": (1, np.inf)})
    assert one_row(rule, [-3, 9, 0, -7]) == [0, 5, 1, -7]
    assert one_row(rule, [-3, 9, 0, -7], "ab") == [-3, 9, 1, -7]


def test_whole_numbers_are_rounded_inside_their_bounds() -> None:
    rule = made({"a": (0.5, 2.7)}, ["a", "b"])
    assert one_row(rule, [0.2, 3.5, 3.5, 0]) == [1, 4, 3.5, 0]
    assert one_row(rule, [9.0, 2.5, 3.5, 0], "b") == [2, 2.5, 3.5, 0]


def test_two_columns_out_of_order_meet_in_the_middle() -> None:
    assert one_row(made(order=[["a", "b"]]), [3, 1, 0, 0]) == [2, 2, 0, 0]


def test_observed_cells_are_walls() -> None:
    rule = made(order=(("a", "b", "c"),))
    assert one_row(rule, [9, 5, 2, 0], "c") == [2, 2, 2, 0]
    assert one_row(rule, [3, 9, 5, 0], "ac") == [3, 5, 5, 0]


def test_a_hole_between_contradicting_observed_cells_lies_between_them() -> None:
    rule = made(order=(("a", "b", "c"),))
    assert one_row(rule, [90, 85, 80, 0], "ac") == [90, 85, 80, 0]
    assert one_row(rule, [90, 10, 80, 0], "ac") == [90, 80, 80, 0]


def test_bounds_win_over_an_observed_cell_outside_them() -> None:
    rule = made({"b": (0, 10)}, order=[("a", "b")])
    assert one_row(rule, [50, 3, 0, 0], "a") == [50, 10, 0, 0]


def test_bounds_of_one_column_bind_its_neighbours_in_the_order() -> None:
    rule = made({"b": (0, 10)}, order=[("a", "b")])
    assert one_row(rule, [12, 14, 0, 0]) == [10, 10, 0, 0]


def test_a_whole_number_stays_in_order_with_columns_that_are_not_whole() -> None:
    rule = made(integers=["b"], order=[("a", "b", "c")])
    assert one_row(rule, [1.4, 1.45, 1.6, 0]) == [1, 1, 1.6, 0]
    assert one_row(rule, [1.4, 1.45, 2.6, 0], "a") == [1.4, 2, 2.6, 0]
    assert one_row(rule, [1.2, 1.3, 1.4, 0], "ac")[1] in (1, 2)


def test_chains_may_share_columns() -> None:
    rule = made(order=[("a", "b"), ("a", "c"), ("c", "d")])
    found = one_row(rule, [4, 0, 6, 2])
    assert found[0] <= min(found[1:3]) and found[2] <= found[3]
    assert rule.at_most[0].tolist() == [True, True, True, True]


def test_columns_by_position_where_there_are_no_names_also_as_json_gives_them_back() -> None:
    for key in (1, "1", np.int64(1)):
        rule = read_constraints({key: [0, None]}, [2], [[0, 1]], None, 3)
        assert rule is not None
        assert rule.low.tolist() == [-np.inf, 0, -np.inf]


# ---- properties --------------------------------------------------------------------------------

RULES = [
    made({"a": (-1, 1)}, ["b"]),
    made(order=[("a", "b", "c", "d")]),
    made({"b": (-2, 2), "d": (None, 3)}, order=[("a", "b"), ("a", "c"), ("c", "d")]),
    made({"c": (-1.5, None)}, ["b", "d"], [("a", "b", "c", "d")]),
]
CELLS = hnp.arrays(np.float64, (2, 3, 4), elements=st.floats(-5, 5))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(RULES), CELLS, CELLS, hnp.arrays(np.bool_, (3, 4), elements=st.booleans()))
def test_what_holds_for_every_rule(
    rule: Constraints, values: np.ndarray, more: np.ndarray, observed: np.ndarray
) -> None:
    values[1] = np.where(observed, values[0], values[1])
    found = rule.apply(values, observed)
    hole = ~observed
    assert (found[:, observed] == values[:, observed]).all()
    low, high = rule.reach
    assert ((found >= low) & (found <= high))[:, hole].all()
    assert (found == np.rint(found))[:, hole & rule.whole].all()
    # More in the holes gives no less anywhere: quantile levels do not cross.
    above = rule.apply(values + np.where(hole, np.abs(more), 0), observed)
    assert (above >= found)[:, hole].all()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(RULES), CELLS, hnp.arrays(np.bool_, 4, elements=st.booleans()))
def test_holes_are_in_order_and_stay_so(
    rule: Constraints, values: np.ndarray, seen: np.ndarray
) -> None:
    """Observed cells are made such that they contradict neither one another nor a bound."""
    lawful = rule.apply(values, np.zeros((3, 4), dtype=bool))
    values = np.where(seen, lawful, values)
    observed = np.broadcast_to(seen, (3, 4))
    found = rule.apply(values, observed)
    for i, j in np.argwhere(rule.at_most):
        assert (found[..., i] <= found[..., j]).all()
    np.testing.assert_array_equal(rule.apply(found, observed), found)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, 4, elements=st.floats(-5, 5)), st.sampled_from(["", "b", "ad"]))
def test_no_cell_moves_farther_than_the_order_needs(values: np.ndarray, seen: str) -> None:
    """The largest move is the least possible one, by a linear program."""
    rule = made(order=[("a", "b"), ("a", "c"), ("c", "d")])
    if seen == "ad":
        values[3] = max(values[0], values[3])
    found = one_row(rule, values.tolist(), seen)
    free = np.array([name not in seen for name in NAMES])
    eye = np.eye(4)
    near = [[*row, -1] for row in eye[free]] + [[*(-row), -1] for row in eye[free]]
    order = [[*(eye[i] - eye[j]), 0] for i, j in np.argwhere(rule.at_most)]
    walls = [[*row, 0] for row in eye[~free]]
    best = linprog(
        [0, 0, 0, 0, 1],
        A_ub=near + order,
        b_ub=[*values[free], *(-values[free]), *[0] * len(order)],
        A_eq=walls or None,
        b_eq=values[~free] if walls else None,
        bounds=(None, None),
    )
    assert np.abs(found - values).max() == pytest.approx(best.fun, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float64, 2, elements=st.floats(-5, 5)))
def test_of_two_columns_it_is_scikit_learns_isotonic_regression(values: np.ndarray) -> None:
    found = one_row(made(order=[("a", "b")]), [*values.tolist(), 0, 0])[:2]
    np.testing.assert_allclose(found, isotonic_regression(values), atol=1e-12)


# ---- what is refused ---------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown column": ({"bounds": {"aa": (0, 1)}}, "bounds names column 'aa'.*did you mean 'a'"),
    "unknown integer": ({"integers": ["x"]}, "integers names column 'x'"),
    "unknown in order": ({"order": [("a", "x")]}, "order names column 'x'"),
    "low above high": ({"bounds": {"a": (2, 1)}}, r"column 'a' has \(2, 1\).*low <= high"),
    "no pair": ({"bounds": {"a": 3}}, "column 'a' has 3"),
    "text": ({"bounds": {"a": (0, "x")}}, "column 'a' has"),
    "nan": ({"bounds": {"a": (0, np.nan)}}, "column 'a' has"),
    "no dict": ({"bounds": [(0, 1)]}, "expected a dict"),
    "one name": ({"integers": "gcs"}, "integers='gcs'.*tuple or list"),
    "flat chain": ({"order": ("a", "b")}, "order.*'a'.*tuple or list"),
    "chain of one": ({"order": [("a",)]}, "at least two columns"),
    "twice in a chain": ({"order": [("a", "b", "a")]}, "each once"),
    "cycle": ({"order": [("a", "b", "c"), ("c", "a")]}, "'a' stands both before and after"),
    "bounds against order": (
        {"bounds": {"a": (5, None), "b": (None, 3)}, "order": [("a", "b")]},
        "leave no value for column 'a'.*between 5 and 3",
    ),
    "no whole number": ({"bounds": {"a": (0.2, 0.8)}, "integers": ["a"]}, "no value for column"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_named(case: str) -> None:
    asked, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        made(**asked)


def test_training_data_that_break_a_rule_are_named() -> None:
    df = pd.DataFrame({"a": [1.0, 120, np.nan, -2], "b": [1.0, 2, 2.5, 3], "c": 0.0, "d": 0.0})
    with pytest.raises(InputError, match=r"'a' has 2 of 3 .*0 to 100 \(they are -2 to 120\)"):
        check_obeyed(read_panel(df), made({"a": (0, 100)}))
    with pytest.raises(InputError, match=r"'b' is in integers, but 1 of 4 .*2\.5"):
        check_obeyed(read_panel(df), made(integers=["b"]))
    check_obeyed(read_panel(df), made(order=[("a", "b")]))  # readings are not that exact


@pytest.mark.parametrize("columns", [np.array(["b"]), pd.Index(["b"]), ["b"], ("b",)])
def test_columns_may_come_in_any_sequence(columns):
    assert made(integers=columns).whole.tolist() == [name == "b" for name in NAMES]
    assert read_constraints(None, columns[:0], None, NAMES, len(NAMES)) is None


def test_a_pair_of_bounds_may_be_an_array():
    assert made(bounds={"a": np.array([0, 1])}).high[0] == 1
