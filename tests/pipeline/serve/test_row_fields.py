"""The fields of rows, each part of them mapped from a file of its own."""

import numpy as np

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.mapped_folder import MappedFolder
from cpp_pipe.pipeline.serve.row_fields import RowFields
from cpp_pipe.pipeline.serve.row_names import names_of_rows
from cpp_pipe.stages.rows.image_names import image_names

from ...stages.sources.image_files import png
from ..cli import embed
from ..curation.world import plain_tar


def test_a_part_without_rows_leaves_the_rows_of_the_next_part_as_they_are(tmp_path):
    """Both start at the same row, and the file of one was written over that of the other."""
    for number, content in enumerate((png(0), b"no image", png(1))):
        plain_tar(tmp_path / "shards" / f"{number}.tar", {f"key-{number}.png": content})
    shards = [tmp_path / "shards" / f"{number}.tar" for number in range(3)]
    embed(tmp_path / "artifacts", *shards, more=("--max-skipped", "1"))
    embeddings = Run.open(tmp_path / "artifacts").artifact("embeddings")
    assert [part.rows for part in embeddings.parts] == [1, 0, 1]
    fields = RowFields(embeddings, MappedFolder(tmp_path / "files"))
    assert fields.read([1], ["key"]) == [{"key": "key-2"}]
    assert [len(table) for _, table in fields.parts()] == [1, 0, 1]
    assert len(list((tmp_path / "files").iterdir())) == 3
    assert names_of_rows(fields, np.arange(2)) == image_names(embeddings)
    assert fields.read([1, 0], ["key"]) == [{"key": "key-2"}, {"key": "key-0"}]
