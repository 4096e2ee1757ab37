"""The command that writes a run as other tools read it: export."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ...store import ConfigError
from .app import subcommands
from .options import READING, Common, open_plan, takes
from .output import print_next
from .search import open_run

app = subcommands()

_OPENED: dict[str, Callable[[Path], str]] = {
    "parquet": lambda out: f"duckdb -c \"SELECT key, cluster FROM '{out}'\"",
    "clip-retrieval": lambda out: f"clip-retrieval index --embeddings_folder {out} ...",
    "lancedb": lambda out: f"lancedb.connect({str(out)!r}).open_table('images')",
    "embedding-atlas": lambda out: (
        f"embedding-atlas {out} --x projection_x --y projection_y --neighbors neighbors"
    ),
    "fiftyone": lambda out: (
        f"fiftyone.Dataset.from_dir({str(out)!r}, dataset_type=fiftyone.types.FiftyOneDataset)"
    ),
}
"""Each format, and how its tool opens what was written."""


@app.command()
@takes("device", *READING)
def export(
    common: Common,
    form: Annotated[str, typer.Argument(metavar="FORMAT", help=f"One of {', '.join(_OPENED)}.")],
    out: Annotated[Path, typer.Option("--out", help="A file, or a new folder: see below.")],
    texts: Annotated[
        bool, typer.Option("--texts", help="clip-retrieval: embed captions too, as text_emb.")
    ] = False,
    thumbnails: Annotated[
        int, typer.Option("--thumbnails", min=0, help="embedding-atlas: pixels a side; 0 for none.")
    ] = 0,
    projection: Annotated[
        str, typer.Option("--projection", help="embedding-atlas: pca, or umap.")
    ] = "pca",
) -> None:
    """Write a run in the format of another tool.

    The export includes the clusters, captions and duplicates that are current; those of older
    embeddings are left out. parquet and embedding-atlas write a file, the others a new folder.

    \b
      cpp-pipe export parquet --out images.parquet
      cpp-pipe export clip-retrieval --out embeddings/
      cpp-pipe export lancedb --out images.lancedb
      cpp-pipe export embedding-atlas --out atlas.parquet --thumbnails 96
      cpp-pipe export fiftyone --out fiftyone/
    """
    from ..exports.image_table import ImageTable

    if form not in _OPENED:
        raise ConfigError(f"FORMAT must be one of {', '.join(_OPENED)}, got {form!r}")
    if projection not in ("pca", "umap"):
        raise ConfigError(f"--projection must be pca or umap, got {projection!r}")
    for flag, is_given, owner in (
        ("--texts", texts, "clip-retrieval"),
        ("--thumbnails", thumbnails > 0, "embedding-atlas"),
        ("--projection", projection != "pca", "embedding-atlas"),
    ):
        if is_given and form != owner:
            raise ConfigError(f"{flag} goes with export {owner}, not with {form}")
    if form == "parquet" and not out.is_dir() and out.suffix not in (".parquet", ".pq"):
        raise ConfigError(f"--out must end in .parquet, got {out}: export parquet writes Parquet")
    plan = open_plan(common)
    plan.make("embeddings", asked_by="export")
    run = open_run(plan)
    images, places = ImageTable.of(run), run.record.sources
    if form == "parquet":
        from ..exports.parquet import export_parquet

        export_parquet(images, out)
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
    typer.echo(
        f"wrote {len(images):,} images to {out}, with {', '.join(held) or 'embeddings alone'}"
    )
    print_next(common, _OPENED[form](out))
