"""Finds the sources and the model's files that settings name, before any work starts."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...stages.contract import Place, Source
from ...stages.encoding.models.loaded_model import has_texts
from ...stages.encoding.models.timm_model import OF_TIMM
from ...stages.sources.images.folders import find_chunks
from ...stages.sources.input_kinds import require_kind
from ...stages.sources.patterns import PatternTarget, expand, is_remote
from ...stages.sources.remote import Address, expand_remote, identify_shards
from ...stages.sources.shards import by_part
from ...stages.sources.tables.files import TableFile
from ...stages.sources.tar.shards import TarShard
from ...store import ConfigError, ShardError
from ...store.digest import digest_file
from ...store.paths import expanded, followed, resolved
from ..config import CONFIGS, SHIPPED, Data, EmbedSettings
from ..wording import counted


def find_sources(
    data: Data,
    store: Path,
    say: Callable[[str], None],
    *,
    allow_missing: bool = False,
    left_out: Counter[str] | None = None,
) -> dict[str, Source]:
    """The sources that the settings name, by the part that each becomes; reports their number.

    Counts in `left_out`, by suffix, the files in named folders that belong to no source. ShardError
    if named files are missing, unless `allow_missing`; ConfigError if a file is not of the type
    that its flag takes.
    """
    left_out = Counter() if left_out is None else left_out
    sources = (
        *_find_shards(data, store, say, allow_missing, left_out),
        *_find_folders(data.images, say, left_out),
        *_find_tables(data, say, allow_missing, left_out),
    )
    sources_by_part, copies = by_part(sources)
    for line in dict.fromkeys(
        f"{source.path} is a copy of {first.path}: read once" for source, first in copies
    ):
        say(line)
    return sources_by_part


def _find_shards(
    data: Data,
    store: Path,
    say: Callable[[str], None],
    allow_missing: bool,
    left_out: Counter[str],
) -> list[Source]:
    patterns = list(data.shards)
    if data.builtin and not (patterns or data.images or data.tables):
        from ...stages.sources.digits import write_digit_shards

        patterns = [str(path) for path in write_digit_shards(store / "shards" / data.builtin)]
    target = PatternTarget(expand_remote=expand_remote)
    places = _expand(patterns, target, say, allow_missing, left_out)
    remote_shards = iter(identify_shards([place for place in places if isinstance(place, Address)]))
    sources: list[Source] = []
    for place in places:
        if isinstance(place, Path):
            require_kind(place, "tar shards")
            sources.append(TarShard.of(place))
        else:
            sources.append(next(remote_shards))
    return sources


def _find_folders(
    images: Sequence[str], say: Callable[[str], None], left_out: Counter[str]
) -> list[Source]:
    for name in images:
        if is_remote(name):
            raise ConfigError(
                f"--images must name a folder of this machine, got {name!r}: from elsewhere only "
                "tar shards are read, which cpp-pipe pack makes"
            )
    roots = {resolved(expanded(name)): expanded(name) for name in images}
    for real, root in roots.items():
        outer = next((roots[parent] for parent in real.parents if parent in roots), None)
        if outer is not None:
            raise ConfigError(f"--images {str(root)!r} is inside {str(outer)!r}: name only one")
    sources: list[Source] = []
    for root in roots.values():
        say(f"listing the images in {root}")
        chunks = find_chunks(root, left_out)
        folders = len({chunk.folder for chunk in chunks})
        count = sum(len(chunk.images) for chunk in chunks)
        say(f"found {counted(count, 'image')} in {counted(folders, 'folder')} of {root}")
        sources += chunks
    return sources


def _find_tables(
    data: Data, say: Callable[[str], None], allow_missing: bool, left_out: Counter[str]
) -> list[Source]:
    sources: list[Source] = []
    target = PatternTarget(noun="table", suffix=".parquet")
    for place in _expand(data.tables, target, say, allow_missing, left_out):
        path = Path(str(place))
        require_kind(path, "Parquet tables")
        sources.append(TableFile.of(path, data.image_column))
    return sources


def _expand(
    patterns: Sequence[str],
    target: PatternTarget,
    say: Callable[[str], None],
    allow_missing: bool,
    left_out: Counter[str],
) -> Sequence[Place]:
    """The files that patterns name; reports them. ShardError if a file is missing."""
    if not patterns:
        return ()
    matches = expand(patterns, target)
    left_out.update(matches.left_out)
    for line in matches.describe().splitlines():
        say(line)
    if matches.missing and not allow_missing:
        raise ShardError(
            f"{matches.describe().splitlines()[0]}: restore them, or go on without them with "
            "--allow-partial"
        )
    return matches.found


def embed_fields(settings: EmbedSettings) -> tuple[dict[str, Any], dict[str, Path]]:
    """The fields of `Embed`, and the paths of the model's local files.

    ConfigError if a file does not exist, or if weights are not safetensors.
    """
    weights, model_config = _model_files(settings)
    fields: dict[str, Any] = {
        "model": settings.model,
        "pretrained": settings.pretrained,
        "precision": settings.precision,
        "scaled_jpeg": settings.scaled_jpeg,
        "exif": settings.exif,
    }
    files: dict[str, Path] = {}
    if not has_texts(settings.model) and weights is None:
        fields["pretrained"] = _tag_of_timm(settings)
    if weights is not None:
        fields["pretrained"] = weights.name
        fields["weights_sha256"] = digest_file(weights)
        files["weights"] = weights
    if model_config is not None:
        fields["model"] = model_config.stem
        fields["model_config_sha256"] = digest_file(model_config)
        files["model_config"] = model_config
    return fields, files


def _tag_of_timm(settings: EmbedSettings) -> str:
    """The tag of timm, which chooses the weights itself; ConfigError if the user named another."""
    if settings.pretrained not in (EmbedSettings.pretrained, OF_TIMM):
        raise ConfigError(
            f"--pretrained {settings.pretrained!r}: a model of timm has its tag in its name, "
            f"--model {settings.model.partition('.')[0]}.TAG; or give a .safetensors file"
        )
    return OF_TIMM


def _model_files(settings: EmbedSettings) -> tuple[Path | None, Path | None]:
    if settings.pretrained == SHIPPED:
        weights = CONFIGS / f"{settings.model}.safetensors"
        if not weights.is_file():
            known = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.safetensors")))
            raise ConfigError(f"no weights are shipped for {settings.model!r}, only for {known}")
        return weights, CONFIGS / f"{settings.model}.json"
    weights = None
    if settings.pretrained.endswith((".safetensors", ".pt", ".pth", ".bin", ".ckpt")):
        weights = _existing(settings.pretrained, "--pretrained")
        if weights.suffix != ".safetensors":
            raise ConfigError(
                f"--pretrained must be a .safetensors file, got {weights}: loading other formats "
                "can run code; if you trust the file, load it with torch and save it with "
                "safetensors.torch.save_file"
            )
    model_config = None
    if settings.model_config:
        model_config = _existing(settings.model_config, "--model-config")
    return weights, model_config


def _existing(name: str, flag: str) -> Path:
    path = expanded(name)
    if not path.is_file():
        raise ConfigError(f"{flag}: {name!r} does not exist")
    return followed(path)


def model_files(settings: EmbedSettings) -> Mapping[str, Path]:
    """The paths of the model's local files, which are not read."""
    weights, model_config = _model_files(settings)
    paths = {"weights": weights, "model_config": model_config}
    return {name: path for name, path in paths.items() if path is not None}
