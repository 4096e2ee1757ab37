"""Any JSON value that Python reads can be sent to any client."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.pipeline.serve.json_values import to_json_value

any_text = st.text(st.characters(), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(any_text, inside, max_size=3),
    max_leaves=8,
)


@given(values)
def test_every_value_becomes_strict_json(value):
    text = json.dumps(to_json_value(value), ensure_ascii=False, allow_nan=False).encode()
    assert json.loads(text) == to_json_value(value)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_values_that_are_strict_json_already_stay(value):
    assert to_json_value(value) == value


def test_surrogates_and_infinities_become_text():
    assert to_json_value({"a\ud800": [math.inf, math.nan, 0.5]}) == {"a?": ["inf", "nan", 0.5]}
