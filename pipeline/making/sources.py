"""Local files that settings name: found before any work, and known to versions by their digests."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...stages.contract import Place, Source
from ...stages.sources.images.folders import find_chunks
from ...stages.sources.input_kinds import require_kind
from ...stages.sources.patterns import PatternTarget, expand, is_remote
from ...stages.sources.remote import Address, expand_remote, identify_shards
from ...stages.sources.tables.files import TableFile
from ...stages.sources.tar.shards import TarShard
from ...store import ConfigError, ShardError
from ...store.digest import digest_file
from ..config import CONFIGS, SHIPPED, Data, EmbedSettings


def find_sources(
    data: Data, store: Path, say: Callable[[str], None], *, allow_missing: bool = False
) -> dict[str, Source]:
    """What the settings name, by the part that each becomes; says what was found.

    ShardError when some that are spelt out are missing, unless that is allowed; ConfigError when
    something is of another kind than its flag.
    """
    named: dict[str, Source] = {}
    copies: dict[str, None] = {}
    found = (
        *_shards(data, store, say, allow_missing),
        *_folder_runs(data.images, say),
        *_tables(data, say, allow_missing),
    )
    for source in found:
        first = named.setdefault(source.part_name, source)
        if first is not source:
            copies[f"{source.path} is a copy of {first.path}: read once"] = None
    for line in copies:
        say(line)
    return named


def _shards(
    data: Data, store: Path, say: Callable[[str], None], allow_missing: bool
) -> list[Source]:
    patterns = list(data.shards)
    if data.builtin and not (patterns or data.images or data.tables):
        from ...stages.sources.digits import write_digit_shards

        patterns = [str(path) for path in write_digit_shards(store / "shards" / data.builtin)]
    places = _expand(patterns, PatternTarget(expand_remote=expand_remote), say, allow_missing)
    remote = iter(identify_shards([one for one in places if isinstance(one, Address)]))
    sources: list[Source] = []
    for place in places:
        if isinstance(place, Path):
            require_kind(place, "tar shards")
            sources.append(TarShard.of(place))
        else:
            sources.append(next(remote))
    return sources


def _folder_runs(images: Sequence[str], say: Callable[[str], None]) -> list[Source]:
    for name in images:
        if is_remote(name):
            raise ConfigError(
                f"--images {name!r} is not on this machine: of what lies elsewhere only tar shards "
                "are read, which cpp-pipe pack makes"
            )
    roots = {Path(name).expanduser().resolve(): Path(name).expanduser() for name in images}
    for real, root in roots.items():
        around = next((roots[one] for one in real.parents if one in roots), None)
        if around is not None:
            raise ConfigError(f"--images {str(root)!r} lies in {str(around)!r}: name one of them")
    sources: list[Source] = []
    for root in roots.values():
        say(f"looking at the pictures in {root}")
        runs = find_chunks(root)
        folders = len({run.folder for run in runs})
        pictures = sum(len(run.images) for run in runs)
        say(f"found {pictures:,} pictures in {folders:,} folder(s) of {root}")
        sources += runs
    return sources


def _tables(data: Data, say: Callable[[str], None], allow_missing: bool) -> list[Source]:
    sources: list[Source] = []
    wanted = PatternTarget(noun="table", suffix=".parquet")
    for place in _expand(data.tables, wanted, say, allow_missing):
        path = Path(str(place))
        require_kind(path, "Parquet tables")
        sources.append(TableFile.of(path, data.image_column))
    return sources


def _expand(
    patterns: Sequence[str], wanted: PatternTarget, say: Callable[[str], None], allow_missing: bool
) -> Sequence[Place]:
    """What patterns find, which is said; ShardError where some is missing and must not be."""
    if not patterns:
        return ()
    found = expand(patterns, wanted)
    for line in found.describe().splitlines():
        say(line)
    if found.missing and not allow_missing:
        raise ShardError(
            f"{found.describe().splitlines()[0]}: put them in their place, or go on without them "
            "with --allow-partial"
        )
    return found.found


def embed_fields(settings: EmbedSettings) -> tuple[dict[str, Any], dict[str, Path]]:
    """The fields of `Embed` that settings give, and where the model's local files lie.

    Raises ConfigError for a file that is not there or is no safetensors.
    """
    weights, model_config = _model_files(settings)
    fields: dict[str, Any] = {
        "model": settings.model,
        "pretrained": settings.pretrained,
        "precision": settings.precision,
        "scaled_jpeg": settings.scaled_jpeg,
    }
    files: dict[str, Path] = {}
    if weights is not None:
        fields["pretrained"] = weights.name
        fields["weights_sha256"] = digest_file(weights)
        files["weights"] = weights
    if model_config is not None:
        fields["model"] = model_config.stem
        fields["model_config_sha256"] = digest_file(model_config)
        files["model_config"] = model_config
    return fields, files


def _model_files(settings: EmbedSettings) -> tuple[Path | None, Path | None]:
    if settings.pretrained == SHIPPED:
        weights = CONFIGS / f"{settings.model}.safetensors"
        if not weights.is_file():
            known = ", ".join(sorted(one.stem for one in CONFIGS.glob("*.safetensors")))
            raise ConfigError(f"no weights of {settings.model!r} are shipped, only of {known}")
        return weights, CONFIGS / f"{settings.model}.json"
    weights = None
    if settings.pretrained.endswith((".safetensors", ".pt", ".pth", ".bin", ".ckpt")):
        weights = _existing(settings.pretrained, "--pretrained")
        if weights.suffix != ".safetensors":
            raise ConfigError(
                f"--pretrained {weights} is not .safetensors: other files of weights can run code "
                "when they are opened; load it with torch where you trust it and write it again "
                "with safetensors.torch.save_file"
            )
    model_config = None
    if settings.model_config:
        model_config = _existing(settings.model_config, "--model-config")
    return weights, model_config


def _existing(name: str, flag: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(f"{flag} {name!r} is no file that is there")
    return path.resolve()


def model_files(settings: EmbedSettings) -> Mapping[str, Path]:
    """Where the local files of a run's model lie, without reading them."""
    weights, model_config = _model_files(settings)
    found = {"weights": weights, "model_config": model_config}
    return {name: path for name, path in found.items() if path is not None}
