"""The caption command: several vocabularies, both rules, levels, and reused words."""

import pyarrow.parquet as pq
import pytest

from cpp_pipe import Run

from .cli import SMALL, body, embed, fail, succeed


@pytest.fixture(scope="module")
def trained(tmp_path_factory, digit_shards):
    """A store with clusters of digits."""
    store = tmp_path_factory.mktemp("captions") / "artifacts"
    embed(store, digit_shards)
    succeed(store, "train", *SMALL)
    succeed(store, "assign", "--k", "5")
    return store


def captions(store) -> dict[int, str]:
    """The first caption of each cluster."""
    found = Run.open(store).artifact("captions")
    rows = found.table(found.only_part).to_pylist()
    return {row["cluster"]: row["caption"] for row in rows if row["rank"] == 1}


def test_several_vocabularies_are_joined_and_words_are_encoded_once(trained, tmp_path):
    more = tmp_path / "more.txt"
    more.write_text("zero\nhandwritten_digit\n")
    both = ("--vocabulary", "digits-words.txt", "--vocabulary", more)
    done = succeed(trained, "caption", *both)
    assert "making words" in done.err and "share by contrast" in done.out
    found = Run.open(trained).artifact("words")
    assert {"nine", "handwritten digit"} <= set(found.column("name")) and len(found.parts) == 2
    assert len(set(captions(trained).values())) == 5
    succeed(trained, "assign", "--k", "7")
    # The vocabularies are those of the run now, wherever the command runs.
    done = succeed(trained, "caption", "--rule", "vote")
    assert "making words" not in done.err and "share by vote" in done.out
    assert Run.open(trained).artifact("words").version == found.version
    assert len(set(captions(trained).values())) == 7


def test_an_unknown_rule_or_vocabulary_is_refused(trained):
    assert "must be 'contrast' or 'vote', got 'best'" in fail(trained, "caption", "--rule", "best")
    message = fail(trained, "caption", "--vocabulary", "no-such-words.txt")
    assert "imagenet, coco, wordnet or a file" in message and "no-such-words.txt" in message


def test_a_cut_of_a_hierarchy_has_words_for_all_coarser_levels(trained):
    succeed(trained, "assign", "--level", "2,4", "--set", "merge.finest=6")
    done = succeed(trained, "caption", "--vocabulary", "digits-words.txt")
    assert "captions of all levels, from 4 clusters to 1" in done.out
    path = body(done.out)[-1].partition("to 1: ")[2]
    assert set(pq.read_table(path, partitioning=None)["level"].to_pylist()) == {1, 2, 3, 4}
    assert set(captions(trained)) == {0, 1}
