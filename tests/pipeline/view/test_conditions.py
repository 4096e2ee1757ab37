"""Conditions as typed, and the values that meet them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.pipeline.view.conditions import Condition
from cpp_pipe.store import ConfigError

from ..hostile_values import NUMBERS, TEXTS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sharpness > 0.2", ("sharpness", ">", "0.2")),
        ("sharpness>0.2", ("sharpness", ">", "0.2")),
        ("  a<=-1e3 ", ("a", "<=", "-1e3")),
        ("split != test", ("split", "!=", "test")),
        ("split='a = b'", ("split", "=", "a = b")),
        ("extra:width >= 5", ("extra:width", ">=", "5")),
        ("two words = x", ("two words", "=", "x")),
        ("url = http://x/?a=b", ("url", "=", "http://x/?a=b")),
        ("caption = ''", ("caption", "=", "")),
    ],
)
def test_a_condition_has_a_name_an_operator_and_a_value(text, expected):
    condition = Condition.parse(text)
    assert (condition.name, condition.op, condition.value) == expected


@pytest.mark.parametrize("text", ["", " ", "=", "a", "a >", "> 1", "a == 1", "a => 1", "a <> 1"])
def test_an_invalid_condition_is_refused_with_an_example(text):
    with pytest.raises(
        ConfigError, match=r"must be NAME OPERATOR VALUE .* such as 'sharpness > 2'"
    ):
        Condition.parse(text)


@given(st.one_of(st.text(), st.sampled_from([*TEXTS, *NUMBERS])))
def test_any_text_is_a_condition_or_refused_in_a_short_sentence(text):
    try:
        condition = Condition.parse(text)
    except ConfigError as error:
        message = str(error)
    else:
        assert condition.name and condition.op
        return
    assert message.startswith("--where must be") and len(message) < 200


@given(
    st.lists(st.floats(width=32), min_size=1),
    st.sampled_from(["<", "<=", ">", ">=", "=", "!="]),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)
def test_numbers_are_compared_as_in_python_and_nan_meets_nothing(values, op, wanted):
    condition = Condition.parse(f"x {op} {wanted!r}")
    python = {"=": "==", "!=": "!="}.get(op, op)
    expected = [value == value and eval(f"a {python} b", {"a": value, "b": wanted})
                for value in values]  # fmt: skip
    assert condition.meet_numbers(np.array(values, np.float32)).tolist() == expected


def test_a_number_that_float32_cannot_hold_is_compared_as_far_away():
    values = np.array([1.0, np.inf], np.float32)
    assert Condition.parse("x < 1e300").meet_numbers(values).tolist() == [True, False]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "x", "1,5", "0x10", "'", "1e400"])
def test_values_that_are_not_finite_are_refused_for_number_columns(value):
    with pytest.raises(ConfigError, match="is a number, so compare it with one"):
        Condition.parse(f"x > {value}").meet_numbers(np.zeros(1))


@pytest.mark.parametrize(
    ("text", "value", "is_met"),
    [
        ("p < 0.5", 0.2, True),
        ("p < 0.5", "0.2", True),
        ("p < 0.5", 0.5, False),
        ("p < 0.5", None, False),
        ("p != 0.5", None, False),
        ("p < 0.5", "UNLIKELY", False),
        ("p < 0.5", True, False),
        ("p < 0.5", [0.1], False),
        ("p < 0.5", float("nan"), False),
        ("p = 1", 1.0, True),
        ("p = true", True, True),
        ("p != true", False, True),
        ("p = UNLIKELY", "UNLIKELY", True),
        ("p != UNLIKELY", "NSFW", True),
        ("p < x", "a", False),
        ("p < 0.5", 10**400, False),
        ("frame = 12_3", "1_23", False),
        ("frame = 12_3", "12_3", True),
        ("frame = 12_3", 123, False),
        ("frame != 12_3", "1_23", True),
    ],
)
def test_json_values_are_compared_as_numbers_only_if_both_are_numbers(text, value, is_met):
    assert Condition.parse(text).is_met(json.loads(json.dumps(value))) is is_met
