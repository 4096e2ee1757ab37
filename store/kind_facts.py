"""The facts, settings and inputs of each kind that readers rely on.

A manifest is checked against them when it is read and before it is published, so no reader meets a
fact that is missing or of another type, whoever wrote the store.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .facts import (
    FLAG,
    MOMENT,
    OBJECT,
    TEXT,
    Fact,
    are_right,
    counts,
    either,
    listed,
    number,
    or_none,
    record,
    require_facts,
    whole,
)
from .parsing import Fields

Facts = Mapping[str, Any]
Range = tuple[int, int]
"""The least and the largest value of a column."""
Ranges = Mapping[str, Mapping[str, Range]]
"""Ranges of columns, by the role of a table and the name of a column."""
_ENDLESS = 2**63 - 1


def _no_ranges(facts: Facts, rows: int) -> Ranges:
    return {}


@dataclass(frozen=True, kw_only=True)
class KindFacts:
    """What the manifests of a kind hold besides files."""

    made_from: tuple[str, ...]
    """Kinds that its inputs may have; they form no cycle."""
    rows_of: tuple[str, ...] = ()
    """Kinds of inputs that have the same rows in the same order."""
    parts_of: tuple[str, ...] = ()
    """Those of `rows_of` that also have the same parts."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """Facts that all parts share."""
    of_part: Mapping[str, Fact] = field(default_factory=dict)
    """Facts of each part."""
    config: Mapping[str, Fact] = field(default_factory=dict)
    """Settings that readers take from the manifest."""
    widths: Mapping[str, Callable[[Facts], int]] = field(default_factory=dict)
    """By role of a file of vectors, the numbers in each of its rows."""
    ranges: Callable[[Facts, int], Ranges] = _no_ranges
    """From the facts and the number of rows: ranges of columns that readers use as indices."""


def _ranges_of_curve(facts: Facts, rows: int) -> Ranges:
    return {"rows": {"k": (1, facts["k_max"])}}


def _ranges_of_hierarchy(facts: Facts, rows: int) -> Ranges:
    node = (0, 2 * facts["finest"] - 2)
    columns = {"level": (1, facts["finest"]), "parent": node, "left": node, "right": node}
    return {"rows": columns}


def _ranges_of_assignments(facts: Facts, rows: int) -> Ranges:
    others = {f"cluster_{k}": (0, count - 1) for k, count in facts["clusters"].items()}
    return {"rows": {"cluster": (0, facts["k"] - 1), **others}}


def _ranges_of_duplicates(facts: Facts, rows: int) -> Ranges:
    return {"rows": {"row": (0, facts["rows_in_all"] - 1), "group": (0, facts["groups"] - 1)}}


def _ranges_of_captions(facts: Facts, rows: int) -> Ranges:
    own, rank = (0, facts["k"] - 1), (1, _ENDLESS)
    levels = {"cluster": (0, _ENDLESS), "level": (1, _ENDLESS), "rank": rank}
    return {"rows": {"cluster": own, "rank": rank}, "levels": levels}


def _ranges_of_sprites(facts: Facts, rows: int) -> Ranges:
    return {"rows": {"row": (0, _ENDLESS)}}


def _ranges_of_edits(facts: Facts, rows: int) -> Ranges:
    # There are at most as many clusters as rows, and a decision makes at most one more.
    own = (0, rows + facts["decisions"] - 1)
    return {"rows": {"cluster": own}, "clusters": {"cluster": own}}


_SIZE = whole(1, most=2**20)
_MODEL = record(
    model=TEXT,
    pretrained=TEXT,
    embedding_size=_SIZE,
    weights_digest=or_none(TEXT).optional(),
    preprocess=or_none(OBJECT).optional(),
    precision=either("fp32", "bf16").optional(),
    scaled_jpeg=FLAG.optional(),
    exif=either("ignore", "apply").optional(),
)
_SPACE = either("features", "embeddings")
_NUMBER_OF_CLUSTERS = whole(1, at_most="rows")


def _is_k(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return value == "auto" or (bool(numbers) and all(map(whole(1).is_right, numbers)))


KIND_FACTS: Mapping[str, KindFacts] = MappingProxyType(
    {
        "embeddings": KindFacts(
            made_from=(),
            facts={"model": _MODEL},
            of_part={
                "shard": TEXT,
                "seen": whole(),
                "embedded": whole(at_most="rows"),
                "skipped": counts(),
                "is_partial": FLAG.optional(),
                "why_partial": TEXT.optional(),
                "suffixes": counts().optional(),
                "left_out": counts().optional(),
                "source": either("tar", "images", "table").optional(),
                "sha256": TEXT.optional(),
                "image_column": TEXT.optional(),
                "stats_successes": whole().optional(),
            },
            widths={"rows": lambda facts: facts["model"]["embedding_size"]},
        ),
        "views": KindFacts(
            made_from=("embeddings", "words"),
            rows_of=("embeddings",),
            parts_of=("embeddings",),
            facts={
                "model": _MODEL,
                "views": Fact(
                    allowed="a list of views: slot, size and share",
                    is_right=lambda value: isinstance(value, list) and all(map(_is_view, value)),
                ),
            },
            of_part={"missing": counts()},
            widths={"x": lambda facts: sum(view["size"] for view in facts["views"])},
        ),
        "heads": KindFacts(
            made_from=("embeddings", "views"),
            facts={
                "embedding_size": _SIZE,
                "feature_size": _SIZE.optional(),
                "kept_step": whole().optional(),
                "eta": number().optional(),
            },
        ),
        "features": KindFacts(
            made_from=("embeddings", "views", "heads"),
            rows_of=("embeddings", "views"),
            parts_of=("embeddings", "views"),
            facts={"feature_size": _SIZE, "model": _MODEL},
            widths=dict.fromkeys(("z", "c"), lambda facts: facts["feature_size"]),
        ),
        "spectrum": KindFacts(
            made_from=("embeddings", "features"),
            facts={
                "k_max": whole(1),
                "affinity": either("consensus", "membership"),
                "rows_in_all": whole(),
            },
            config={"seed": whole()},
        ),
        "k_curve": KindFacts(
            made_from=("embeddings", "features", "spectrum"),
            ranges=_ranges_of_curve,
            facts={
                "chosen": whole(1, at_most="k_max"),
                "shortest": whole(1, at_most="k_max"),
                "decided_by": either("code", "bic").optional(),
                "bic": or_none(whole(1)).optional(),
                "communities": or_none(whole()).optional(),
                "span_low": whole().optional(),
                "span_high": whole().optional(),
                "runners_up": listed(whole(1)),
                "one_cluster_nats": number(),
                "loose": whole(),
                "k_max": whole(1),
                "rows_measured": whole(at_most="rows_in_all"),
                "rows_in_all": whole(),
                "resamples": whole(),
            },
            config={"clear": number()},
        ),
        "hierarchy": KindFacts(
            made_from=("embeddings", "features", "spectrum"),
            ranges=_ranges_of_hierarchy,
            facts={"finest": whole(1, most=2**24), "shortest": whole(1, at_most="finest")},
        ),
        "assignments": KindFacts(
            made_from=("embeddings", "heads", "features", "spectrum", "k_curve", "hierarchy"),
            rows_of=("embeddings", "features"),
            parts_of=("embeddings", "features"),
            ranges=_ranges_of_assignments,
            facts={"k": _NUMBER_OF_CLUSTERS, "clusters": counts(1)},
            config={
                "k": Fact(allowed="auto, a whole number or a list of them", is_right=_is_k),
                "method": either("spectral", "hierarchy"),
                "order": listed(whole()).optional(),
            },
        ),
        "fingerprints": KindFacts(
            made_from=("embeddings",),
            rows_of=("embeddings",),
            parts_of=("embeddings",),
            facts={"side": whole(1, most=1024)},
            widths={"thumbnails": lambda facts: facts["side"] ** 2},
        ),
        "duplicates": KindFacts(
            made_from=("embeddings", "fingerprints"),
            ranges=_ranges_of_duplicates,
            facts={
                "rows_in_all": whole(),
                "groups": whole(at_most="rows"),
                "dropped": whole(at_most="rows"),
                "largest": whole(),
                "threshold": number(),
                "tier": either("identical", "same").optional(),
                "recall": number(0, 1).optional(),
                "recall_pairs": whole().optional(),
            },
        ),
        "scores": KindFacts(
            made_from=("embeddings",),
            rows_of=("embeddings",),
            parts_of=("embeddings",),
            of_part={"unreadable": whole().optional(), "head": TEXT.optional()},
            config={
                "score": TEXT.optional(),
                "text": TEXT.optional(),
                "unlike": or_none(TEXT).optional(),
                "head_sha256": TEXT.optional(),
            },
        ),
        "words": KindFacts(
            made_from=("embeddings",),
            facts={"size": _SIZE},
            widths={"rows": lambda facts: facts["size"]},
        ),
        "captions": KindFacts(
            made_from=("embeddings", "assignments", "words", "hierarchy"),
            ranges=_ranges_of_captions,
            facts={"k": whole(1), "rule": TEXT},
        ),
        "quantizer": KindFacts(
            made_from=("embeddings", "features"),
            facts={"space": _SPACE, "factory": TEXT, "width": _SIZE, "model": _MODEL},
        ),
        "lists": KindFacts(
            made_from=("embeddings", "features", "quantizer"),
            rows_of=("embeddings", "features"),
            parts_of=("embeddings", "features"),
            facts={"space": _SPACE, "factory": TEXT, "width": _SIZE, "model": _MODEL},
        ),
        "index": KindFacts(
            made_from=("embeddings", "features", "quantizer", "lists"),
            rows_of=("embeddings", "features"),
            facts={
                "space": _SPACE,
                "factory": TEXT,
                "rows": whole(),
                "width": _SIZE,
                "curve": Fact(
                    allowed="a list of pairs: a search width and a recall",
                    is_right=lambda value: isinstance(value, list) and all(map(_is_recall, value)),
                ),
                "model": _MODEL,
            },
        ),
        "projection": KindFacts(
            made_from=("embeddings", "features"),
            rows_of=("embeddings", "features"),
            facts={"fitted": whole(at_most="rows")},
            config={"method": TEXT, "space": _SPACE},
        ),
        "sprites": KindFacts(
            made_from=("embeddings",),
            ranges=_ranges_of_sprites,
            facts={"side": whole(1, most=1024), "columns": whole(1, most=1024)},
            of_part={"unreadable": whole(at_most="rows")},
        ),
        "edits": KindFacts(
            made_from=("embeddings", "assignments"),
            rows_of=("embeddings", "assignments"),
            ranges=_ranges_of_edits,
            facts={
                "decisions": whole(),
                "needs_a_look": whole(at_most="decisions"),
                "excluded": whole(at_most="rows"),
                "tags": listed(TEXT),
            },
        ),
    }
)
"""What manifests of each kind hold, by its name."""

MADE_BY: Mapping[str, Fact] = MappingProxyType(
    {
        "date": MOMENT.optional(),
        "seconds": or_none(number(0)).optional(),
        "device": TEXT.optional(),
    }
)
"""Facts that a manifest records about how the artifact was made."""


def _is_view(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("slot"), str)
        and _SIZE.is_right(value.get("size"))
        and number(0, 1).is_right(value.get("share"))
    )


def _is_recall(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and whole(1).is_right(value[0])
        and number(0, 1).is_right(value[1])
    )


def require_manifest(fields: Fields, *, kind: str, rows: int) -> None:
    """StoreError if the manifest of a kind lacks what readers rely on."""
    declared = KIND_FACTS[kind]
    require_facts(fields.nested("facts"), declared.facts, rows=rows)
    require_facts(fields.nested("config"), declared.config, rows=rows)
    require_facts(fields.nested("made_by"), MADE_BY, rows=rows)


def require_part(facts: Facts, file: object, *, part: str, kind: str, rows: int) -> None:
    """StoreError if the facts of a part, from a file, lack what readers rely on."""
    declared, is_table = KIND_FACTS[kind].of_part, facts.get("source") == "table"
    if not is_table and are_right(facts, declared, rows=rows):
        return
    fields = Fields(facts, file, f"facts of part {part}")
    require_facts(fields, declared, rows=rows)
    if is_table and kind == "embeddings":
        fields.text("image_column")  # without it no image of the table is found
