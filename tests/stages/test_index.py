"""Indexes: exact for few rows, approximate for many, with their measured recall."""

import json
import sys
from typing import Any

import faiss
import numpy as np
import pytest

from benchmarks.measure import result_and_peak
from cpp_pipe.pipeline.making.engines.local import make_parts
from cpp_pipe.pipeline.run_slots import share_kept
from cpp_pipe.pipeline.view.searcher import Searcher
from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.fit_quantizer import FitQuantizer
from cpp_pipe.stages.index import Index
from cpp_pipe.stages.indexing.factory import Factory
from cpp_pipe.stages.indexing.faiss_library import has_gpu, read_index, write_index
from cpp_pipe.stages.indexing.lists import PartLists, trained_bytes, write_merged
from cpp_pipe.stages.indexing.opened_index import OpenedIndex
from cpp_pipe.stages.indexing.recall_curve import curve_of, recall_at, width_for
from cpp_pipe.stages.indexing.vectors import VectorRows
from cpp_pipe.stages.quantize import Quantize
from cpp_pipe.stages.rows.part_rows import join_features
from cpp_pipe.store import ConfigError, Product, QueryError, Recipe, Scratch, Store, StoreError
from cpp_pipe.store.kinds import INDEX, QUANTIZER
from cpp_pipe.store.residency import Residency

from ..store.stores import model_of
from .indexes import (
    SIZE,
    features_of_one_head,
    fit,
    index_of,
    made_rows,
    make,
    make_features,
    neighbours,
    share,
    split,
)

ROWS = 3000

FACTORIES = [
    "Flat",
    "HNSW32,Flat",
    "HNSW16,SQfp16",
    "HNSW16,SQ8",
    "IVF64,Flat",
    "IVF64,SQfp16",
    "IVF64,SQ8",
    "IVF64,SQ4",
    "IVF64,PQ8",
    "IVF300,SQfp16",
    "IVF64_HNSW8,SQ8",
]


def recall_of(searcher: Searcher, z: np.ndarray, target: float, n: int = 10) -> float:
    """Share of the nearest rows, including the query itself, that a search finds."""
    shares = []
    for query in z[::50]:
        rows = searcher.nearest(query[None], n, target_recall=target)[1]
        shares.append(share(rows.tolist(), neighbours(z, query, n)))
    return float(np.mean(shares))


@pytest.mark.parametrize("factory", FACTORIES)
def test_measured_recall_agrees_with_brute_force(tmp_path, factory):
    z = made_rows(ROWS)
    features = make_features(Store(tmp_path / "one"), split(z, 3))
    index = index_of(Store(tmp_path / "one"), features, factory)
    assert index.facts["factory"] == factory and index.rows == ROWS
    searcher = Searcher(features, index)
    for target in (0.8, 0.95):
        curve = curve_of(index.facts)
        measured = recall_at(curve, width_for(curve, target))
        assert measured >= target
        # Recall was measured on other queries.
        assert recall_of(searcher, z, target) >= measured - 0.04
    other = make_features(Store(tmp_path / "two"), split(z, 3))
    assert index_of(Store(tmp_path / "two"), other, factory).content == index.content


@pytest.mark.parametrize("n", [19, 50])
def test_of_more_than_ten_neighbours_as_large_a_share_is_found(tmp_path, n):
    """A search for 11 to 19 rows visited the lists of one for ten, and missed more of them."""
    z, store = made_rows(ROWS), Store(tmp_path)
    features = make_features(store, split(z, 3))
    searcher = Searcher(features, index_of(store, features, "IVF60,SQfp16"))
    assert recall_of(searcher, z, 0.9, n=n) >= 0.9


@pytest.mark.parametrize("factory", FACTORIES)
def test_similarities_are_exact_for_every_factory(tmp_path, factory):
    z = made_rows(ROWS)
    store = Store(tmp_path)
    features = make_features(store, split(z, 3))
    searcher = Searcher(features, index_of(store, features, factory))
    similarities, rows = searcher.nearest(z[1234][None], 20)
    is_lossless_graph = factory == "HNSW16,SQfp16"
    assert rows[0] == 1234 and (np.diff(similarities) <= 0).all()
    exact = z[rows].astype(np.float32) @ z[1234].astype(np.float32)
    assert np.abs(similarities - exact).max() < (1e-5 if is_lossless_graph else 2e-6)


def test_recall_rises_with_the_width_of_the_search(tmp_path):
    store = Store(tmp_path)
    features = make_features(store, split(made_rows(ROWS), 2))
    curve = curve_of(index_of(store, features, "IVF300,SQfp16").facts)
    widths, recalls = zip(*curve, strict=True)
    assert list(widths) == sorted(set(widths)) and list(recalls) == sorted(recalls)
    assert recalls[0] < 0.9 < recalls[-1]
    # Requires a fifth less loss than the target allows.
    assert width_for(curve, 0.9) == next(w for w, r in curve if r >= 0.92)
    # Around the usual targets, a width is at most an eighth above the one before.
    for target in (0.9, 0.95, 0.99):
        wide = width_for(curve, target)
        narrow = max(width for width in widths if width < wide)
        assert wide - narrow <= max(1, narrow // 8)
    assert width_for([(1, 0.5), (2, 0.7), (4, 0.7)], 0.9) == 2


def test_a_copy_of_the_query_in_an_equal_part_is_no_neighbour(tmp_path):
    """Every query found its copy at once, so recall was measured 0.1 too high."""
    store, z = Store(tmp_path), made_rows(ROWS)
    features = make_features(store, {"one": z, "two": z})
    quantizer = fit(store, features, "IVF300,SQfp16")
    index = index_of(store, features, "IVF300,SQfp16", quantizer)
    curve = curve_of(index.facts)
    assert curve[-1][1] > 0.99
    path, factory = index.path("index", "index"), Factory.parse("IVF300,SQfp16")
    opened = OpenedIndex(path, factory, VectorRows(features))
    numbers = quantizer.tensors(quantizer.only_part, "held_out")["rows"]
    found = opened.search(z[numbers].astype(np.float32), 12, curve[0][0]).rows
    found = np.where(found < 0, -1, found % ROWS)
    shares = []
    for number, rows in zip(numbers.tolist(), found.tolist(), strict=True):
        # Five other rows, each of them twice.
        wanted = [row for row in neighbours(z, z[number], 7) if row != number][:5]
        shares.append(sum(min(rows.count(row), 2) for row in wanted) / 10)
    assert curve[0][1] == pytest.approx(np.mean(shares), abs=0.01)
    assert curve[0][1] < 0.9


@pytest.mark.parametrize("factory", ["IVF64,SQfp16", "IVF64,SQ8", "IVF64_HNSW8,PQ8"])
def test_lists_of_parts_merge_into_the_index_of_all_rows(tmp_path, factory):
    z = made_rows(ROWS)
    files = []
    for parts in (1, 4):
        store = Store(tmp_path / str(parts))
        index = index_of(store, make_features(store, split(z, parts)), factory)
        files.append(index.path("index", "index").read_bytes())
        curve = index.facts["curve"]
    assert files[0] == files[1]
    assert curve[-1][1] > 0.99


def test_faiss_reads_the_merged_file(tmp_path):
    z = made_rows(ROWS)
    store = Store(tmp_path)
    index = index_of(store, make_features(store, split(z, 3)), "IVF64,SQfp16")
    opened: Any = faiss.read_index(str(index.path("index", "index")))
    assert opened.ntotal == ROWS
    opened.nprobe = 64
    _, rows = opened.search(z[:50].astype(np.float32), 10)
    assert [row.tolist() for row in rows] == [neighbours(z, query, 10) for query in z[:50]]


def test_threads_do_not_change_the_bytes(tmp_path):
    z = made_rows(ROWS)
    contents = []
    before = faiss.omp_get_max_threads()
    try:
        for threads in (1, 2, 3):
            faiss.omp_set_num_threads(threads)
            store = Store(tmp_path / str(threads))
            features = make_features(store, split(z, 2))
            contents.append(index_of(store, features, "IVF300,PQ8").content)
    finally:
        faiss.omp_set_num_threads(before)
    assert contents[0] == contents[1] == contents[2]


def test_two_processes_list_the_parts_as_one_does(tmp_path):
    features = make_features(Store(tmp_path / "one"), split(made_rows(ROWS), 4))
    quantizer = fit(Store(tmp_path / "one"), features, "IVF64,SQ8")
    inputs = {"features": features, "quantizer/features": quantizer}
    stage = Quantize(space="features")
    alone = make(stage, Store(tmp_path / "one"), inputs)
    parts = stage.parts(inputs, Runtime())
    draft = Store(tmp_path / "two").draft(stage.recipe(parts))
    assert make_parts(stage, draft, parts, inputs, Runtime(workers=2)) == []
    assert draft.publish(inputs, {}).content == alone.content


def test_only_new_parts_are_listed_and_removed_rows_are_gone(tmp_path):
    store = Store(tmp_path)
    old, new = split(made_rows(ROWS), 3), made_rows(500, seed=7)
    before = make_features(store, old)
    quantizer = fit(store, before, "IVF64,SQfp16")
    index_of(store, before, "IVF64,SQfp16", quantizer)
    kept = {"part-0": old["part-0"], "part-2": old["part-2"], "part-9": new}
    after = make_features(store, kept)
    inputs = {"features": after, "quantizer/features": quantizer}
    listed = make(Quantize(space="features"), store, inputs)
    versions = [artifact for artifact in store.artifacts() if artifact.kind.name == "lists"]
    (other,) = [artifact for artifact in versions if artifact.version != listed.version]
    for name in ("part-0", "part-2"):
        assert listed.path(name, "codes").samefile(other.path(name, "codes"))
    index = index_of(store, after, "IVF64,SQfp16", quantizer)
    z = np.concatenate(list(kept.values()))
    searcher = Searcher(after, index)
    found = [searcher.nearest(query[None], 10, target_recall=1)[1].tolist() for query in new[:50]]
    assert (
        np.mean([share(f, neighbours(z, q, 10)) for f, q in zip(found, new, strict=False)]) > 0.99
    )
    # No row of the removed part is left, although some held-out queries came from it.
    assert index.rows == len(z)
    assert curve_of(index.facts)[-1][1] > 0.99


def test_a_quantizer_is_kept_while_half_of_its_rows_exist(tmp_path):
    store, parts = Store(tmp_path), split(made_rows(ROWS), 4)
    old = make_features(store, parts)
    names, least = list(parts), QUANTIZER.least_kept
    assert least is not None
    for kept, serves in ((4, True), (2, True), (1, False)):
        now = make_features(store, {name: parts[name] for name in names[:kept]})
        assert (share_kept(store, old, now) >= least) is serves
    more = make_features(store, {**parts, "part-9": made_rows(5000, seed=3)})
    assert share_kept(store, old, more) == 1


def test_an_index_of_other_rows_or_of_another_model_is_refused(tmp_path):
    store = Store(tmp_path)
    one = make_features(store, split(made_rows(ROWS), 2))
    index = index_of(store, one, "IVF64,SQ8")
    other = make_features(store, split(made_rows(ROWS, seed=5), 2))
    with pytest.raises(QueryError, match="run `cpp-pipe index`"):
        Searcher(other, index)
    same_rows = make_features(store, split(made_rows(ROWS), 2), model_of(SIZE, model="another"))
    with pytest.raises(QueryError, match="rows of another model"):
        Searcher(same_rows, index)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts memory in this way")
def test_lists_are_released_while_they_are_merged_and_searched(tmp_path, monkeypatch):
    """Ten million rows took 10 GiB of memory, because mapped files stayed in memory."""
    released = []
    trim = Residency.trim

    def watched(residency: Residency) -> bool:
        released.append(trim(residency))
        return released[-1]

    z, contents = made_rows(ROWS), []
    for limit in (1 << 40, 0):
        monkeypatch.setattr("cpp_pipe.stages.index._MAPPED_BYTES", limit)
        monkeypatch.setattr("cpp_pipe.stages.index.Residency.trim", watched)
        store = Store(tmp_path / str(limit))
        features = make_features(store, split(z, 3))
        contents.append(index_of(store, features, "IVF64,SQfp16").content)
        assert all(released) is (limit == 0) and len(released) > 1
        released.clear()
    assert contents[0] == contents[1]


def test_an_old_index_of_joined_rows_is_still_searched(tmp_path):
    """It holds z and c joined, which for rows of one head give the same cosines."""
    store, z = Store(tmp_path), made_rows(500)
    features = features_of_one_head(store, split(z, 2))
    recipe = Recipe(
        kind="index",
        format=INDEX.format,
        stage="index",
        revision=3,
        config={},
        parts={"index": {"features": features.content}},
    )

    def write(scratch: Scratch) -> Product:
        index = faiss.IndexFlatIP(2 * SIZE)
        index.add(join_features(z, z).astype(np.float32))
        write_index(index, scratch.path("index"))
        facts = {
            "space": "features",
            "factory": "Flat",
            "rows": len(z),
            "width": 2 * SIZE,
            "curve": [[1, 1.0]],
        }
        scratch.path("facts").write_text(json.dumps(facts), encoding="utf-8")
        return Product(rows=len(z), shared={**facts, "model": dict(features.facts["model"])})

    draft = store.draft(recipe)
    draft.make_part("index", write)
    old = Searcher(features, draft.publish({"features": features}, {}))
    new = Searcher(features, index_of(store, features, "Flat"))
    assert (old.rows.width, new.rows.width) == (2 * SIZE, SIZE)
    for row in (0, 123, 499):
        similarities, rows = old.nearest(old.rows.join(z[[row]], z[[row]]), 5)
        expected, same_rows = new.nearest(new.rows.join(z[[row]], z[[row]]), 5)
        assert rows.tolist() == same_rows.tolist()
        np.testing.assert_allclose(similarities, expected, atol=1e-3)  # joined, halves are rounded


def test_a_damaged_index_says_what_to_do(tmp_path):
    store = Store(tmp_path)
    features = make_features(store, split(made_rows(ROWS), 2))
    index = index_of(store, features, "IVF64,SQ8")
    path = index.path("index", "index")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match="cpp-pipe verify"):
        Searcher(features, index)


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        ("IVF2900,SQ8", "too many lists for 3,000 rows: use Flat"),
        ("IVF64,PQ5", "PQ1, PQ2, PQ4, PQ8, PQ16"),
    ],
)
def test_an_impossible_factory_is_refused_before_any_work(tmp_path, factory, why):
    store = Store(tmp_path)
    features = make_features(store, split(made_rows(ROWS), 2))
    with pytest.raises(ConfigError, match=why):
        fit(store, features, factory)
    assert [artifact.kind.name for artifact in store.artifacts()] == ["features"]


def test_product_codes_of_few_lists_or_few_rows_are_learned_or_refused(tmp_path):
    """256 words were fitted to the 64 rows of a list, or to nine tenths of 256: a traceback."""
    store, z = Store(tmp_path), made_rows(300)
    features = make_features(store, {"a": z})
    searcher = Searcher(features, index_of(store, features, "IVF1,PQ8"))
    assert searcher.nearest(z[3][None], 5)[1][0] == 3
    few = make_features(Store(tmp_path / "few"), {"a": z[:270]})
    with pytest.raises(ConfigError, match="from at least 256 rows, got 243 beside"):
        fit(Store(tmp_path / "few"), few, "IVF1,PQ8")


@pytest.mark.parametrize("factory", ["Flat", "IVF2,SQfp16"])
def test_empty_parts_and_few_rows_are_indexed(tmp_path, factory):
    store, z = Store(tmp_path), made_rows(7)
    parts = {"a": z[:0], "b": z, "c": z[:0]}
    features = make_features(store, parts)
    searcher = Searcher(features, index_of(store, features, factory))
    rows = searcher.nearest(z[3][None], 100)[1]
    assert sorted(rows.tolist()) == list(range(7)) and rows[0] == 3


def open_merged(folder, rows: int) -> int:
    """Opens an index from a folder in a new process; returns its number of rows."""
    store = Store(folder)
    (features,) = store.artifacts()
    opened = OpenedIndex(folder / "big.faiss", Factory.parse("IVF64,SQfp16"), VectorRows(features))
    assert opened.rows == rows
    return opened.rows


def test_opening_an_index_reads_no_rows(tmp_path):
    rows, store = 2_000_000, Store(tmp_path)
    make_features(store, {"a": made_rows(1000)})
    trained = faiss.index_factory(SIZE, "IVF64,SQfp16", faiss.METRIC_INNER_PRODUCT)
    trained.train(made_rows(1000).astype(np.float32))
    codes = np.zeros((rows, 2 * SIZE), np.uint8)
    lists = np.sort(np.random.default_rng(0).integers(64, size=rows)).astype(np.int32)
    part = PartLists(codes, np.arange(rows, dtype=np.int32), lists, start=0)
    path = tmp_path / "big.faiss"
    write_merged(path, trained_bytes(trained), [part])
    small = tmp_path / "small"
    few = PartLists(codes[:64], np.arange(64, dtype=np.int32), np.arange(64, dtype=np.int32), 0)
    make_features(Store(small), {"a": made_rows(1000)})
    write_merged(small / "big.faiss", trained_bytes(trained), [few])
    assert path.stat().st_size > 75 * 2**20
    _, peak = result_and_peak(open_merged, tmp_path, rows)
    _, usual = result_and_peak(open_merged, small, 64)
    assert peak - usual < 10 * 2**20


def test_exact_search_without_an_index_gives_rows_best_first(tmp_path):
    z = made_rows(ROWS)
    features = make_features(Store(tmp_path), split(z, 3))
    similarity, rows = Searcher(features).nearest(z[1234][None], 20)
    assert rows[0] == 1234
    assert (np.diff(similarity) <= 0).all()
    assert rows.tolist() == neighbours(z, z[1234], 20)


def test_a_search_for_more_hits_than_rows_returns_all_rows(tmp_path):
    z = made_rows(ROWS)
    features = make_features(Store(tmp_path), split(z, 3))
    assert len(Searcher(features).nearest(z[:1], 10_000)[1]) == ROWS


@pytest.mark.parametrize("factory", ["HNSW16,SQ8", "IVF300,SQfp16", "IVF300,PQ8"])
def test_short_lists_still_give_the_requested_number_of_hits(tmp_path, factory):
    z, store = made_rows(ROWS), Store(tmp_path)
    features = make_features(store, split(z, 2))
    searcher = Searcher(features, index_of(store, features, factory))
    similarities, rows = searcher.nearest(z[7][None], 900, target_recall=0.1)
    assert len(rows) == len(set(rows.tolist())) == 900
    assert (np.diff(similarities) <= 0).all()
    assert share(rows.tolist(), neighbours(z, z[7], 900)) > 0.6


@pytest.mark.parametrize("factory", [None, "Flat", "HNSW16,SQ8", "IVF64,SQfp16", "IVF64,PQ8"])
@pytest.mark.parametrize("kept", [0.001, 0.05, 0.5, 0.97])
def test_filters_find_the_nearest_allowed_rows(tmp_path, factory, kept):
    z, store = made_rows(ROWS), Store(tmp_path)
    features = make_features(store, split(z, 3))
    index = index_of(store, features, factory) if factory else None
    # few_rows: inverted lists are searched even for few rows.
    searcher = Searcher(features, index, few_rows=50)
    allowed = np.random.default_rng(1).random(ROWS) < kept
    numbers = np.flatnonzero(allowed)
    shares = []
    for query in z[::100]:
        rows = searcher.nearest(query[None], 10, allowed=allowed)[1].tolist()
        assert len(rows) == min(10, len(numbers)) and allowed[rows].all()
        shares.append(share(rows, numbers[neighbours(z[allowed], query, 10)].tolist()))
    assert np.mean(shares) >= (0.95 if factory in ("IVF64,SQfp16", "IVF64,PQ8") else 1.0)


def test_an_index_without_lists_needs_no_quantizer():
    assert Index(space="features", factory="HNSW32,Flat").needs == ("features",)
    assert Index(space="embeddings", factory="IVF64,SQ8").needs == (
        "embeddings", "quantizer/embeddings", "lists/embeddings",
    )  # fmt: skip


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(faiss), reason="no FAISS with a GPU is here")
def test_a_gpu_builds_an_index_with_the_same_recall(tmp_path):
    z = made_rows(40_000)
    curves = []
    for device in ("cpu", "cuda"):
        store = Store(tmp_path / device)
        inputs = {"features": make_features(store, split(z, 3))}
        stages = (
            FitQuantizer(space="features", factory="IVF512,SQfp16"),
            Quantize(space="features"),
            Index(space="features", factory="IVF512,SQfp16"),
        )
        for stage in stages:
            made = make(stage, store, inputs, device=device)
            inputs[f"{stage.kind.name}/features"] = made
        curves.append(dict(curve_of(inputs["index/features"].facts)))
    for width in set(curves[0]) & set(curves[1]):
        assert curves[0][width] == pytest.approx(curves[1][width], abs=0.03)


@pytest.mark.parametrize("factory", ["Flat", "HNSW8,SQfp16", "IVF4,SQ8"])
def test_an_index_read_whole_finds_the_same_as_a_mapped_one(tmp_path, factory):
    rows = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
    index = faiss.index_factory(16, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    path = tmp_path / "名前 ä"
    write_index(index, path)
    faiss.write_index(index, str(tmp_path / "as FAISS writes it"))
    assert path.read_bytes() == (tmp_path / "as FAISS writes it").read_bytes()
    flag = faiss.IO_FLAG_MMAP if factory.startswith("IVF") else faiss.IO_FLAG_MMAP_IFC
    mapped, whole = (read_index(path, flag, is_mapped=is_mapped) for is_mapped in (True, False))
    found, again = mapped.search(rows[:5], 5), whole.search(rows[:5], 5)
    assert np.array_equal(found[0], again[0]) and np.array_equal(found[1], again[1])
