"""The stages that make an index, chosen by the settings and the number of rows."""

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
"""A run has an artifact of each kind for each space."""


def index_stage(
    slot: str, settings: IndexSettings, source: Artifact, quantizer: Artifact | None
) -> Stage:
    """The stage of a slot such as `index/features`, for the rows of that space.

    `quantizer` is the run's current one. While its factory suits the number of rows it is used
    again, so added rows do not make the old ones be listed again.
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
        factory = str(quantizer.facts["factory"])
        if still_suits(factory, source.rows, width):
            return factory
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
    """The index of a space's rows, made with its quantizer and lists, without a plan.

    The run refers to them afterwards.
    """
    space = source.kind.name
    index_slot, artifacts = f"index/{space}", {space: source}
    for slot in (*index_stage(index_slot, settings, source, None).needs[1:], index_slot):
        stage = index_stage(slot, settings, source, None)
        inputs = {need: artifacts[need] for need in stage.needs}
        job = Job(slot=slot, stage=stage, inputs=inputs, runtime=runtime, asked_by=index_slot)
        artifacts[slot] = find_or_make(job, store, run, {}, say)
    return artifacts[index_slot]


def has_lists(settings: IndexSettings, source: Artifact) -> bool:
    """Whether the index is merged from lists: then its quantizer can be fitted again."""
    return Factory.parse(_factory(settings, source, None)).shape == "lists"
