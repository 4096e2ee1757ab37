"""The right rows are chosen, and every other row is counted once, by its reason."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cpp_pipe.pipeline.curation.near_duplicates import make_duplicates
from cpp_pipe.pipeline.curation.selection import Conditions, Selection, select_rows
from cpp_pipe.pipeline.making.plan import Plan
from cpp_pipe.pipeline.view.captions import first_captions
from cpp_pipe.stages.edits.replay import Edited
from cpp_pipe.store import ConfigError, Store

from ...stages.world import make_world, plan_of


@pytest.fixture(scope="module")
def world(tmp_path_factory, digit_shards) -> SimpleNamespace:
    """The artifacts of a run of digits, and its near-duplicates at a low similarity."""
    store = Store(tmp_path_factory.mktemp("select"))
    made = make_world(plan_of(store, digit_shards))
    plan: Plan = plan_of(store, digit_shards)
    artifacts = {slot: made[slot].artifact for slot in ("embeddings", "assignments", "captions")}
    duplicates = make_duplicates(plan, 0.9)
    assert duplicates.facts["dropped"] > 5
    return SimpleNamespace(**artifacts, duplicates=duplicates)


def chosen(world: SimpleNamespace, **wanted) -> Selection:
    return select_rows(
        Conditions(**wanted), world.embeddings, world.assignments, world.captions, world.duplicates
    )


def column(world: SimpleNamespace, name: str) -> np.ndarray:
    return np.array(world.assignments.column(name))


def test_without_conditions_every_row_is_chosen(world):
    found = chosen(world)
    assert found.rows.tolist() == list(range(world.embeddings.rows))
    assert found.left_out == {}


def test_a_row_must_meet_clusters_and_confidence(world):
    cluster, confidence = column(world, "cluster"), column(world, "confidence")
    wanted, least = (int(cluster[0]), int(cluster[-1])), float(np.median(confidence))
    found = chosen(world, clusters=wanted, min_confidence=least)
    expected = np.isin(cluster, wanted) & (confidence.astype(np.float32) >= np.float32(least))
    assert found.rows.tolist() == np.flatnonzero(expected).tolist()
    others, unsure = found.left_out.values()
    assert others == (~np.isin(cluster, wanted)).sum()
    assert unsure == (np.isin(cluster, wanted) & ~expected).sum()
    assert found.seen == world.embeddings.rows
    assert found.describe().startswith(f"seen {found.seen} = chosen {len(found.rows)} + {others} ")


def test_captions_match_clusters_in_any_case_and_with_wildcards(world):
    names = first_captions(world.captions)
    cluster = column(world, "cluster")
    caption = names[int(cluster[0])]
    same = [number for number, name in names.items() if name == caption]
    expected = np.flatnonzero(np.isin(cluster, same)).tolist()
    assert chosen(world, captions=(caption.upper(),)).rows.tolist() == expected
    word = caption.partition(", ")[0]
    same = [number for number, name in names.items() if name.partition(", ")[0] == word]
    by_word = np.flatnonzero(np.isin(cluster, same)).tolist()
    assert chosen(world, captions=(word,)).rows.tolist() == by_word
    assert set(expected) <= set(chosen(world, captions=(f"*{caption[1:]}",)).rows.tolist())
    assert len(chosen(world, captions=("*",)).rows) == world.embeddings.rows


def test_brackets_in_the_name_of_a_cluster_stand_for_themselves(world):
    """--caption 'trains [steam]' named no cluster, though its name was typed as it is."""
    cluster = column(world, "cluster").astype(np.int32)
    names = {0: "trains [steam]", 1: "trains s"}
    edited = Edited(cluster=cluster, excluded=np.zeros(len(cluster), bool), names=names)
    for caption in ("Trains [steam]", "*[*]"):
        wanted = Conditions(captions=(caption,))
        found = select_rows(wanted, world.embeddings, world.assignments, edited=edited)
        assert found.rows.tolist() == np.flatnonzero(cluster == 0).tolist()


def test_keys_choose_and_leave_out(world, tmp_path):
    keys, shards = world.embeddings.column("key"), world.embeddings.column("shard")
    wanted, unwanted = tmp_path / "keys.txt", tmp_path / "not.txt"
    wanted.write_text(f"{keys[3]}\n\n  {shards[7]}:{keys[7]}  \n{keys[11]}\n")
    unwanted.write_text(f"{keys[11]}\n{keys[12]}\n")
    assert chosen(world, keys=wanted).rows.tolist() == [3, 7, 11]
    found = chosen(world, keys=wanted, not_keys=unwanted)
    assert found.rows.tolist() == [3, 7]
    assert list(found.left_out.values()) == [len(keys) - 3, 1]


def test_of_each_group_of_duplicates_one_stays(world):
    rows = world.duplicates.table(world.duplicates.only_part).to_pylist()
    dropped = {row["row"] for row in rows if not row["kept"]}
    found = chosen(world, is_deduplicated=True)
    assert set(found.rows.tolist()) == set(range(world.embeddings.rows)) - dropped


def test_without_the_kept_row_of_a_group_the_most_similar_one_stays(world, tmp_path):
    rows = world.duplicates.table(world.duplicates.only_part).to_pylist()
    group = max({row["group"] for row in rows}, key=[row["group"] for row in rows].count)
    own = [row for row in rows if row["group"] == group]
    assert len(own) > 2
    unwanted = tmp_path / "not.txt"
    unwanted.write_text(f"{own[0]['shard']}:{own[0]['key']}\n")
    found = set(chosen(world, not_keys=unwanted, is_deduplicated=True).rows.tolist())
    best = max(own[1:], key=lambda row: row["similarity"])
    assert found & {row["row"] for row in own} == {best["row"]}


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ({"clusters": (0, 999)}, "--cluster must be from 0 to .*, got 999"),
        ({"captions": ("no such thing",)}, "names no cluster: captions are"),
    ],
)
def test_unknown_clusters_and_captions_are_refused(world, wanted, line):
    with pytest.raises(ConfigError, match=line):
        chosen(world, **wanted)


def test_conditions_that_no_row_meets_are_refused_with_counts(world, tmp_path):
    path = tmp_path / "keys.txt"
    path.write_text(world.embeddings.column("key")[0] + "\n")
    counts = r"seen 60 = chosen 0 \+ 59 not among the keys \+ 1 named to be left out"
    with pytest.raises(ConfigError, match=rf"no row meets all conditions \({counts}\)"):
        chosen(world, keys=path, not_keys=path)


def test_an_unknown_key_is_refused(world, tmp_path):
    path = tmp_path / "keys.txt"
    path.write_text("nobody\n")
    with pytest.raises(ConfigError, match=r"names nobody, which no row has"):
        chosen(world, keys=path)
    with pytest.raises(ConfigError, match="cannot be read as lines of text"):
        chosen(world, keys=Path(tmp_path))


@pytest.mark.parametrize("least", [-0.1, 1.1])
def test_a_confidence_outside_its_range_is_refused(least):
    with pytest.raises(ConfigError, match="from 0 to 1"):
        Conditions(min_confidence=least)
