"""Factory strings: which are supported, which suit a number of rows, and which fit into memory."""

from typing import Any

import faiss
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.indexing.factory import (
    EXACT_ROWS,
    GRAPH_ROWS,
    MAX_CODE_BYTES,
    Factory,
    choose_factory,
    still_suits,
)
from cpp_pipe.stages.indexing.footprint import (
    estimate_footprint,
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
row_counts = st.integers(1, 200_000_000)


@pytest.mark.parametrize("text", SUPPORTED)
def test_codes_are_as_long_as_those_of_faiss(text):
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
def test_the_error_for_an_unsupported_factory_says_what_is_supported(text):
    with pytest.raises(ConfigError, match=r"index\.factory.* must be (auto or one of Flat|from)"):
        Factory.parse(text)


@given(row_counts, widths)
def test_the_default_factory_can_be_built(rows, width):
    factory = Factory.parse(choose_factory(rows, width))
    factory.check(rows, width)
    assert rows > EXACT_ROWS or factory.shape == "exact"
    assert rows <= GRAPH_ROWS or factory.shape == "lists"
    assert factory.is_lossless or rows * width * 2 > MAX_CODE_BYTES


@given(row_counts, widths, st.floats(0.5, 2.0))
def test_a_factory_is_kept_while_the_number_of_rows_halves_or_doubles(rows, width, growth):
    kept = choose_factory(rows, width)
    assert still_suits(kept, rows, width)
    new_rows = max(1, int(rows * growth))
    if still_suits(kept, new_rows, width):
        Factory.parse(kept).check(new_rows, width)
    else:
        new, old = Factory.parse(choose_factory(new_rows, width)), Factory.parse(kept)
        assert (new.shape, new.code) != (old.shape, old.code)


def test_another_factory_is_chosen_for_a_hundred_times_as_many_rows():
    assert not still_suits(choose_factory(60_000, 128), 6_000_000, 128)
    assert not still_suits("Flat", 60_000, 128)
    assert not still_suits("IVF4096,SQ8", 1_000_000, 128)


@given(row_counts, widths)
def test_a_fitting_factory_fits_and_is_the_default_if_possible(rows, width):
    default = choose_factory(rows, width)
    needed = estimate_footprint(Factory.parse(default), rows, width).memory_bytes
    assert fitting_factory(rows, width, needed) == default
    smaller = fitting_factory(rows, width, needed // 3)
    if smaller is not None:
        factory = Factory.parse(smaller)
        factory.check(rows, width)
        assert estimate_footprint(factory, rows, width).memory_bytes <= needed // 3


def test_the_error_for_too_little_memory_names_a_factory_that_fits():
    rows, width = 10**8, 768
    with pytest.raises(ConfigError, match="HNSW32,Flat of 100,000,000,000 rows") as refused:
        require_memory(Factory.parse("HNSW32,Flat"), 1000 * rows, width)
    message = str(refused.value)
    assert "set index.factory = 'IVF" in message or "no index fits" in message
    fitting = fitting_factory(rows, width, 8 * 2**30)
    assert fitting is not None and fitting.startswith("IVF") and "PQ" in fitting
    assert fitting_factory(rows, width, 2**20) is None


def test_free_memory_of_this_machine_is_plausible():
    free = free_memory()
    assert free is not None and 2**26 < free < 2**50


def test_the_footprint_of_an_exact_index_is_that_of_its_rows():
    footprint = estimate_footprint(Factory.parse("Flat"), 1_000_000, 128)
    assert footprint.disk_bytes == 4 * 128 * 1_000_000
    assert footprint.disk_bytes < footprint.memory_bytes < 1.3 * footprint.disk_bytes
    line = footprint.line("index/features", 1_000_000, 128)
    assert "1,000,000 rows of 128 numbers as Flat" in line
