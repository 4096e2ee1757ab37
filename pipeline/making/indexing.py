"""The stages of an index, chosen by settings and the number of rows."""

from collections.abc import Callable
from typing import Literal, cast

from ...stages.contract import Runtime, Stage
from ...stages.fit_quantizer import FitQuantizer
from ...stages.index import Index
from ...stages.indexing.factory import Factory, choose_factory, still_suits
from ...stages.indexing.vectors import SPACES, VectorRows
from ...stages.quantize import Quantize
from ...store import Artifact, Store
from ...store.slots import split_slot
from ..config import IndexSettings
from .jobs import Job, find_or_make

INDEX_KINDS = ("quantizer", "lists", "index")
"""A run holds one of each kind for each space."""


def index_stage(
    slot: str, settings: IndexSettings, source: Artifact, quantizer: Artifact | None
) -> Stage:
    """The stage of a slot such as `index/features`, for the rows of that space.

    `quantizer` is what the run holds for the space: while it suits the rows, so does its factory,
    and nothing is listed again because rows were added.
    """
    kind, name = split_slot(slot)
    assert kind in INDEX_KINDS and name in SPACES, slot
    space = cast(Literal["features", "embeddings"], name)
    factory = _factory(settings, source, quantizer)
    if kind == "lists":
        return Quantize(space=space)
    if kind == "quantizer":
        return FitQuantizer(space=space, factory=factory, seed=settings.seed)
    return Index(space=space, factory=factory, seed=settings.seed)


def _factory(settings: IndexSettings, source: Artifact, quantizer: Artifact | None) -> str:
    if settings.factory != "auto":
        return settings.factory
    width = VectorRows(source).width
    if quantizer is not None and quantizer.facts["width"] == width:
        kept = str(quantizer.facts["factory"])
        if still_suits(kept, source.rows, width):
            return kept
    return choose_factory(source.rows, width)


def make_index(
    source: Artifact,
    *,
    store: Store,
    run: str,
    settings: IndexSettings,
    runtime: Runtime,
    say: Callable[[str], None],
) -> Artifact:
    """The index of a space's rows, with all that it is made of; the run refers to it afterwards.

    For rows that no plan has made: a plan makes each of these slots by itself.
    """
    space = source.kind.name
    last, made = f"index/{space}", {space: source}
    for slot in (*index_stage(last, settings, source, None).needs[1:], last):
        stage = index_stage(slot, settings, source, None)
        inputs = {need: made[need] for need in stage.needs}
        job = Job(slot=slot, stage=stage, inputs=inputs, runtime=runtime, asked_by=last)
        made[slot] = find_or_make(job, store, run, {}, say)
    return made[last]


def is_listed(settings: IndexSettings, source: Artifact) -> bool:
    """Whether the rows' index is merged from lists, so that its quantizer can be fitted again."""
    return Factory.parse(_factory(settings, source, None)).shape == "lists"
