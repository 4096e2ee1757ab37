"""Whether the model of a run embeds texts, and the command that names its clusters in words."""

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


def find_caption_command(store: Store, record: RunRecord) -> list[str] | None:
    """The words of the command that captions the clusters of a run; None if none can.

    If its model embeds no texts, the words come from another run of the same images.
    """
    try:
        settings = settings_of(store, record)
    except ConfigError:  # the command says what is wrong
        return ["caption"]
    if embeds_texts(settings.embed) or settings.caption.beside:
        return ["caption"]
    beside = _find_run_with_texts(store, record)
    return None if beside is None else ["caption", "--beside", beside]


def _find_run_with_texts(store: Store, record: RunRecord) -> str | None:
    """Another run that embedded images of the same sources with a model that embeds texts."""
    sources = set(record.sources.values())
    for name in store.runs.names():
        try:
            other = store.runs.read(name)
            is_of_same = not sources.isdisjoint(other.sources.values())
            is_candidate = name != record.name and is_of_same and "embeddings" in other.versions
            if is_candidate and embeds_texts(settings_of(store, other).embed):
                return name
        except CppPipeError:  # a damaged run is no suggestion
            continue
    return None
