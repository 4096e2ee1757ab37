"""Counts agree with their nouns, in one function and in every message; lines fit a width."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.pipeline.wording import agreeing, counted, fraction, roughly, size_of, wrap

ROOT = Path(__file__).parents[2]
LAYERS = ("pipeline", "stages", "store")

NOUNS = (
    "image", "row", "cluster", "shard", "sample", "part", "group", "file", "folder", "member",
    "process", "run", "artifact", "fault", "landmark", "candidate", "list", "phrase", "class",
)  # fmt: skip


@pytest.mark.parametrize("noun", NOUNS)
def test_one_is_singular_and_every_other_count_plural(noun):
    many = {"class": "classes", "process": "processes"}.get(noun, f"{noun}s")
    assert counted(1, noun) == f"1 {noun}"
    assert [counted(n, noun) for n in (0, 2, 1000)] == [f"0 {many}", f"2 {many}", f"1,000 {many}"]


def test_the_last_word_of_a_noun_takes_the_ending():
    assert counted(2, "random image") == "2 random images"
    assert counted(2, "CUDA device") == "2 CUDA devices"
    assert [agreeing(n, "is", "are") for n in (0, 1, 2)] == ["are", "is", "are"]


def test_no_message_writes_a_plural_noun_after_a_count_itself():
    nouns = "|".join(
        [*(f"{noun}s" for noun in NOUNS if noun != "list"), "processes", "classes", r"\w+\(s\)"]
    )
    by_hand = re.compile(rf"\{{[^{{}}]*\}} (?:{nouns})\b")
    # Between two numbers, and after a constant, the plural is right whatever the count. "of its …
    # images" stands in sealed decisions, whose bytes must not change; "rows/s" is a unit.
    is_right = re.compile(r"to \{|MAX_|MOST_|\{[A-Z_]+\}|rows/s|of its \{|^\s*assert ")
    faults = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for layer in LAYERS
        for path in sorted((ROOT / layer).rglob("*.py"))
        # Algorithms know no other errors than of numbers, which nobody counts.
        if "algorithms" not in path.parts
        for line in path.read_text().splitlines()
        if by_hand.search(line) and 'f"' in line and not is_right.search(line)
    ]
    assert faults == []


@given(st.text(alphabet="ab `\n-/", max_size=200), st.integers(20, 100))
def test_wrapped_lines_fit_unless_a_word_or_a_quotation_is_longer(text, columns):
    for line in wrap(text, columns).split("\n"):
        pieces = re.sub(r"`[^`]*`", lambda quoted: quoted.group().replace(" ", "_"), line).split()
        assert len(line) <= columns or len(pieces) <= 1 or line.strip().startswith("`")


@given(st.text(max_size=200), st.integers(20, 100))
def test_wrapping_keeps_every_word(text, columns):
    assert wrap(text, columns).split() == text.split()


def test_a_command_in_backticks_stays_on_one_line():
    text = "features are out of date: run `cpp-pipe project --run my-run --store /data/artifacts`"
    assert wrap(text, 60).split("\n") == [
        "features are out of date: run",
        "  `cpp-pipe project --run my-run --store /data/artifacts`",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"), (89, "89 seconds"), (90, "2 minutes"), (5_000, "83 minutes"),
        (5_400, "1.5 hours"), (36_000, "10 hours"), (259_199, "72 hours"), (259_200, "3.0 days"),
        (8_640_000, "100 days"),
    ],
)  # fmt: skip
def test_a_duration_is_given_in_a_fitting_unit(seconds, words):
    assert roughly(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"), (999, "999 bytes"), (1_000, "1.0 kB"), (66_300_000, "66.3 MB"),
        (461_000_000_000, "461.0 GB"), (2_500_000_000_000_000, "2,500.0 TB"),
    ],
)  # fmt: skip
def test_bytes_are_given_in_powers_of_a_thousand(count, words):
    assert size_of(count) == words


def test_a_share_is_given_as_a_fraction():
    assert [fraction(share) for share in (0.054, 0.1, 0.26)] == ["1/19", "1/10", "1/4"]
