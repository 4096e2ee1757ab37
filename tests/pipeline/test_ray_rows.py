"""How a sample is divided among the tasks of a Ray cluster."""

from pathlib import Path

import numpy as np
import pytest

from cpp_pipe.pipeline.making.engines import ray_rows
from cpp_pipe.stages.rows.artifact_rows import EMBEDDING
from cpp_pipe.stages.rows.sampled_rows import gather_rows, split_by_part

from ..stages.rows.random_parts import make_embeddings


@pytest.mark.parametrize("tasks", [1, 2, 3, 100])
@pytest.mark.parametrize("most_rows", [1, 20, 1000])
def test_the_rows_of_all_tasks_equal_those_of_one_machine(tmp_path, tasks, most_rows):
    artifact, _ = make_embeddings(tmp_path, (70, 0, 1, 30, 40))
    rows = np.arange(0, 141, 2)
    chunks = ray_rows._split_into_chunks(list(split_by_part(artifact, rows)), tasks, most_rows)
    answers = [ray_rows._draw(artifact.folder, EMBEDDING, chunk, Path.cwd()) for chunk in chunks]
    assert (np.concatenate(answers) == gather_rows(artifact, EMBEDDING, rows)).all()
    assert all(
        len(chunk) == 1 or len(answer) <= most_rows
        for chunk, answer in zip(chunks, answers, strict=True)
    )
    assert most_rows < 1000 or len(chunks) <= tasks
