"""Captions of synthetic clusters: by both rules, from several vocabularies, at every level."""

from collections.abc import Sequence

import numpy as np
import pytest

from cpp_pipe.pipeline.making.jobs import Job, find_or_make
from cpp_pipe.stages import caption as captions
from cpp_pipe.stages.caption import Caption
from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.encoding.part_tables import EmbeddingRows
from cpp_pipe.store import Artifact, ConfigError, Product, Recipe, Store
from cpp_pipe.store.kinds import ASSIGNMENTS, HIERARCHY, WORDS, Kind

from ..store.stores import model_of
from .world import SETTINGS, plan_of

NAMES = ("cat", "dog", "car", "animal", "close-up", "outdoors")
CAT, DOG, CAR, ANIMAL, CLOSE, OUTDOORS = np.eye(6)
PARTS = ("a", "b")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def publish(store: Store, kind: Kind, config: dict, parts: dict) -> Artifact:
    """An artifact whose parts are written by functions."""
    recipe = Recipe(
        kind=kind.name, format=kind.format, stage="test", revision=1, config=config,
        parts={name: {} for name in parts},
    )  # fmt: skip
    draft = store.draft(recipe)
    for name, write in parts.items():
        draft.make_part(name, write)
    return draft.publish({}, {})


def embeddings_of(store: Store, x: Sequence[np.ndarray]) -> Artifact:
    """Unit rows in parts."""
    from cpp_pipe.store.kinds import EMBEDDINGS

    def writer(name, rows):
        def write(scratch):
            part = EmbeddingRows(shard=name, size=6)
            part.rows = [{"key": f"{name}{row}", "extra": "{}"} for row in range(len(rows))]
            part.embeddings = [rows / np.linalg.norm(rows, axis=1, keepdims=True)]
            return part.write(scratch, {}, model_of(6))

        return write

    parts = dict(zip(PARTS, x, strict=False))
    return publish(
        store, EMBEDDINGS, {}, {name: writer(name, rows) for name, rows in parts.items()}
    )


def words_of(store: Store, vocabularies: dict[str, Sequence[str]]) -> Artifact:
    """Words of vocabularies; each embedding is an axis, by the word's position in `NAMES`."""

    def writer(vocabulary, names):
        def write(scratch):
            places = [[each.lower() for each in NAMES].index(name.lower()) for name in names]
            rows = np.eye(6, dtype=np.float16)[places]
            columns = {"name": names, "vocabulary": [vocabulary] * len(names), "embedding": rows}
            scratch.write_table("rows", columns)
            return Product(rows=len(names), shared={"size": 6})

        return write

    parts = {name: writer(name, names) for name, names in vocabularies.items()}
    return publish(store, WORDS, {}, parts)


def assignments_of(store: Store, clusters: Sequence[np.ndarray], **config) -> Artifact:
    """Assignments of rows; other k get extra columns."""
    config = {
        "k": int(max(labels.max() for labels in clusters)) + 1,
        "method": "spectral",
        **config,
    }
    asked = config["k"] if isinstance(config["k"], list) else [config["k"]]

    def writer(rows):
        def write(scratch):
            rows_of = rows if rows.ndim == 2 else rows[:, None]
            sure = np.ones(len(rows), np.float32)
            columns = [[str(row) for row in range(len(rows))], rows_of[:, 0], sure, sure]
            for other in rows_of.T[1:]:
                columns += [other, sure]
            names = ASSIGNMENTS.table().schema(numbers=asked[1:]).names
            table = dict(zip(names, columns, strict=True))
            scratch.write_table("rows", table, numbers=asked[1:])
            return Product(
                rows=len(rows), shared={"k": asked[0], "clusters": {str(k): int(k) for k in asked}}
            )

        return write

    parts = dict(zip(PARTS, clusters, strict=False))
    return publish(
        store, ASSIGNMENTS, config, {name: writer(labels) for name, labels in parts.items()}
    )


def make(store: Store, stage: Caption, *inputs: Artifact) -> Artifact:
    """The captions that the stage makes from artifacts."""
    given = {artifact.kind.name: artifact for artifact in inputs}
    job = Job(slot="captions", stage=stage, inputs=given, runtime=Runtime())
    return find_or_make(job, store, "test", {}, lambda line: None)


def rows(made: Artifact, role: str = "rows") -> list[dict]:
    """All rows of a file."""
    return made.table(made.only_part, role).to_pylist()


def first_captions(table: list[dict]) -> list[str]:
    """The first captions, by cluster."""
    return [row["caption"] for row in table if row["rank"] == 1]


X = np.stack([CAT + 0.4 * CLOSE, CAT + 0.4 * OUTDOORS, CAR, DOG + 0.1 * ANIMAL])


@pytest.mark.parametrize("rule", ["vote", "contrast"])
def test_clusters_that_share_their_best_word_get_a_second_one(store, rule):
    made = make(
        store,
        Caption(rule=rule),
        embeddings_of(store, [X.repeat(3, 0), X[:2]]),
        words_of(store, {"words": NAMES}),
        assignments_of(store, [np.arange(4).repeat(3), np.arange(2)]),
    )
    table = rows(made)
    assert first_captions(table) == ["cat, close-up", "cat, outdoors", "car", "dog"]
    assert rows(made, "levels") == []
    assert made.facts["rule"] == rule
    for cluster, size in enumerate([4, 4, 3, 3]):
        mine = [row for row in table if row["cluster"] == cluster]
        assert [row["rank"] for row in mine] == list(range(1, len(mine) + 1))
        assert mine[0]["votes"] == pytest.approx(size, rel=0.05)
        assert mine[0]["score"] > 0.9 and sum(row["score"] for row in mine) <= 1 + 1e-6


def test_a_cluster_without_images_has_no_caption(store):
    made = make(
        store,
        Caption(),
        embeddings_of(store, [X]),
        words_of(store, {"words": NAMES}),
        assignments_of(store, [np.array([0, 0, 3, 3])]),
    )
    assert {row["cluster"] for row in rows(made)} == {0, 3}


def test_a_word_in_two_vocabularies_counts_once(store):
    x, clusters = embeddings_of(store, [X]), assignments_of(store, [np.arange(4)])
    apart = words_of(store, {"a": NAMES[:3], "b": ("Cat", "DOG", *NAMES[3:])})
    once = words_of(store, {"words": NAMES})
    both = [make(store, Caption(), x, words, clusters) for words in (apart, once)]
    assert both[0].version != both[1].version
    assert rows(both[0]) == rows(both[1])


def test_reading_in_blocks_changes_no_caption(store, monkeypatch):
    rng = np.random.default_rng(0)
    x = embeddings_of(store, [rng.normal(size=(23, 6)), rng.normal(size=(11, 6))])
    words = words_of(store, {"words": NAMES})
    clusters = assignments_of(store, [rng.integers(3, size=23), rng.integers(3, size=11)])
    whole = make(store, Caption(), x, words, clusters)
    monkeypatch.setattr(captions, "_ROWS", 4)
    again = make(Store(store.root / "other"), Caption(), x, words, clusters)
    for row, other in zip(rows(whole), rows(again), strict=True):
        assert row["caption"] == other["caption"]
        assert row["votes"] == pytest.approx(other["votes"])


def hierarchy_of(store: Store, mergings: Sequence[tuple[int, int]]) -> Artifact:
    """A hierarchy with the given merges."""
    finest = len(mergings) + 1

    def write(scratch):
        from safetensors.numpy import save_file

        columns = {
            "level": list(range(finest, 0, -1)),
            "parent": [None, *range(finest, finest + len(mergings))],
            "left": [None, *(left for left, _ in mergings)],
            "right": [None, *(right for _, right in mergings)],
            "coding_length_nats": [0.0] * finest,
        }
        scratch.write_table("rows", columns)
        nothing = np.zeros(1, np.float32)
        save_file({"centroids": nothing, "pieces": nothing}, scratch.path("leaves"))
        return Product(rows=finest, shared={"finest": finest, "shortest": 1})

    return publish(store, HIERARCHY, {}, {"hierarchy": write})


@pytest.mark.parametrize("rule", ["vote", "contrast"])
def test_every_level_of_a_hierarchy_gets_captions(store, rule):
    """Cats close by (0) and outdoors (3) merge first, then dogs (1) join them; cars (2) last."""
    x = np.stack([CAT + ANIMAL + 0.4 * CLOSE, DOG + ANIMAL, CAR, CAT + ANIMAL + 0.4 * OUTDOORS])
    # The run's clusters are level 3, numbered by the leaves that they begin with.
    clusters = np.array([[0, 0], [1, 1], [2, 2], [0, 3]])
    words = words_of(store, {"words": NAMES})
    made = make(
        store,
        Caption(rule=rule, levels=True),
        embeddings_of(store, [x]),
        words,
        assignments_of(store, [clusters], k=[3, 4], method="hierarchy"),
        hierarchy_of(store, [(0, 3), (1, 4), (2, 5)]),
    )
    levels = {
        level: [row for row in rows(made, "levels") if row["level"] == level]
        for level in (4, 3, 2, 1)
    }
    assert sum(map(len, levels.values())) == len(rows(made, "levels"))
    level_of = {name: [row[name] for row in levels[3]] for name in ("cluster", "caption", "votes")}
    assert level_of == {name: [row[name] for row in rows(made)] for name in level_of}
    heads = {
        level: [caption.split(", ")[0] for caption in first_captions(table)]
        for level, table in levels.items()
    }
    for level, table in levels.items():
        assert len(set(first_captions(table))) == len(first_captions(table)) == level
    assert heads[2] == ["animal", "car"]
    assert {"cat", "dog"} <= {row["caption"] for row in levels[3]} | set(heads[3])


def test_captions_of_a_real_hierarchy_cover_every_level(tmp_path, digit_shards):
    settings = SETTINGS.override("assign", k=(3, 5), method="hierarchy")
    plan = plan_of(Store(tmp_path), digit_shards, settings)
    made = plan.make("captions")
    levels = rows(made, "levels")
    assert {row["level"] for row in levels} == set(range(1, 6))
    assert {row["cluster"] for row in rows(made)} == set(range(3))
    # Levels are those that `assign` cuts: captions of a coarser cut are the same.
    coarser = plan_of(Store(tmp_path), digit_shards, SETTINGS.override(
        "assign", k=2, method="hierarchy")).make("captions")  # fmt: skip
    assert first_captions([row for row in levels if row["level"] == 2]) == first_captions(
        rows(coarser)
    )


def test_fewer_than_one_vote_is_refused():
    with pytest.raises(ConfigError, match=r"caption\.top must be at least 1, got 0"):
        Caption(top=0)


def test_clusters_with_equal_captions_are_numbered(store):
    made = make(
        store,
        Caption(),
        embeddings_of(store, [X[:1].repeat(9, 0)]),
        words_of(store, {"words": NAMES}),
        assignments_of(store, [np.arange(3).repeat(3)]),
    )
    (name, *others) = first_captions(rows(made))
    assert "," not in name and others == [f"{name} (2)", f"{name} (3)"]
