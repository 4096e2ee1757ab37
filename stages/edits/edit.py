"""One decision of a person about clusters or images."""

import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ...store import ConfigError
from ...store.counting import counted
from ...store.names import is_text

Op = Literal[
    "name", "note", "merge", "split", "move", "tag", "untag", "exclude", "include", "revert"
]
OPS: tuple[str, ...] = get_args(Op)

_LONGEST = 2000
"""Characters of a name, a tag or a note."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A decision, with all that is needed to apply it to other clusters than it was made on.

    What an operation takes:

    - `name`, `note`: the first of `clusters`, or for `note` also `images`; `value`, empty removes;
    - `merge`: `clusters`; all become the first;
    - `split`: `images`, which leave the first of `clusters` and become a new one;
    - `move`: `images`, into the first of `clusters`;
    - `tag`, `untag`: `images` or `clusters`, and the tag in `value`;
    - `exclude`, `include`: `images` or `clusters`;
    - `revert`: the `id` of another decision in `value`.
    """

    id: str
    number: int
    """Its place in the log, from 1."""
    by: str
    at: str
    """ISO 8601, UTC."""
    op: Op
    assignments: str
    """Version of the clusters that the decision was made on."""
    k: int
    """How many clusters that version has; new clusters of splits are numbered from there."""
    clusters: tuple[int, ...] = ()
    images: tuple[str, ...] = ()
    """SHARD:KEY of each."""
    value: str = ""

    def __post_init__(self) -> None:
        if self.op not in OPS:
            raise ConfigError(f"a decision must be one of {', '.join(OPS)}, got {self.op!r}")
        for text in (self.by, self.value):
            if not is_text(text):  # `from_json` would refuse it, and the log with it
                raise ConfigError(
                    "a name, a tag, a note or whoever decides must be text in UTF-8, got "
                    f"{reprlib.repr(text)}"
                )
        if len(self.value) > _LONGEST:
            raise ConfigError(
                f"a name, a tag or a note has at most {_LONGEST} characters, got {len(self.value)}"
            )
        if not (self.by.isprintable() and (self.op == "note" or self.value.isprintable())):
            raise ConfigError(
                "a name, a tag or whoever decides must be one line of text, got "
                f"{reprlib.repr(self.value if self.by.isprintable() else self.by)}"
            )
        wrong = _REQUIRED[self.op](self)
        if wrong:
            raise ConfigError(f"{self.op} needs {wrong}")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Edit":
        """Parses an entry of the log; ConfigError if it is invalid."""
        whole = {"clusters": [], "images": [], "value": "", **value}
        wrong = [name for name, is_right in _IS_RIGHT.items() if not is_right(whole.get(name))]
        if wrong:
            raise ConfigError(
                f"decision {reprlib.repr(value.get('number'))} of the log cannot be read: "
                f"{wrong[0]} is {reprlib.repr(whole.get(wrong[0]))}; restore the file"
            )
        fields = {name: whole[name] for name in _IS_RIGHT}
        return cls(**{**fields, **{name: tuple(whole[name]) for name in ("clusters", "images")}})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without empty ones."""
        values = asdict(self)
        values |= {name: list(values[name]) for name in ("clusters", "images")}
        return {name: value for name, value in values.items() if value not in ([], "")}

    def describe_among(self, others: Mapping[str, "Edit"]) -> str:
        """What it does, as a short line that names the decision it undoes; `others` are by id."""
        if self.op != "revert":
            return self.describe()
        verb, target, passed = "undo", others.get(self.value), {self.id}
        while target is not None and target.op == "revert" and target.id not in passed:
            passed.add(target.id)  # to undo that something was undone restores it
            verb = "restore" if verb == "undo" else "undo"
            target = others.get(target.value)
        if target is None or target.op == "revert":
            return f"{verb} a decision that is not in the log"
        return f"{verb} decision {target.number} ({target.describe()})"

    def describe(self) -> str:
        """What it does, as a short line."""
        clusters = ", ".join(map(str, self.clusters))
        images = counted(len(self.images), "image")
        about = f"cluster {clusters}" if self.clusters else images
        if self.op == "merge":
            return f"merge clusters {clusters}"
        if self.op in ("split", "move"):
            preposition = "from" if self.op == "split" else "to"
            return f"{self.op} {images} {preposition} cluster {clusters}"
        if self.op == "revert":
            return "revert"
        return f"{self.op} {about}{f': {self.value}' if self.value else ''}"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


_IS_RIGHT: Mapping[str, Callable[[Any], bool]] = {
    "id": is_text,
    "number": _is_count,
    "by": is_text,
    "at": is_text,
    "op": is_text,
    "assignments": is_text,
    "k": _is_count,
    "clusters": lambda value: isinstance(value, list) and all(map(_is_count, value)),
    "images": lambda value: isinstance(value, list) and all(map(is_text, value)),
    "value": is_text,
}
"""Whether a field of an entry has its type."""


def _images_or_clusters(edit: Edit) -> str:
    if edit.images and edit.clusters:
        return "either images or a cluster, not both"
    return "" if edit.images or edit.clusters else "images or a cluster"


def _one_cluster(edit: Edit) -> str:
    return "" if len(edit.clusters) == 1 else "one cluster"


def _images_and_a_cluster(edit: Edit) -> str:
    return _one_cluster(edit) or ("" if edit.images else "images")


def _with_value(check: Callable[[Edit], str], what: str) -> Callable[[Edit], str]:
    return lambda edit: check(edit) or ("" if edit.value.strip() else what)


_REQUIRED: Mapping[str, Callable[[Edit], str]] = {
    "name": _one_cluster,
    "note": _images_or_clusters,
    "merge": lambda edit: "" if len(set(edit.clusters)) > 1 else "two clusters or more",
    "split": _images_and_a_cluster,
    "move": _images_and_a_cluster,
    "tag": _with_value(_images_or_clusters, "a tag"),
    "untag": _with_value(_images_or_clusters, "a tag"),
    "exclude": _images_or_clusters,
    "include": _images_or_clusters,
    "revert": lambda edit: "" if edit.value else "the decision to revert",
}
"""Says what a decision of each operation lacks, or returns an empty text."""


def require_tag(tag: str) -> None:
    """ConfigError for a text that cannot be a tag: for a command that tags after long work."""
    Edit(
        id="", number=1, by="", at="", op="tag", assignments="", k=1, clusters=(0,), value=tag
    )  # as any decision is checked when it is made


def active(edits: Sequence[Edit]) -> list[bool]:
    """Whether each decision holds: a later one that holds may revert it."""
    reverted: set[str] = set()
    holds = [False] * len(edits)
    for place in reversed(range(len(edits))):
        edit = edits[place]
        holds[place] = edit.id not in reverted
        if holds[place] and edit.op == "revert":
            reverted.add(edit.value)
    return holds
