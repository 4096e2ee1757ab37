"""The command that gets research data sets: fetch."""

import glob
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...store import ConfigError, MissingError
from ..config import CONFIGS, read_tables
from ..datasets.catalog import CATALOG, DataSet, find_data_set
from ..datasets.download_commands import DOWNLOAD_COMMANDS
from ..destinations import require_folder
from ..wording import counted
from .app import subcommands
from .messages import current_progress, say, say_skipped
from .options import LONG, Common, takes
from .output import Column, print_line, print_next, print_table, print_text

if TYPE_CHECKING:
    from ..datasets.shards import Fetched

FromFlag = Annotated[
    Path | None,
    typer.Option(
        "--from", metavar="FOLDER", help="Read the data set's files in this folder; download none."
    ),
]
DownloadsFlag = Annotated[
    Path, typer.Option("--downloads", metavar="FOLDER", help="Put downloaded files here.")
]
DOWNLOADS = Path("downloads")

SHARD_SIZE = 1000

app = subcommands()


@app.command()
@takes(*LONG)
def fetch(
    common: Common,
    name: Annotated[
        str | None, typer.Argument(help="The data set; if absent, all are listed.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="[OUT]", help="A new folder for the shards; named like the set if absent."
        ),
    ] = None,
    source: FromFlag = None,
    downloads: DownloadsFlag = DOWNLOADS,
    split: Annotated[
        list[str] | None, typer.Option("--split", help="Write only this split; repeatable.")
    ] = None,
    shard_size: Annotated[
        int | None,
        typer.Option(
            "--shard-size",
            min=1,
            help=f"Maximum number of images in a shard; by default {SHARD_SIZE}.",
        ),
    ] = None,
) -> None:
    """Get a research data set as tar shards.

    torchvision downloads its files where it can, and reads and checks them; --from takes files that
    you have. A sample holds the bytes of the image, its class as a number (.cls), and its class
    name, split and other fields (.json). The same files give the same shards. Images that cannot be
    read are listed in skipped.json. An interrupted command continues where it stopped.

    \b
      cpp-pipe fetch                  # lists the data sets
      cpp-pipe fetch cifar10          # downloads, and writes cifar10/*.tar
      cpp-pipe fetch imagenet --from ILSVRC2012/
      cpp-pipe fetch food101 food/ --split test
      cpp-pipe fetch wikiart          # prints the commands that download it
    """
    given = {
        "OUT": out is not None,
        "--from": source is not None,
        "--downloads": downloads != DOWNLOADS,
        "--split": bool(split),
        "--shard-size": shard_size is not None,
    }
    if name is None:
        _require_none(given, "without a NAME, fetch only lists the data sets")
        _print_all()
    elif name in DOWNLOAD_COMMANDS:
        _require_none(given, f"fetch only prints the commands that download {name}")
        print_line(DOWNLOAD_COMMANDS[name].rstrip("\n"))
    else:
        if source is not None:
            idle = {"--downloads": downloads != DOWNLOADS}
            _require_none(idle, "with --from, nothing is downloaded")
        data_set = find_data_set(name)
        folder = out or Path(data_set.shards)
        fetch_shards(data_set, folder, source, downloads, split or (), shard_size)
        print_next(Common(), _next_step(data_set, folder), result=folder)


def _require_none(given: Mapping[str, bool], why: str) -> None:
    """ConfigError where an argument is given that does nothing."""
    idle = " and ".join(flag for flag, is_given in given.items() if is_given)
    if idle:
        raise ConfigError(f"{why}: leave out {idle}")


def fetch_shards(
    data_set: DataSet,
    out: Path,
    source: Path | None,
    downloads: Path,
    splits: list[str] | tuple[str, ...] = (),
    shard_size: int | None = None,
) -> None:
    """Writes the shards of a data set into a folder, unless they are there, and prints counts."""
    from ..datasets.contents import read_contents
    from ..datasets.shards import WHOLE, write_shards

    root = _root(data_set, source, downloads)
    contents = read_contents(out)
    wanted = set(splits or data_set.splits or (WHOLE,))
    is_same = contents is not None and CATALOG.get(contents["name"]) in _same_shards(data_set)
    if contents is not None and is_same and set(contents["splits"]) == wanted:
        message = (
            f"{out} holds the {counted(contents['images'], 'image')} of {contents['title']} already"
        )
        if shard_size not in (None, contents["shard_size"]):
            size = counted(contents["shard_size"], "image")
            message += (
                f", in shards of at most {size}: name a new folder for shards of another size"
            )
        print_text(message)
        _warn_of_missing(data_set, out, source, downloads)
        return
    require_folder(out, flag="OUT")
    require_fetchable(data_set, out, source, downloads, "name another folder for the shards")
    say(f"reading {data_set.title} in {root}" + ("" if source else ", downloaded if it is absent"))
    listing = data_set.open(root, tuple(splits), download=source is None)
    progress = current_progress()
    progress.start("fetch", listing.count, "images")
    fetched = write_shards(
        listing,
        data_set,
        root,
        out,
        shard_size=shard_size or SHARD_SIZE,
        report=lambda done, skipped: progress.advance(done, skipped=skipped),
    )
    progress.end()
    _print_counts(fetched, out)
    _warn_of_missing(data_set, out, source, downloads)


def require_fetchable(
    data_set: DataSet, out: Path, source: Path | None, downloads: Path, otherwise: str
) -> None:
    """ConfigError where the shards cannot be written to a folder, or the data set has no files.

    `otherwise` is what the user can do about the folder.
    """
    from ..datasets.contents import require_own
    from ..datasets.shards import partial_of

    root = _root(data_set, source, downloads)
    if any(root.resolve().is_relative_to(path.resolve()) for path in (out, partial_of(out))):
        raise ConfigError(
            f"the folder {out} would hold the files of {data_set.title} too, which are in {root}: "
            f"put these elsewhere (--from or --downloads), or {otherwise}"
        )
    require_own(partial_of(out), otherwise)
    if source is None and not data_set.is_downloaded:
        raise ConfigError(
            f"torchvision cannot download {data_set.title}: get it from {data_set.source}, and "
            f"name its folder with --from. The folder must hold {data_set.files}"
        )
    if source is not None and not source.is_dir():
        raise ConfigError(f"--from {source} is not a folder: name one that holds {data_set.files}")


def _root(data_set: DataSet, source: Path | None, downloads: Path) -> Path:
    """The folder of the files that torchvision reads."""
    return source or downloads / data_set.shards


def require_fetched(config: str | None, patterns: tuple[str, ...]) -> None:
    """MissingError, with the command to use, where a shipped config finds none of its shards.

    `patterns` is what its run reads: with those of a user, `embed` says what is missing.
    """
    if config is None or not (path := CONFIGS / f"{config}.toml").is_file():
        return
    if not patterns or list(patterns) != read_tables(path)["data"].get("shards"):
        return
    if any(glob.glob(pattern) for pattern in patterns):
        return
    name = "cifar10" if config == "reference" else config
    if name in CATALOG or name in DOWNLOAD_COMMANDS:
        raise MissingError(
            f"the images of {config} are not there ({', '.join(patterns)}): "
            f"`cpp-pipe fetch {name}` {'writes' if name in CATALOG else 'says how to get'} them, "
            "or name other shards with --shards"
        )


def _same_shards(data_set: DataSet) -> list[DataSet]:
    """The data sets that have the same shards: CIFAR-100 with its classes or its superclasses."""
    return [other for other in CATALOG.values() if other.shards == data_set.shards]


def _print_all() -> None:
    print_table(
        [
            Column("name"),
            Column("data set", is_cut=True),
            Column("images", is_right=True),
            Column("classes", is_right=True),
            Column("download"),
        ],
        [
            (
                data_set.name,
                data_set.title,
                f"{data_set.images:,}",
                str(data_set.classes),
                "yes" if data_set.is_downloaded else "by you",
            )
            for data_set in CATALOG.values()
        ],
    )
    others = " and ".join(DOWNLOAD_COMMANDS)
    print_text(f"{others} are downloaded by other programs: fetch prints the commands")


def _print_counts(fetched: "Fetched", out: Path) -> None:
    from ..datasets.contents import SKIPPED

    kept = sum(counts.kept for counts in fetched.splits.values())
    if kept:
        say(f"{kept} of {counted(fetched.shards, 'shard')} were there already")
    skipped = [(image.key, image.reason, image.detail) for image in fetched.skipped]
    say_skipped(skipped, rest=f": see {out / SKIPPED}")
    seen = fetched.images + len(fetched.skipped)
    print_text(
        f"seen {seen:,} = written {fetched.images:,} + skipped {len(fetched.skipped):,}, in "
        f"{counted(fetched.shards, 'shard')}"
    )
    by_split = ", ".join(f"{name} {counts.images:,}" for name, counts in fetched.splits.items())
    print_text(f"{by_split}; {counted(fetched.classes, 'class')}")


def _warn_of_missing(data_set: DataSet, out: Path, source: Path | None, downloads: Path) -> None:
    """Says where files were incomplete, as after an archive that was not unpacked to its end.

    Of some of the splits, only a missing class is noticed.
    """
    from ..datasets.contents import read_contents
    from ..datasets.shards import WHOLE

    contents = read_contents(out)
    assert contents is not None, f"{out} was written without its description"
    splits = contents["splits"]
    seen = sum(counts["images"] + counts["skipped"] for counts in splits.values())
    lacks = ""
    if all(contents["classes"] != other.classes for other in _same_shards(data_set)):
        lacks = counted(data_set.classes, "class")
    if set(splits) == set(data_set.splits or (WHOLE,)) and seen != data_set.images:
        lacks = counted(data_set.images, "image")
    if lacks:
        line = f"{data_set.title} has {lacks}: these files are incomplete"
        if source is None and data_set.is_downloaded:
            root = _root(data_set, source, downloads)
            line += f"; remove {root} and {out} to download them again"
        print_text(line)


def _next_step(data_set: DataSet, folder: Path) -> str:
    """The command that runs the shards: by the shipped config, if it reads any of them."""
    config, words, shards = CONFIGS / f"{data_set.name}.toml", ["run"], folder
    if config.is_file():
        words.append(data_set.name)
        read = Path(read_tables(config)["data"]["shards"][0])
        is_read = any(folder.glob(read.name))
        if is_read and folder == read.parent:
            return f"cpp-pipe {shlex.join(words)}"
        shards = folder / read.name if is_read and read.name != "*.tar" else folder
    return f"cpp-pipe {shlex.join([*words, '--shards', str(shards)])}"
