"""Factory strings: what is supported, what suits how many rows, and what a machine can hold."""

from typing import Any

import faiss
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.indexing.factory import (
    EXACT_ROWS,
    GRAPH_ROWS,
    MOST_CODE_BYTES,
    Factory,
    choose_factory,
    still_suits,
)
from cpp_pipe.stages.indexing.footprint import (
    estimate,
    fitting_factory,
    free_memory,
    require_memory,
)
from cpp_pipe.store import ConfigError

SUPPORTED = [
    "Flat", "HNSW32,Flat", "HNSW16,SQfp16", "HNSW8,SQ8", "IVF64,Flat", "IVF64,SQfp16", "IVF64,SQ8",
    "IVF64,SQ4", "IVF64,PQ8", "IVF64,PQ16x8", "IVF64_HNSW16,SQ8",
]  # fmt: skip

widths = st.sampled_from([16, 32, 96, 128, 384, 512, 768, 1024])
many = st.integers(1, 200_000_000)


@pytest.mark.parametrize("text", SUPPORTED)
def test_codes_are_as_long_as_those_that_faiss_makes(text):
    index: Any = faiss.index_factory(48, text, faiss.METRIC_INNER_PRODUCT)
    factory = Factory.parse(text)
    shapes = {"Flat": "exact", "HNSW": "graph", "IVF6": "lists"}
    assert factory.shape == shapes[text[:4]]
    if factory.shape != "graph":
        assert factory.code_bytes(48) == index.code_size
    if factory.shape == "lists":
        assert factory.lists == index.nlist
    is_graph = factory.shape == "graph"
    graph: Any = index if is_graph else faiss.downcast_index(getattr(index, "quantizer", index))
    if factory.links:
        assert graph.hnsw.nb_neighbors(1) == factory.links


@pytest.mark.parametrize(
    "text",
    ["", "flat", "IVF64", "IVF0,SQ8", "IVF9999999,SQ8", "HNSW2,Flat", "HNSW32,PQ8", "IVF64,SQ9",
     "IVF64,PQ8x4", "OPQ8,IVF64,PQ8", "IVF64,Flat,RFlat", "NSG32,Flat", "IVF64_HNSW999,SQ8"],
)  # fmt: skip
def test_what_is_not_supported_is_refused_with_what_is(text):
    with pytest.raises(ConfigError, match=r"index\.factory = .*(auto is, or Flat|allowed)"):
        Factory.parse(text)


@given(many, widths)
def test_what_is_chosen_can_be_built(rows, width):
    factory = Factory.parse(choose_factory(rows, width))
    factory.check(rows, width)
    assert rows > EXACT_ROWS or factory.shape == "exact"
    assert rows <= GRAPH_ROWS or factory.shape == "lists"
    assert factory.is_lossless or rows * width * 2 > MOST_CODE_BYTES


@given(many, widths, st.floats(0.5, 2.0))
def test_an_index_is_kept_while_rows_come_and_go_by_half(rows, width, growth):
    kept = choose_factory(rows, width)
    assert still_suits(kept, rows, width)
    now = max(1, int(rows * growth))
    if still_suits(kept, now, width):
        Factory.parse(kept).check(now, width)
    else:
        wanted, before = Factory.parse(choose_factory(now, width)), Factory.parse(kept)
        assert (wanted.shape, wanted.code) != (before.shape, before.code)


def test_an_index_is_chosen_anew_where_rows_are_a_hundred_times_as_many():
    assert not still_suits(choose_factory(60_000, 128), 6_000_000, 128)
    assert not still_suits("Flat", 60_000, 128)
    assert not still_suits("IVF4096,SQ8", 1_000_000, 128)


@given(many, widths)
def test_what_fits_fits_and_what_is_usual_comes_first(rows, width):
    usual = choose_factory(rows, width)
    needed = estimate(Factory.parse(usual), rows, width).memory_bytes
    assert fitting_factory(rows, width, needed) == usual
    other = fitting_factory(rows, width, needed // 3)
    if other is not None:
        made = Factory.parse(other)
        made.check(rows, width)
        assert estimate(made, rows, width).memory_bytes <= needed // 3


def test_an_index_that_memory_cannot_hold_is_refused_with_one_that_it_can():
    rows, width = 10**8, 768
    with pytest.raises(ConfigError, match="HNSW32,Flat of 100,000,000,000 rows") as refused:
        require_memory(Factory.parse("HNSW32,Flat"), 1000 * rows, width)
    told = str(refused.value)
    assert "index.factory = 'IVF" in told or "no index does" in told
    found = fitting_factory(rows, width, 8 * 2**30)
    assert found is not None and found.startswith("IVF") and "PQ" in found
    assert fitting_factory(rows, width, 2**20) is None


def test_this_machine_says_how_much_memory_is_free():
    free = free_memory()
    assert free is not None and 2**26 < free < 2**50


def test_an_estimate_of_an_exact_index_is_what_its_rows_take():
    told = estimate(Factory.parse("Flat"), 1_000_000, 128)
    assert told.disk_bytes == 4 * 128 * 1_000_000
    assert told.disk_bytes < told.memory_bytes < 1.3 * told.disk_bytes
    assert "1,000,000 rows of 128 numbers as Flat" in told.line("index/features", 1_000_000, 128)
