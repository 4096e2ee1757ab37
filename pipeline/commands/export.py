"""The command that writes a run as other tools read it: export."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...store import ConfigError
from ..destinations import PARQUET, require_file, require_folder
from ..wording import agreeing, counted
from .app import subcommands
from .messages import current_progress
from .options import LONG, READING, Common, open_plan, say, takes
from .output import check_inputs, print_next, print_text
from .search import open_run

if TYPE_CHECKING:
    from ..exports.labelled_images import LabelledImages

app = subcommands()

_OPENERS: dict[str, Callable[[Path], tuple[str, ...]]] = {
    "parquet": lambda out: ("duckdb", "-c", f"SELECT key, shard FROM {_quoted_in_sql(out)}"),
    "csv": lambda out: ("duckdb", "-c", f"SELECT key, shard FROM {_quoted_in_sql(out)}"),
    "folders": lambda out: ("ls", str(out)),
    "clip-retrieval": lambda out: (
        "clip-retrieval", "index", "--embeddings_folder", str(out),
        "--index_folder", str(out.with_name(f"{out.name}-index")),
    ),
    "lancedb": lambda out: (
        "python", "-c",
        f"import lancedb; print(lancedb.connect({str(out)!r}).open_table('images').count_rows())",
    ),
    "embedding-atlas": lambda out: (
        "embedding-atlas", str(out), "--x", "projection_x", "--y", "projection_y",
        "--neighbors", "neighbors",
    ),
    "fiftyone": lambda out: (
        "python", "-c",
        "import fiftyone; fiftyone.launch_app(fiftyone.Dataset.from_dir("
        f"{str(out)!r}, dataset_type=fiftyone.types.FiftyOneDataset)).wait()",
    ),
    "coco": lambda out: (
        "python", "-c",
        f"from pycocotools.coco import COCO; COCO({str(out / 'annotations.json')!r}).info()",
    ),
    "imagefolder": lambda out: (
        "python", "-c",
        f"from torchvision.datasets import ImageFolder; print(ImageFolder({str(out)!r}))",
    ),
    "webdataset": lambda out: (
        "python", "-c",
        "import glob, webdataset; print(next(iter(webdataset.WebDataset("
        f"sorted(glob.glob({str(out / '*.tar')!r})), shardshuffle=False)))['json'])",
    ),
    "huggingface": lambda out: (
        "python", "-c",
        f"import datasets; print(datasets.load_dataset({str(out)!r}))",
    ),
}  # fmt: skip
"""For each format, the shell command by which its tool opens the export."""

_FILES = ("parquet", "csv", "embedding-atlas")
"""Formats that are one file; the others are folders."""

_LABELLED = ("coco", "imagefolder", "webdataset", "huggingface")
"""Formats of data sets for training: their classes are the clusters."""

_FILTERED = ("parquet", "csv", "folders", *_LABELLED)
"""Formats that take --edits and --where."""

_NAMED = 5
"""Unreadable images that are named, at most."""


@app.command()
@takes("device", "edits", "where", *LONG, *READING)
def export(
    common: Common,
    form: Annotated[str, typer.Argument(metavar="FORMAT", help=f"One of {', '.join(_OPENERS)}.")],
    out: Annotated[
        Path, typer.Option("--out", help="A file, or a new folder, depending on FORMAT.")
    ],
    link: Annotated[
        bool, typer.Option("--link", help="folders: link image files instead of copying them.")
    ] = False,
    texts: Annotated[
        bool, typer.Option("--texts", help="clip-retrieval: also embed captions, as text_emb.")
    ] = False,
    thumbnails: Annotated[
        int,
        typer.Option(
            "--thumbnails",
            min=0,
            help="embedding-atlas: size of small images in pixels; 0 for none.",
        ),
    ] = 0,
    projection: Annotated[
        str, typer.Option("--projection", help="embedding-atlas: place images by pca or umap.")
    ] = "pca",
    split: Annotated[
        float | None,
        typer.Option(
            "--split", help="imagefolder: share of the images in train/; the rest goes to test/."
        ),
    ] = None,
    samples_per_shard: Annotated[
        int,
        typer.Option(
            "--samples-per-shard", min=1, help="webdataset, huggingface: images in a file, at most."
        ),
    ] = 1000,
) -> None:
    """Write a run in the format of another tool.

    The export includes clusters, captions and duplicates if they are up to date. parquet, csv and
    embedding-atlas write a file, the others a new folder. folders has a folder for each cluster.
    parquet and csv have a column for each score.

    coco, imagefolder, webdataset and huggingface are data sets whose classes are the clusters, with
    your names, else with their captions. They hold the images byte for byte, without excluded ones.
    webdataset adds clusters and decisions to each sample; `curate` copies samples as they are.
    These four, parquet, csv and folders take decisions (--edits) and conditions (--where).

    \b
      cpp-pipe export parquet --out images.parquet
      cpp-pipe export csv --edits open --out images.csv
      cpp-pipe export folders --edits final --where 'sharpness > 2' --out clusters/
      cpp-pipe export clip-retrieval --out embeddings/
      cpp-pipe export lancedb --out images.lancedb
      cpp-pipe export embedding-atlas --out atlas.parquet --thumbnails 96
      cpp-pipe export fiftyone --out fiftyone/
      cpp-pipe export coco --edits final --out coco/
      cpp-pipe export imagefolder --split 0.8 --out classes/
      cpp-pipe export webdataset --samples-per-shard 5000 --out shards/
      cpp-pipe export huggingface --out dataset/
    """
    from ..exports.image_table import ImageTable
    from ..view.conditions import Condition

    if form not in _OPENERS:
        raise ConfigError(f"FORMAT must be one of {', '.join(_OPENERS)}, got {form!r}")
    if projection not in ("pca", "umap"):
        raise ConfigError(f"--projection must be pca or umap, got {projection!r}")
    for flag, is_given, owner in (
        ("--texts", texts, "clip-retrieval"),
        ("--link", link, "folders"),
        ("--thumbnails", thumbnails > 0, "embedding-atlas"),
        ("--projection", projection != "pca", "embedding-atlas"),
        ("--split", split is not None, "imagefolder"),
        ("--samples-per-shard", samples_per_shard != 1000, "webdataset or huggingface"),
    ):
        if is_given and form not in owner.split(" or "):
            raise ConfigError(f"{flag} goes with export {owner}, not with {form}: leave it out")
    for flag, value in (("--edits", common.edits), ("--where", common.where)):
        if value and form not in _FILTERED:
            raise ConfigError(
                f"{flag} goes with export {', '.join(_FILTERED)}, not with {form}: leave it out"
            )
    for text in common.where or ():
        Condition.parse(text)
    if split is not None and not 0 < split < 1:
        raise ConfigError(f"--split must be between 0 and 1, such as 0.8, got {split}")
    if form in _FILES:
        require_file(out, (".csv",) if form == "csv" else PARQUET)
    else:
        require_folder(out)
    plan = open_plan(common)
    check_inputs(plan, out)
    plan.make("embeddings", asked_by="export")
    if form in _LABELLED:
        plan.make("assignments", asked_by="export")
    run = open_run(plan)
    progress = current_progress()
    images = ImageTable.of(run, common.edits, progress.advance, where=common.where or ())
    places = run.record.sources
    progress.start("export", len(images), "images")
    if form in _LABELLED:
        from ..exports.labelled_images import LabelledImages

        labelled = LabelledImages.of(images, places)
        lines = _write_labelled(labelled, form, out, split, samples_per_shard)
        progress.end()
        _print_labelled(labelled, out, lines)
        print_next(common, _shell_line(_OPENERS[form](out / "train" if split else out)))
        return
    if form == "parquet":
        from ..exports.parquet import export_parquet

        export_parquet(images, out)
    elif form == "csv":
        from ..exports.csv import export_csv

        export_csv(images, out)
    elif form == "folders":
        from ..exports.folders import export_folders

        counts = export_folders(images, out, places, link=link)
        progress.end()
        written, held = sum(counts.values()), counted(len(counts), "folder")
        print_text(f"wrote {counted(written, 'image')} in {held} to {out}")
        _print_excluded(len(images) - written)
        print_next(common, _shell_line(_OPENERS[form](out)))
        return
    elif form == "clip-retrieval":
        from ..exports.clip_retrieval import export_clip_retrieval

        export_clip_retrieval(images, out, run.encoder if texts else None)
    elif form == "lancedb":
        from ..exports.lancedb import export_lancedb

        export_lancedb(images, out)
    elif form == "embedding-atlas":
        from ..exports.embedding_atlas import export_embedding_atlas

        how = "umap" if projection == "umap" else "pca"
        export_embedding_atlas(images, out, projection=how, thumbnail=thumbnails, places=places)
    else:
        from ..exports.fiftyone import export_fiftyone

        export_fiftyone(images, out, places)
    progress.end()
    held = [
        name
        for name, artifact in (
            ("features", images.features),
            ("clusters", images.assignments),
            ("captions of clusters", images.captions),
            ("duplicates", images.duplicates),
        )
        if artifact is not None
    ]
    print_text(
        f"wrote {counted(len(images), 'image')} to {out}, with "
        f"{', '.join(held) or 'embeddings alone'}"
    )
    print_next(common, _shell_line(_OPENERS[form](out)))


def _write_labelled(
    images: "LabelledImages", form: str, out: Path, split: float | None, samples_per_shard: int
) -> list[str]:
    """Writes a data set; returns sentences on its parts."""
    if form == "coco":
        from ..exports.coco import export_coco

        export_coco(images, out)
    elif form == "imagefolder":
        from ..exports.imagefolder import export_imagefolder

        made = export_imagefolder(images, out, split)
        if made is None:
            return []
        lines = [f"{counted(made.train, 'image')} in train, {made.test:,} in test"]
        if made.alone:
            has = agreeing(made.alone, "has one image and is", "have one image each and are")
            lines.append(f"{counted(made.alone, 'class')} {has} in train alone")
        return lines
    elif form == "webdataset":
        from ..exports.webdataset import export_webdataset

        return [counted(export_webdataset(images, out, samples_per_shard), "shard")]
    else:
        from ..exports.huggingface import export_huggingface

        return [counted(export_huggingface(images, out, samples_per_shard), "Parquet file")]
    return []


def _print_labelled(images: "LabelledImages", out: Path, lines: list[str]) -> None:
    """Prints what was written, and which images were left out."""
    count, classes = counted(images.written, "image"), counted(len(images.classes), "cluster")
    print_text("; ".join([f"wrote {count} of {classes} to {out}", *lines]))
    _print_excluded(images.excluded)
    if images.unreadable:
        lost = images.unreadable
        named = [f"{name} ({why})" for name, why in list(lost.items())[:_NAMED]]
        more = f", and {len(lost) - _NAMED:,} more" if len(lost) > _NAMED else ""
        which = agreeing(len(lost), "could not be read and is", "could not be read and are")
        say(f"{counted(len(lost), 'image')} {which} left out: {', '.join(named)}{more}")


def _print_excluded(count: int) -> None:
    """Prints how many images were left out because they are excluded."""
    if count:
        which = agreeing(count, "excluded image is", "excluded images are")
        print_text(f"{count:,} {which} left out")


def _shell_line(words: tuple[str, ...]) -> str:
    """A shell command, with double quotes where these need no escapes."""
    return " ".join(
        f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)
        for word in words
    )


def _quoted_in_sql(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
