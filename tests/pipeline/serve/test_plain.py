"""Any JSON value that Python reads can be sent again."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.pipeline.serve.plain import plain

any_text = st.text(st.characters(), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(any_text, inside, max_size=3),
    max_leaves=8,
)


@given(values)
def test_what_is_plain_is_json_in_any_reader(value):
    sent = json.dumps(plain(value), ensure_ascii=False, allow_nan=False).encode()
    assert json.loads(sent) == plain(value)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_what_can_be_sent_already_stays(value):
    assert plain(value) == value


def test_what_json_has_not_is_said_in_words():
    assert plain({"a\ud800": [math.inf, math.nan, 0.5]}) == {"a?": ["inf", "nan", 0.5]}
