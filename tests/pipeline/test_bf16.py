"""Embedding in bf16 on a processor that has it, and searching such embeddings."""

import json

import numpy as np
import pytest

from cpp_pipe.stages.encoding.models.bf16_products import bf16_of_processor
from cpp_pipe.stages.rows.artifact_rows import gather
from cpp_pipe.stages.sources.digits import digit_image

from .cli import call, embed, open_whole, succeed

pytestmark = pytest.mark.skipif(not bf16_of_processor(), reason="the processor lacks bf16")

BF16 = ("--set", "embed.precision=bf16")


def test_embeddings_in_bf16_hardly_differ_and_the_run_reports_how_much(digit_shards, tmp_path):
    plain = embed(tmp_path / "plain", digit_shards)
    coarse = embed(tmp_path / "coarse", digit_shards, more=BF16)
    (line,) = [line for line in coarse.err.splitlines() if "cosines to float32" in line]
    assert line.startswith("embed: in bf16 the first 8 images have cosines to float32 of 0.9999")
    assert "float32" not in plain.out + plain.err
    exact, changed = (open_whole(tmp_path / name) for name in ("plain", "coarse"))
    assert exact.version != changed.version
    assert changed.facts["model"] == {**exact.facts["model"], "precision": "bf16"}
    before, after = (gather(artifact).astype(np.float64) for artifact in (exact, changed))
    assert not np.array_equal(before, after)
    assert (before * after).sum(axis=1).min() > 0.9998


def test_an_image_among_embeddings_in_bf16_finds_itself_first(digit_shards, tmp_path):
    store = tmp_path / "store"
    embed(store, digit_shards, more=BF16)
    first = open_whole(store).column("key")[0]
    number = int(first.removeprefix("digit_"))
    digit_image(number).save(tmp_path / "query.png")
    raw = ("--space", "embeddings", "--json")
    hits = json.loads(succeed(store, "search", "--query", tmp_path / "query.png", *raw).out)
    assert hits[0]["key"] == first
    assert hits[0]["similarity"] == pytest.approx(1.0, abs=1e-3)
    assert json.loads(succeed(store, "search", "--text", "a seven", *raw).out)


def test_the_doctor_reports_bf16_of_the_processor_and_its_gain():
    (line,) = [line for line in call(None, "doctor").out.splitlines() if line.startswith("bf16")]
    assert bf16_of_processor() in line and "--set embed.precision=bf16" in line
