"""Whether the model of a run embeds texts, and the command that names its clusters in words."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from ..stages.encoding.models.loaded_model import has_texts
from ..store import ConfigError, CppPipeError, RunRecord, Store
from .config import SHIPPED, EmbedSettings, settings_of


def embeds_texts(settings: EmbedSettings) -> bool:
    """Whether a model embeds texts, as far as its name says; loads no library.

    Imported embeddings may name a model that open_clip does not know.
    """
    if not has_texts(settings.model):
        return False
    is_described = settings.model_config or settings.pretrained == SHIPPED
    return bool(is_described) or ":" in settings.model or _is_of_open_clip(settings.model)


def _is_of_open_clip(model: str) -> bool:
    spec = find_spec("open_clip")
    if spec is None or spec.origin is None:
        return True  # nothing tells
    return (Path(spec.origin).parent / "model_configs" / f"{model}.json").is_file()


def find_caption_command(
    store: Store,
    record: RunRecord,
    with_texts: Callable[[], Sequence[RunRecord]] | None = None,
) -> list[str] | None:
    """The words of the command that captions the clusters of a run; None if none can.

    If its model embeds no texts, the words come from another run that has images of its sources.
    `with_texts` gives `runs_with_texts(store)`, for a caller that has it.
    """
    try:
        settings = settings_of(store, record)
    except ConfigError:  # the command says what is wrong
        return ["caption"]
    if embeds_texts(settings.embed) or settings.caption.beside:
        return ["caption"]
    sources = set(record.sources.values())
    for other in runs_with_texts(store) if with_texts is None else with_texts():
        if other.name != record.name and not sources.isdisjoint(other.sources.values()):
            return ["caption", "--beside", other.name]
    return None


def runs_with_texts(store: Store) -> list[RunRecord]:
    """The runs of a store that have embeddings, of a model that embeds texts too."""
    found: list[RunRecord] = []
    for name in store.runs.names():
        try:
            record = store.runs.read(name)
            if "embeddings" in record.versions and embeds_texts(settings_of(store, record).embed):
                found.append(record)
        except CppPipeError:  # a damaged run is no suggestion
            continue
    return found
