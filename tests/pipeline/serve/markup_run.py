"""A run in which every text is markup, a script or a path, which a page must show as text."""

import io
import json
from pathlib import Path

from webdataset.writer import TarWriter

from cpp_pipe.pipeline.commands.options import Common, open_plan
from cpp_pipe.pipeline.serve.preparation import prepare
from cpp_pipe.stages.sources.digits import digit_halves, digit_image

from ..cli import SMALL, embed, succeed

SCRIPT = "<img src=x onerror=\"window.caught='yes'\"><script>window.caught='yes'</script>"

WORDS = [f"{SCRIPT} number {number}" for number in range(6)] + ["../../etc/passwd", "‮evil"]

ROWS = 24


def key_of(number: int) -> str:
    """A key with characters that are special in paths, queries and markup."""
    return f"a&b=<i>{number:02d}'\"%2F#é?"


def write_markup_shard(path: Path) -> Path:
    """A shard of digits with such keys, captions and fields."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = digit_halves()[1]
    with TarWriter(str(path)) as writer:
        for number in range(ROWS):
            buffer = io.BytesIO()
            digit_image(int(rows[number])).save(buffer, "PNG")
            # As Python writes it, with NaN, which JSON lacks, and a lone surrogate.
            fields = json.dumps(
                {"url": "javascript:window.caught='yes'", "odd": float("nan"), "half": "\ud800"}
                | {SCRIPT: [SCRIPT, {"deep": SCRIPT}]}
            )
            writer.write(
                {
                    "__key__": key_of(number),
                    "png": buffer.getvalue(),
                    "txt": SCRIPT.encode(),
                    "json": fields.encode(),
                }
            )
    return path


def make_markup_run(folder: Path) -> Path:
    """A store with a run over such a shard."""
    shard = write_markup_shard(folder / "shards" / "<b>shard&.tar")
    words = folder / "words.txt"
    words.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    store = folder / "artifacts"
    embed(store, shard)
    succeed(store, "train", *SMALL)
    succeed(store, "hierarchy", "--finest", "4")
    succeed(store, "assign", "--k", "3")
    succeed(store, "caption", "--vocabulary", words)
    prepare(open_plan(Common(store=str(store), device="cpu")))
    return store
