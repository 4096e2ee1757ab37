"""The command that writes a run as other tools read it: export."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ...store import ConfigError
from ..run import Run
from .app import subcommands
from .options import DEFAULT_RUN, DEFAULT_STORE, DeviceFlag, RunFlag, StoreFlag, open_plan

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
def export(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help=f"One of {', '.join(_OPENED)}.")],
    out: Annotated[Path, typer.Option("--out", help="A file, or a new folder: see below.")],
    texts: Annotated[
        bool, typer.Option("--texts", help="clip-retrieval: embed captions too, as text_emb.")
    ] = False,
    thumbnails: Annotated[
        int, typer.Option("--thumbnails", min=0, help="embedding-atlas: pixels a side; 0 is none.")
    ] = 0,
    projection: Annotated[
        str, typer.Option("--projection", help="embedding-atlas: pca, or umap.")
    ] = "pca",
    device: DeviceFlag = "auto",
    run: RunFlag = DEFAULT_RUN,
    store: StoreFlag = DEFAULT_STORE,
) -> None:
    """Write the run as other tools read it.

    What the run has of clusters, captions and duplicates comes along; what was made for older
    embeddings does not. parquet and embedding-atlas write a file, the others a new folder.

    \b
      cpp-pipe export parquet --out pictures.parquet
      cpp-pipe export clip-retrieval --out embeddings/
      cpp-pipe export lancedb --out pictures.lancedb
      cpp-pipe export embedding-atlas --out atlas.parquet --thumbnails 96
      cpp-pipe export fiftyone --out fiftyone/
    """
    from ..exports.image_table import ImageTable

    if form not in _OPENED:
        raise ConfigError(f"the format {form!r} is not known: {', '.join(_OPENED)} are")
    if projection not in ("pca", "umap"):
        raise ConfigError(f"--projection {projection!r} is not allowed: pca or umap is")
    for flag, is_given, owner in (
        ("--texts", texts, "clip-retrieval"),
        ("--thumbnails", thumbnails > 0, "embedding-atlas"),
        ("--projection", projection != "pca", "embedding-atlas"),
    ):
        if is_given and form != owner:
            raise ConfigError(f"{flag} goes with export {owner}, not with {form}")
    open_plan(store, run, device=device).make("embeddings", asked_by="export")
    opened = Run.open(store, run, device)
    images, places = ImageTable.of(opened), opened.record.sources
    if form == "parquet":
        from ..exports.parquet import export_parquet

        export_parquet(images, out)
    elif form == "clip-retrieval":
        from ..exports.clip_retrieval import export_clip_retrieval

        export_clip_retrieval(images, out, opened.encoder if texts else None)
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
        for name, found in (
            ("features", images.features),
            ("clusters", images.assignments),
            ("captions of clusters", images.captions),
            ("duplicates", images.duplicates),
        )
        if found is not None
    ]
    typer.echo(
        f"wrote {len(images):,} pictures to {out}, with {', '.join(held) or 'embeddings alone'}"
    )
    typer.echo(f"next: {_OPENED[form](out)}")
