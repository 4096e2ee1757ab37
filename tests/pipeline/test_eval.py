"""`cpp-pipe eval`: the rows that are scored, the report, and the baselines."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from cpp_pipe import Run
from cpp_pipe.pipeline.commands.evaluate import evaluation_report, evaluation_table
from cpp_pipe.pipeline.view import evaluation
from cpp_pipe.pipeline.view.evaluation import evaluate
from cpp_pipe.pipeline.view.labels import Scope, fitted_parts
from cpp_pipe.stages.encoding.part_tables import EmbeddingRows
from cpp_pipe.store import ConfigError, MissingError, Product, Recipe, Store
from cpp_pipe.store.kinds import ASSIGNMENTS, KINDS
from cpp_pipe.store.specs import Blob, Table, Tensors

from ..stages.shards import write_shards
from ..store.stores import model_of
from .cli import SMALL, body, embed, fail, succeed

# What is made by hand: twelve rows that were fitted on, six that came later.

LABELS = {
    "a": ["cat"] * 4 + ["dog"] * 4 + ["owl"] * 3 + [None],
    "b": ["cat"] * 3 + ["dog"] * 2 + [None],
}
CLUSTERS = {"a": [2, 2, 2, 0, 0, 0, 0, 0, 1, 1, 0, 0], "b": [2, 2, 3, 0, 2, 1]}
CONFIDENCES = {"a": [0.9] * 10 + [0.1, 0.5], "b": [0.9, 0.8, 0.2, 0.7, 0.3, 0.5]}
SPLITS = {"a": ["train"] * 6 + ["test"] * 6, "b": ["train"] * 2 + ["test"] * 3 + [None]}
CAME = {"a": "early", "b": "late"}
CONFIGS = {
    "assignments": {"k": [5, 2], "method": "spectral"},
    "spectrum": {"seed": 0},
    "k_curve": {"clear": 0.3},
}
FITTED = {
    "heads": {"embedding_size": 8},
    "spectrum": {"k_max": 4, "affinity": "membership", "rows_in_all": 12},
    "hierarchy": {"finest": 1, "shortest": 1},
    "k_curve": {
        **dict.fromkeys(("chosen", "shortest", "k_max", "span_low", "span_high"), 1),
        **dict.fromkeys(("loose", "rows_measured", "rows_in_all", "resamples"), 0),
        **{"decided_by": "code", "bic": None, "communities": None, "runners_up": []},
        "one_cluster_nats": 0.0,
    },
}
NUMBERS = {"cat": 0, "dog": 1, "owl": 2, None: 3}


def publish(store, kind, writers, inputs=()):
    """An artifact whose parts are written by functions; its version follows from its inputs."""
    made = Recipe(
        kind=kind,
        format=KINDS[kind].format,
        stage="test",
        revision=1,
        config=CONFIGS.get(kind, {}),
        parts={
            name: {artifact.kind.name: artifact.content for artifact in inputs} for name in writers
        },
    )
    draft = store.draft(made)
    for name, write in writers.items():
        draft.make_part(name, write)
    return draft.publish(
        {artifact.kind.name: artifact for artifact in inputs}, {"date": "2026-01-01"}
    )


def embeddings_of(store, *parts):
    def writer(name):
        rng = np.random.default_rng(0)
        x = 9 * np.eye(4, 8)[[NUMBERS[label] for label in LABELS[name]]]
        x += rng.normal(size=x.shape)
        rows = [
            {
                "key": f"{name}{i}",
                "label": label,
                "extra": json.dumps({"came": CAME[name], "split": split}),
            }
            for i, (label, split) in enumerate(zip(LABELS[name], SPLITS[name], strict=True))
        ]
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return EmbeddingRows(shard=f"{name}.tar", size=8, rows=rows, embeddings=[x])

    writers = {
        name: lambda scratch, name=name: writer(name).write(scratch, {}, model_of(8))
        for name in parts
    }
    return publish(store, "embeddings", writers)


def assignments_of(store, *inputs):
    """Clusters of both parts, and their parity as a second clustering."""
    schema = ASSIGNMENTS.table().schema(numbers=[2])

    def write(scratch, name):
        clusters = np.array(CLUSTERS[name])
        columns = {
            "key": [f"{name}{i}" for i in range(len(clusters))],
            "cluster": clusters,
            "confidence": CONFIDENCES[name],
            "novelty": np.zeros(len(clusters)),
            "cluster_2": clusters % 2,
            "confidence_2": np.ones(len(clusters)),
        }
        pq.write_table(pa.Table.from_pydict(columns, schema=schema), scratch.path("rows"))
        return Product(rows=len(clusters), shared={"k": 4, "clusters": {"5": 4, "2": 2}})

    writers = {name: lambda scratch, name=name: write(scratch, name) for name in LABELS}
    return publish(store, "assignments", writers, inputs)


def fitted_on(store, kind, *inputs):
    """A fit that holds nothing but its inputs."""

    def write(scratch):
        for role, spec in KINDS[kind].files.items():
            path = scratch.path(role)
            if isinstance(spec, Table):
                pq.write_table(spec.schema().empty_table(), path)
            elif isinstance(spec, Tensors):
                save_file({name: np.zeros(1) for name in spec.names or ("weight",)}, path)
            else:
                assert isinstance(spec, Blob)
                path.write_bytes(b"an image")
        return Product(rows=0, shared=FITTED[kind])

    return publish(store, kind, {kind: write}, inputs)


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """Embeddings of both parts, assignments, and the fitted parts, of which there is only a."""
    store = Store(tmp_path_factory.mktemp("by-hand"))
    old, now = embeddings_of(store, "a"), embeddings_of(store, "a", "b")
    heads, spectrum = fitted_on(store, "heads", old), fitted_on(store, "spectrum", old)
    assignments = assignments_of(store, now, heads, spectrum)
    return now, assignments, fitted_parts(store, assignments)


def score(by_hand, k=None, **scope):
    embeddings, assignments, fitted = by_hand
    return evaluate(embeddings, assignments, "cls", None, k=k, scope=Scope(**scope), fitted=fitted)


def test_every_row_with_a_label_is_scored_and_the_others_are_counted(by_hand):
    found = score(by_hand)
    assert (found.part, found.where) == ("all", None)
    assert (found.n, found.unlabelled, found.classes, found.k) == (16, 2, 3, 4)
    # cat is 2, dog is 0, owl is 1; cluster 3 is left over.
    assert found.clusters.acc == pytest.approx(12 / 16)
    assert 0 < found.chance.acc < found.clusters.acc
    assert found.kmeans.acc == 1.0


def test_clusters_come_with_size_purity_and_the_name_of_their_majority(by_hand):
    rows = [
        (entry.cluster, entry.size, entry.purity, entry.majority)
        for entry in score(by_hand).per_cluster
    ]
    assert rows == [
        (0, 7, pytest.approx(5 / 7), "dog"),
        (1, 2, 1.0, "owl"),
        (2, 6, pytest.approx(5 / 6), "cat"),
        (3, 1, 1.0, "cat"),
    ]


def test_mistakes_name_the_class_the_cluster_and_its_match(by_hand):
    found = score(by_hand).mistakes
    assert [
        (mistake.label, mistake.cluster, mistake.matched, mistake.rows) for mistake in found
    ] == [
        ("cat", 0, "dog", 1),
        ("cat", 3, None, 1),
        ("dog", 2, "cat", 1),
        ("owl", 0, "dog", 1),
    ]
    assert [one.share for one in found] == pytest.approx([1 / 7, 1 / 7, 1 / 6, 1 / 3])


def test_rows_of_higher_confidence_are_more_often_right(by_hand):
    deciles = score(by_hand).deciles
    assert [decile.rows for decile in deciles] == [2] * 6 + [1] * 4
    # The four mistakes: confidence 0.1, 0.2 and 0.3, and one at 0.9, the fifth of all rows.
    assert [decile.confidence for decile in deciles] == pytest.approx([0.15, 0.5, 0.85] + [0.9] * 7)
    assert [decile.accuracy for decile in deciles] == [0, 0.5, 1, 1, 0.5, 1, 1, 1, 1, 1]
    assert [decile.purity for decile in deciles] == [0.5, 0.5, 1, 1, 0.5, 1, 1, 1, 1, 1]


def test_held_out_rows_are_those_that_no_fit_used(by_hand):
    whole, fitted, held_out = (score(by_hand, part=part) for part in ("all", "fitted", "held-out"))
    assert (held_out.n, held_out.unlabelled, held_out.part) == (5, 1, "held-out")
    assert (fitted.n, fitted.unlabelled, fitted.part) == (11, 1, "fitted")
    assert fitted.n + held_out.n == whole.n
    assert held_out.classes == 2
    assert held_out.clusters.acc == pytest.approx(3 / 5)


def test_k_means_of_a_held_out_part_is_fitted_on_the_fitted_rows(by_hand):
    # Two classes are held out: four clusters fitted on them alone would cut them up.
    assert score(by_hand, part="held-out").kmeans.acc == 1.0
    embeddings, assignments, _ = by_hand
    alone = evaluate(embeddings, assignments, "cls", None, scope=Scope(where="came=late"))
    assert alone.n == 5 and alone.kmeans.acc < 1.0
    assert score(by_hand, where="came=late").kmeans.acc == 1.0


def test_k_means_is_fitted_to_rows_without_labels_too(by_hand, tmp_path):
    embeddings, assignments, _ = by_hand
    table = tmp_path / "labels.csv"
    table.write_text("key,label\na0,cat\na1,cat\na2,cat\na3,cat\na4,dog\n")
    found = evaluate(embeddings, assignments, "cls", table)
    assert (found.n, found.unlabelled, found.k) == (5, 13, 4)
    # Four clusters of the five rows alone would cut the cats up.
    assert found.kmeans.acc == 1.0


def test_k_means_of_many_rows_is_called_mini_batch_k_means(by_hand, monkeypatch):
    monkeypatch.setattr(evaluation, "MOST_KMEANS_ROWS", 12)
    # The first part has twelve rows, both have eighteen.
    few = score((*by_hand[:2], None), where="came=early")
    many = score((*by_hand[:2], None))
    assert (few.kmeans_method, many.kmeans_method) == ("k-means", "mini-batch k-means")
    assert many.to_json()["kmeans_method"] == "mini-batch k-means"
    names = [evaluation_table(found).splitlines()[3] for found in (few, many)]
    assert [len(name) for name in names] == [57, 57]
    assert names[0].startswith("k-means on the embeddings ")
    assert names[1].startswith("mini-batch k-means on the embeddings ")


def test_k_means_of_equal_images_warns_of_nothing(monkeypatch):
    x = np.ones((30, 4), np.float32)
    assert set(evaluation.cluster_by_kmeans(x, x, 3, 0)) == {0}
    monkeypatch.setattr(evaluation, "MOST_KMEANS_ROWS", 10)
    assert len(evaluation.cluster_by_kmeans(x, x, 3, 0)) == 30


@pytest.mark.parametrize("kind", ["spectrum", "k_curve", "hierarchy"])
def test_rows_that_any_fit_used_are_not_held_out(tmp_path, kind):
    store = Store(tmp_path)
    old, now = embeddings_of(store, "a"), embeddings_of(store, "a", "b")
    heads, fit = fitted_on(store, "heads", old), fitted_on(store, kind, now)
    assignments = assignments_of(store, now, heads, fit)
    seen = fitted_parts(store, assignments)
    assert seen == {part.content for part in now.parts}
    with pytest.raises(MissingError, match=r"on each of the 18 rows of the run: `cpp-pipe embed`"):
        evaluate(now, assignments, "cls", None, scope=Scope(part="held-out"), fitted=seen)


def test_a_field_of_the_rows_names_a_split(by_hand):
    found = score(by_hand, where="split=test")
    assert (found.n, found.unlabelled, found.where) == (8, 1, "split=test")
    assert score(by_hand, where="split=train").n == 8
    assert score(by_hand, where="split=test", part="held-out").n == 3


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ({"where": "split=tset"}, "--where split=tset has no rows: split is test, train"),
        (
            {"where": "fold=1"},
            "--where fold=1 has no rows: the first row has the JSON fields came, split",
        ),
        ({"where": "split=tset", "part": "fitted"}, "--part fitted --where split=tset has no rows"),
    ],
)
def test_an_unknown_split_names_the_known_ones(by_hand, scope, message):
    with pytest.raises(MissingError, match=message):
        score(by_hand, **scope)


@pytest.mark.parametrize("where", ["split", "=test", ""])
def test_a_split_without_field_or_value_is_refused(where):
    with pytest.raises(ConfigError, match=r"must be FIELD=VALUE, e\.g\. split=test"):
        Scope(where=where)


def test_an_unknown_part_is_refused():
    with pytest.raises(ConfigError, match="--part must be all, fitted or held-out, got 'test'"):
        Scope(part="test")


def test_clusters_of_another_k_are_scored_by_their_own_columns(by_hand):
    found = score(by_hand, k=2)
    assert found.k == 2
    assert [entry.cluster for entry in found.per_cluster] == [0, 1]
    assert {decile.confidence for decile in found.deciles} == {1.0}
    assert score(by_hand, k=5) == score(by_hand)
    with pytest.raises(ConfigError, match="have columns for k = 5, 2"):
        score(by_hand, k=3)


def test_the_report_is_short_and_the_json_holds_everything(by_hand):
    found = score(by_hand, part="fitted", where="split=test")
    assert json.loads(json.dumps(found.to_json()))["mistakes"][0]["matched"] == "dog"
    lines = evaluation_report(found).splitlines()
    table = evaluation_table(found).splitlines()
    assert lines[: len(table)] == table and len(table) == 5
    assert "part fitted   where split=test   unlabelled, left out 1" in table[0]
    assert lines[len(table) :] == [
        "accuracy by confidence, lowest tenth first: 0.00 1.00 1.00 1.00 1.00",
        "clusters with the most rows outside their majority class:",
        "  0: 3 rows, purity 0.67, mostly dog",
        "largest mistakes:",
        "  owl -> cluster 0 (matched to dog), 1 row, 33% of owl",
        "--json prints all clusters and mistakes",
    ]


def test_a_label_of_several_lines_stays_on_its_line(by_hand):
    found = score(by_hand)
    folded = replace(
        found,
        per_cluster=[replace(row, majority="a\nb") for row in found.per_cluster],
        mistakes=[replace(mistake, label="a\nb", matched="c\nd") for mistake in found.mistakes],
    )
    lines = evaluation_report(folded).splitlines()
    assert len(lines) == len(evaluation_report(found).splitlines())
    assert "  a\\nb -> cluster 0 (matched to c\\nd), 1 row, 14% of a\\nb" in lines


# What the commands make.


@pytest.fixture(scope="module")
def assigned(tmp_path_factory, digit_shards):
    """A store of sixty digits in ten clusters."""
    store = tmp_path_factory.mktemp("assigned") / "artifacts"
    embed(store, digit_shards)
    succeed(store, "train", *SMALL)
    succeed(store, "assign", "--k", "10")
    return store


@pytest.fixture(scope="module")
def digits(tmp_path_factory, digit_shards):
    """A store of sixty digits that are embedded, and no more."""
    store = tmp_path_factory.mktemp("digits") / "artifacts"
    embed(store, digit_shards)
    return store


def scores_of(store, *flags):
    return json.loads(succeed(store, "eval", "--json", *flags).out)


def test_the_command_reports_scores_clusters_mistakes_and_deciles(assigned):
    scores = scores_of(assigned)
    assert (scores["n"], scores["k"], scores["part"]) == (60, 10, "all")
    for beside in ("clusters", "chance", "kmeans"):
        assert set(scores[beside]) == {"acc", "nmi", "ari"}
    assert scores["clusters"]["acc"] > scores["chance"]["acc"]
    assert sum(entry["size"] for entry in scores["per_cluster"]) == 60
    assert (
        sum(decile["rows"] for decile in scores["deciles"]) == 60 and len(scores["deciles"]) == 10
    )
    mean = sum(decile["accuracy"] * decile["rows"] for decile in scores["deciles"]) / 60
    assert mean == pytest.approx(scores["clusters"]["acc"])
    wrong = sum(mistake["rows"] for mistake in scores["mistakes"]) / 60
    assert wrong == pytest.approx(1 - scores["clusters"]["acc"])
    report = succeed(assigned, "eval").out
    assert "accuracy by confidence, lowest tenth first: " in report
    assert body(report)[-1] == "--json prints all clusters and mistakes"
    page = (Path(__file__).parents[2] / "docs" / "folder.md").read_text(encoding="utf-8")
    assert body(report)[-1] in page, "the page shows an earlier report"


def test_the_command_scores_the_rows_of_a_split(assigned):
    odd, even = (scores_of(assigned, "--where", f"parity={parity}") for parity in (1, 0))
    assert odd["n"] + even["n"] == 60
    assert {entry["majority"] for entry in odd["per_cluster"]} <= set("13579")
    assert "parity is 0, 1" in fail(assigned, "eval", "--where", "parity=2")


@pytest.mark.parametrize("command", ["eval", "report"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory): name a .csv or .parquet of key and"),
        ("", "cannot be read as a table (Empty CSV file): write it as .csv in UTF-8"),
        ("key;label\nnokey;cat\n", "key and label, separated by commas, got key;label"),
        ("key,label\n", "labels.csv has no labels: write a key and a label into each row"),
        ("key,label\n{key}, \n", "labels.csv has no labels: write a key and a label"),
        ("key,label\nnokey,cat\n", "among the 60 rows to score: write keys such as {key}"),
    ],
)
def test_labels_that_do_not_fit_are_refused_before_any_work(
    digits, tmp_path, command, content, message
):
    key = Run.open(digits).artifact("embeddings").column("key")[0]
    table = tmp_path / "labels.csv"
    if content is not None:
        table.write_text(content.format(key=key))
    assert message.format(key=key) in fail(digits, command, "--labels", table)
    assert set(Store(digits).runs.read("default").versions) == {"embeddings"}
    with pytest.raises((ConfigError, MissingError)):
        Run.open(digits).evaluate(labels=table)
    assert set(Store(digits).runs.read("default").versions) == {"embeddings"}


def test_a_label_and_a_split_that_no_image_has_are_refused_before_any_work(digits):
    assert "has the label 'typo'" in fail(digits, "eval", "--label", "typo")
    assert "parity is 0, 1" in fail(digits, "eval", "--where", "parity=2")
    assert set(Store(digits).runs.read("default").versions) == {"embeddings"}


def test_the_command_scores_one_of_the_numbers_of_clusters(assigned, digit_shards):
    assert scores_of(assigned, "--k", "10") == scores_of(assigned)
    assert "have columns for k = 10" in fail(assigned, "eval", "--k", "7")
    run = ("--run", "several")
    embed(assigned, digit_shards, more=run)
    succeed(assigned, "train", *SMALL, *run)
    succeed(assigned, "assign", "--k", "10,4", *run)
    coarse = scores_of(assigned, "--k", "4", *run)
    assert len(coarse["per_cluster"]) <= coarse["k"] <= 4
    assert scores_of(assigned, "--k", "10", *run) == scores_of(assigned, *run)


def test_held_out_is_refused_if_every_row_was_fitted(assigned):
    line = fail(assigned, "eval", "--part", "held-out")
    assert "fitted on each of the 60 rows of the run" in line and "`cpp-pipe embed --store " in line
    assert scores_of(assigned, "--part", "fitted")["n"] == 60
    assert "all, fitted or held-out, got" in fail(assigned, "eval", "--part", "test")


def test_later_shards_are_held_out_until_they_are_fitted(assigned, digit_shards, tmp_path):
    run = ("--run", "grown")
    embed(assigned, digit_shards, more=run)
    succeed(assigned, "train", *SMALL, *run)
    succeed(assigned, "assign", "--k", "10", *run)
    write_shards(tmp_path, shards=1, first=200)
    os.rename(tmp_path / "000.tar", tmp_path / "new.tar")
    embed(assigned, digit_shards, tmp_path, more=run)
    sizes = {}
    for part in ("held-out", "fitted", "all"):
        scores = scores_of(assigned, *run, "--part", part)
        sizes[part] = scores["n"]
        assert sum(entry["size"] for entry in scores["per_cluster"]) == scores["n"]
        assert scores["part"] == part and 0 < scores["chance"]["acc"] < scores["kmeans"]["acc"]
    assert sizes == {"held-out": 20, "fitted": 60, "all": 80}
    succeed(assigned, "train", *run)
    assert "fitted on each of the 80 rows" in fail(assigned, "eval", "--part", "held-out", *run)
