"""Decisions applied to the clusters they were made on, and to later ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.edits.edit import Edit, active
from cpp_pipe.stages.edits.replay import Heir, carry_over, replay
from cpp_pipe.store import ConfigError

KEYS = [f"s:{number}" for number in range(12)]
ROWS = {key: row for row, key in enumerate(KEYS)}
CLUSTER = np.repeat(np.arange(4), 3).astype(np.int32)


def edit(number: int, op: str, version: str = "a", k: int = 4, **fields: object) -> Edit:
    return Edit.from_json(
        {
            "id": f"id{number}", "number": number, "by": "x", "at": "2026-01-01T00:00:00+00:00",
            "op": op, "assignments": version, "k": k, **fields,
        }
    )  # fmt: skip


def apply(*edits: Edit, cluster=CLUSTER, version="a", k=4, carried=None, rows=ROWS):
    return replay(edits, cluster, k=k, version=version, rows_of=rows, carried=carried or {})


def test_each_operation_does_what_it_says():
    edited = apply(
        edit(1, "name", clusters=[2], value=" steam engines "),
        edit(2, "note", clusters=[2], value="look again"),
        edit(3, "merge", clusters=[0, 1]),
        edit(4, "split", clusters=[2], images=["s:6"]),
        edit(5, "move", clusters=[3], images=["s:0"]),
        edit(6, "tag", images=["s:1", "s:11"], value="dog"),
        edit(7, "tag", clusters=[4], value="alone"),
        edit(8, "untag", images=["s:11"], value="dog"),
        edit(9, "exclude", clusters=[3]),
        edit(10, "include", images=["s:9"]),
        edit(11, "note", images=["s:5"], value="blurred"),
    )
    assert edited.cluster.tolist() == [3, 0, 0, 0, 0, 0, 4, 2, 2, 3, 3, 3]
    assert edited.names == {2: "steam engines"}
    assert edited.notes == {2: "look again"}
    assert edited.row_notes == {5: "blurred"}
    assert {tag: rows.nonzero()[0].tolist() for tag, rows in edited.tags.items()} == {
        "dog": [1], "alone": [6],
    }  # fmt: skip
    assert edited.excluded.nonzero()[0].tolist() == [0, 10, 11]
    assert {outcome.status for outcome in edited.outcomes} == {"applied"}


def test_an_empty_name_or_note_removes_it():
    edited = apply(
        edit(1, "name", clusters=[2], value="x"),
        edit(2, "name", clusters=[2]),
        edit(3, "note", images=["s:1"], value="x"),
        edit(4, "note", images=["s:1"]),
    )
    assert (edited.names, edited.row_notes) == ({}, {})


def test_a_revert_undoes_and_reverting_it_applies_again():
    first = edit(1, "name", clusters=[2], value="x")
    second, third = edit(2, "revert", value="id1"), edit(3, "revert", value="id2")
    assert apply(first, second).names == {}
    assert [outcome.status for outcome in apply(first, second).outcomes] == ["reverted", "applied"]
    assert apply(first, second, third).names == {2: "x"}
    assert active([first, second, third]) == [True, False, True]


def test_a_reverted_split_keeps_the_numbers_of_later_ones():
    edits = [
        edit(1, "split", clusters=[0], images=["s:0"]),
        edit(2, "split", clusters=[1], images=["s:3"]),
        edit(3, "name", clusters=[5], value="second"),
    ]
    assert apply(*edits).cluster[[0, 3]].tolist() == [4, 5]
    undone = apply(*edits, edit(4, "revert", value="id1"))
    assert undone.cluster[[0, 3]].tolist() == [0, 5]
    assert undone.names == {5: "second"}


def test_decisions_follow_images_and_the_majority_of_a_cluster():
    later = np.array([1, 1, 0, 0, 0, 0, 2, 2, 2, 3, 4, 5], np.int32)
    carried = {("a", old): new for old, new in carry_over(CLUSTER, later, 4).items()}
    assert {place: heir.cluster for place, heir in carried.items()} == {
        ("a", 0): 1, ("a", 1): 0, ("a", 2): 2,
    }  # fmt: skip
    edited = apply(
        edit(1, "name", clusters=[0], value="zero"),
        edit(2, "name", clusters=[3], value="three"),
        edit(3, "merge", clusters=[1, 2]),
        edit(4, "merge", clusters=[2, 3]),
        edit(5, "tag", images=["s:9"], value="dog"),
        edit(6, "split", clusters=[2], images=["s:6", "s:7"]),
        edit(7, "name", clusters=[4], value="part"),
        edit(8, "move", clusters=[3], images=["s:0"]),
        cluster=later, version="b", k=6, carried=carried,
    )  # fmt: skip
    assert edited.names == {1: "zero", 6: "part"}
    assert edited.cluster.tolist() == [1, 1, 0, 0, 0, 0, 6, 6, 0, 3, 4, 5]
    assert [outcome.edit.number for outcome in edited.open] == [2, 4, 8]
    assert all("cluster 3" in outcome.why for outcome in edited.open)
    assert edited.tags["dog"].nonzero()[0].tolist() == [9]


def test_a_cluster_made_of_two_named_ones_keeps_the_first_name():
    later = np.zeros(12, np.int32)
    carried = {("a", old): Heir(cluster=0) for old in range(4)}
    edited = apply(
        edit(1, "name", clusters=[0], value="dogs"),
        edit(2, "name", clusters=[1], value="cats"),
        edit(3, "name", clusters=[0], value="hounds"),
        cluster=later, version="b", k=1, carried=carried,
    )  # fmt: skip
    assert edited.names == {0: "hounds"}
    assert [outcome.edit.number for outcome in edited.open] == [2]


def test_a_name_of_a_cluster_of_mostly_other_images_needs_a_look():
    later = np.repeat([0, 1], [9, 3]).astype(np.int32)
    carried = {("a", old): heir for old, heir in carry_over(CLUSTER, later, 4).items()}
    on = {"cluster": later, "version": "b", "k": 2, "carried": carried}
    named = edit(1, "name", clusters=[0], value="dogs")
    edited = apply(
        named,
        edit(2, "name", clusters=[3], value="cats"),
        edit(3, "note", clusters=[1], value="odd"),
        **on,
    )
    assert (edited.names, edited.notes) == ({0: "dogs", 1: "cats"}, {0: "odd"})
    assert [outcome.edit.number for outcome in edited.open] == [1, 3]
    assert "cluster 0 took it over, and most of its images (67%)" in edited.open[0].why
    # Who names it as it is now has looked.
    again = edit(4, "name", version="b", k=2, clusters=[0], value="pets")
    assert [outcome.edit.number for outcome in apply(named, again, **on).open] == []
    assert apply(named, again, edit(5, "revert", value="id4"), **on).open[0].edit == named
    # What was merged into it counts as its own.
    merged = apply(
        edit(1, "merge", clusters=[0, 1]), edit(2, "name", clusters=[0], value="dogs"), **on
    )
    assert merged.open == []


def test_a_merge_is_not_applied_to_much_larger_new_clusters():
    """Nobody decided to merge the two clusters that the two pairs became."""
    later = np.repeat([0, 1, 2], [3, 8, 1]).astype(np.int32)
    carried = {("a", old): heir for old, heir in carry_over(CLUSTER, later, 4).items()}
    assert carried["a", 0] == Heir(cluster=0, share=1.0)
    assert carried["a", 1] == Heir(cluster=1, share=0.375)
    on = {"cluster": later, "version": "b", "k": 3, "carried": carried}
    edited = apply(edit(1, "merge", clusters=[0, 1]), **on)
    assert np.array_equal(edited.cluster, later)
    assert "cluster 1 took one of them over" in edited.open[0].why
    assert "(62%) were in other clusters" in edited.open[0].why
    # Together they are most of it; and what is one already is merged.
    assert apply(edit(1, "merge", clusters=[0, 1, 2]), **on).cluster.tolist()[:11] == [0] * 11
    assert apply(edit(1, "merge", clusters=[1, 2]), **on).open == []


def test_a_later_decision_on_the_same_cluster_settles_an_earlier_one():
    on = {"version": "b", "carried": {("a", 0): Heir(cluster=1, share=0.33)}}
    old, new = (edit(n, "name", clusters=[0], value=f"name {n}") for n in (1, 2))
    edited = apply(old, new, **on)
    assert edited.names == {1: "name 2"}
    assert [outcome.edit for outcome in edited.open] == [new]
    removed = apply(old, edit(3, "name", clusters=[0]), **on)
    assert (removed.names, removed.open) == ({}, [])


def test_a_cluster_is_excluded_only_if_it_is_most_of_its_successor():
    """Only old logs record it so: today the excluded images are recorded."""
    heirs = {("a", 0): Heir(cluster=1, share=0.33), ("a", 1): Heir(cluster=2, share=0.9)}
    on = {"version": "b", "carried": heirs}
    edited = apply(edit(1, "exclude", clusters=[0]), **on)
    assert not edited.excluded.any()
    assert "cluster 1 took it over" in edited.open[0].why
    edited = apply(edit(1, "tag", clusters=[0, 1], value="dog"), **on)
    assert edited.tags["dog"].nonzero()[0].tolist() == [6, 7, 8]
    assert [outcome.status for outcome in edited.outcomes] == ["needs a look"]


def test_a_cluster_made_of_two_noted_ones_keeps_the_first_note():
    heirs = {("a", 0): Heir(cluster=1, share=0.6), ("a", 1): Heir(cluster=1, share=0.4)}
    edited = apply(
        edit(1, "note", clusters=[0], value="blurred"),
        edit(2, "note", clusters=[1], value="odd"),
        version="b",
        carried=heirs,
    )
    assert edited.notes == {1: "blurred"}
    assert "took over two noted clusters, and keeps the note 'blurred'" in edited.open[0].why


def test_missing_images_are_counted_and_never_dropped_silently():
    edited = apply(
        edit(1, "tag", images=["s:1", "s:99"], value="dog"),
        edit(2, "exclude", images=["s:98"]),
    )
    assert [outcome.status for outcome in edited.outcomes] == ["needs a look"] * 2
    assert "1 of its 2 images" in edited.outcomes[0].why
    assert "none of its images" in edited.outcomes[1].why
    assert edited.tags["dog"].nonzero()[0].tolist() == [1]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"op": "paint"}, "must be one of"),
        ({"op": "merge", "clusters": [1]}, "two clusters or more"),
        ({"op": "merge", "clusters": [1, 1]}, "two clusters or more"),
        ({"op": "name", "clusters": [1, 2]}, "one cluster"),
        ({"op": "split", "clusters": [1]}, "images"),
        ({"op": "move", "images": ["s:1"]}, "one cluster"),
        ({"op": "tag", "clusters": [1]}, "a tag"),
        ({"op": "tag", "value": "x"}, "images or a cluster"),
        ({"op": "exclude", "clusters": [1], "images": ["s:1"]}, "not both"),
        ({"op": "revert"}, "the decision"),
        ({"op": "name", "clusters": [1], "value": "x" * 3000}, "2000 characters"),
        ({"op": "name", "clusters": ["one"], "value": "x"}, "cannot be read"),
        ({"op": "name", "clusters": 3, "value": "x"}, "cannot be read"),
    ],
)
def test_an_invalid_decision_is_refused_with_the_reason(fields, wrong):
    with pytest.raises(ConfigError, match=wrong):
        edit(1, **fields)


def an_edit():
    images = st.lists(st.sampled_from([*KEYS, "s:gone"]), min_size=1, max_size=4, unique=True)
    cluster = st.integers(0, 6)
    about = st.one_of(
        st.fixed_dictionaries({"images": images}),
        st.fixed_dictionaries({"clusters": st.lists(cluster, min_size=1, max_size=1)}),
    )
    version = st.sampled_from(["a", "b"])
    return st.one_of(
        st.tuples(st.sampled_from(["exclude", "include"]), version, about),
        st.tuples(
            st.sampled_from(["tag", "untag"]), version, about.map(lambda on: {**on, "value": "t"})
        ),
        st.tuples(
            st.just("merge"), version,
            st.lists(cluster, min_size=2, max_size=3, unique=True).map(lambda c: {"clusters": c}),
        ),
        st.tuples(
            st.sampled_from(["split", "move"]), version,
            st.tuples(cluster, images).map(lambda p: {"clusters": [p[0]], "images": p[1]}),
        ),
    )  # fmt: skip


@given(st.lists(an_edit(), max_size=12), st.data())
def test_reverting_every_decision_gives_back_the_clusters(steps, data):
    edits = [edit(n, op, version, **fields) for n, (op, version, fields) in enumerate(steps, 1)]
    carried = {
        ("b", number): Heir(cluster=number) for number in data.draw(st.sets(st.integers(0, 3)))
    }
    edited = apply(*edits, carried=carried)
    assert len(edited.outcomes) == len(edits)
    assert len(edited.cluster) == len(CLUSTER)
    reverts = [edit(len(edits) + n, "revert", value=other.id) for n, other in enumerate(edits, 1)]
    back = apply(*edits, *reverts, carried=carried)
    assert np.array_equal(back.cluster, CLUSTER)
    assert not back.excluded.any()
    assert back.tags == {}
    # A decision and its log entry are the same.
    assert [Edit.from_json(one.to_json()) for one in edits] == edits


def test_a_cluster_named_again_has_the_later_name():
    carried = {("a", 1): Heir(cluster=2), ("b", 3): Heir(cluster=2)}
    edited = apply(
        edit(1, "name", clusters=[1], value="AAA"),
        edit(2, "name", version="b", k=6, clusters=[3], value="BBB"),
        version="c", carried=carried,
    )  # fmt: skip
    assert edited.names == {2: "BBB"}
    assert edited.open == []


def test_nothing_is_decided_about_a_cluster_without_images():
    edited = apply(
        edit(1, "merge", clusters=[0, 1]),
        edit(2, "exclude", clusters=[1]),
        edit(3, "name", clusters=[1], value="x"),
    )
    assert [outcome.edit.number for outcome in edited.open] == [2, 3]
    assert not edited.excluded.any()
    assert edited.names == {}


MADE_UP = st.builds(
    edit,
    st.integers(0, 4),
    st.sampled_from(["move", "split"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from([0, 1, 4, 5, 2**31 - 1]),
    clusters=st.sampled_from([[0], [3], [4], [5], [2**31 - 1]]),
    images=st.just(["s:1"]),
) | st.builds(
    edit,
    st.integers(0, 4),
    st.sampled_from(["name", "note", "tag"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from([0, 1, 4, 5, 2**31 - 1]),
    clusters=st.sampled_from([[0], [3], [4], [5], [2**31 - 1]]),
    value=st.just("x"),
) | st.builds(
    edit,
    st.integers(0, 4),
    st.just("merge"),
    st.sampled_from(["a", "b"]),
    st.sampled_from([0, 4, 2**31 - 1]),
    clusters=st.lists(st.sampled_from([0, 1, 4, 2**31 - 1]), min_size=2, unique=True),
)  # fmt: skip


@given(st.lists(MADE_UP, max_size=6))
def test_no_forged_log_leads_to_a_missing_cluster(edits):
    edited = apply(*edits)
    splits = sum(each.op == "split" for each in edits)
    assert edited.cluster.min() >= 0 and edited.cluster.max() < 4 + splits
    assert all(0 <= number < 4 + splits for number in [*edited.names, *edited.notes])


def test_a_decision_to_undo_says_what_it_undoes():
    named = edit(1, "name", clusters=[2], value="steam")
    undo = edit(2, "revert", value="id1")
    redo = edit(3, "revert", value="id2")
    again = edit(4, "revert", value="id3")
    known = {each.id: each for each in (named, undo, redo, again)}
    assert undo.describe_among(known) == "undo decision 1 (name cluster 2: steam)"
    assert redo.describe_among(known) == "restore decision 1 (name cluster 2: steam)"
    assert again.describe_among(known) == "undo decision 1 (name cluster 2: steam)"
    assert edit(5, "revert", value="gone").describe_among(known) == (
        "undo a decision that is not in the log"
    )
    loop = edit(6, "revert", value="id6")
    assert "not in the log" in loop.describe_among({"id6": loop})
