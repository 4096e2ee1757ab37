"""`embed --dry-run` writes nothing, and a long embedding is announced early."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpp_pipe.pipeline.making.displays import Lines
from cpp_pipe.pipeline.making.forecast import Forecast, Measurement, SourceTotals, forecast
from cpp_pipe.pipeline.making.progress import ShownProgress
from cpp_pipe.pipeline.making.slow_model import SlowModelProgress, watch
from cpp_pipe.stages.contract import Progress, Runtime
from cpp_pipe.stages.embed import Embed
from cpp_pipe.stages.encoding.models.costs import cheaper_model
from cpp_pipe.stages.encoding.timed_sample import TimedSample
from cpp_pipe.stages.train import Train
from cpp_pipe.store import Store

from ..stages.shards import write_shards
from ..stages.sources.image_files import png, write_folder
from ..stages.world import plan_of
from .cli import DIGITS, body, embed, fail, open_whole, succeed
from .clock import Clock


@pytest.fixture
def store(tmp_path) -> Path:
    return tmp_path / "artifacts"


def dry(store: Path, *words: str | Path) -> list[str]:
    """The lines of a dry run."""
    return body(succeed(store, "embed", "--dry-run", *words, *DIGITS).out)


def files_of(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Every file below a folder with its time and bytes."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_dry_run_counts_what_is_there_and_creates_no_store(store, tmp_path):
    write_shards(tmp_path / "in")
    lines = dry(store, "--shards", tmp_path / "in")
    size = sum(path.stat().st_size for path in (tmp_path / "in").iterdir()) / 1000
    assert lines[0] == f"to embed: 60 images in 3 shards, {size:.1f} kB"
    assert lines[1].startswith("model: digits-clip (digits-clip.safetensors), 32 dimensions, ")
    assert lines[2].startswith("sample: ") and lines[2].endswith(" a second")
    assert lines[3].startswith("store: about ")
    assert lines[4].startswith("time: about ") and lines[4].endswith(" on this machine")
    assert len(lines) == 5
    assert not store.exists()


def test_its_lines_fit_a_terminal_and_the_last_is_the_next_command(store, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    write_shards(tmp_path / "in")
    done = succeed(store, "embed", "--dry-run", "--shards", tmp_path / "in", *DIGITS)
    assert max(map(len, done.out.splitlines())) <= 80
    assert done.out.splitlines()[-1] == "next: run it again without --dry-run to embed them"


def test_embedded_parts_are_not_counted_and_the_store_stays_unchanged(store, tmp_path):
    first, *_ = write_shards(tmp_path / "in")
    embed(store, first)
    before = files_of(store)
    lines = dry(store, "--shards", tmp_path / "in")
    assert lines[0] == "embedded already: 1 of 3 parts"
    assert lines[1].startswith("to embed: 40 images in 2 shards, ")
    assert dry(store, "--shards", first) == ["to embed: nothing, because 1 part is there"]
    assert files_of(store) == before


def test_a_shipped_data_set_is_not_written_into_the_store(store):
    lines = body(succeed(store, "embed", "--dry-run", "--config", "digits").out)
    assert lines[0].startswith("to embed: 896 images in 4 shards, ")
    assert not store.exists()


def test_folders_and_tables_say_how_many_images_they_hold(store, tmp_path):
    write_folder(tmp_path / "photos", 20)
    table = {"image": [png(number) for number in range(30)], "key": [f"{n}" for n in range(30)]}
    pq.write_table(pa.table(table), tmp_path / "some.parquet")
    lines = dry(store, "--images", tmp_path / "photos", "--table", tmp_path / "some.parquet")
    assert lines[0].startswith("to embed: 50 images in 10 folders and 1 table, ")


def test_shards_that_are_not_opened_are_estimated_by_their_bytes(store, tmp_path):
    write_shards(tmp_path / "in", shards=12, size=10)
    (line, *_) = dry(store, "--shards", tmp_path / "in")
    words = line.split()
    assert words[:3] == ["to", "embed:", "about"]
    assert 110 <= int(words[3]) <= 130
    assert words[4:8] == ["images", "in", "12", "shards,"]


def test_shards_whose_parts_would_have_the_same_name_are_all_counted(store, tmp_path, monkeypatch):
    monkeypatch.setattr("cpp_pipe.stages.sources.shards.NAME_DIGITS", 0)
    named = []
    for number, size in enumerate((10, 20, 30)):
        folder = tmp_path / str(number)
        named += ["--shards", *write_shards(folder, shards=1, size=size, first=60 * number)]
    assert dry(store, *named)[0].startswith("to embed: 60 images in 3 shards, ")


def test_counts_of_img2dataset_are_used_for_shards_that_are_not_opened(store, tmp_path):
    for path in write_shards(tmp_path / "in", shards=12, size=10):
        path.with_name(f"{path.stem}_stats.json").write_text('{"successes": 10}')
    (line, *_) = dry(store, "--shards", tmp_path / "in")
    assert line.startswith("to embed: 120 images in 12 shards, ")


def test_the_forecast_of_bytes_is_about_right(store, tmp_path):
    write_shards(tmp_path / "in", shards=3, size=60)
    found = forecast(plan_of(Store(tmp_path / "other"), tmp_path / "in"))
    embed(store, tmp_path / "in")
    artifact = open_whole(store)
    written = sum(file.stat().st_size for file in artifact.folder.rglob("*") if file.is_file())
    assert written / 1.3 < found.store_bytes < written * 1.3


def test_an_image_that_cannot_be_read_is_counted_in_the_sample(store, tmp_path):
    write_folder(tmp_path / "photos", 9)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no image")
    lines = dry(store, "--images", tmp_path / "photos")
    assert "skipped: 1 of 10 images of the sample is not readable" in lines


def test_a_dry_run_needs_images_and_a_model(store, tmp_path):
    assert "nothing to embed" in fail(store, "embed", "--dry-run")
    write_shards(tmp_path / "in")
    words = ("embed", "--dry-run", "--shards", tmp_path / "in", "--model", "ViT-X")
    assert "open_clip has no model 'ViT-X'" in fail(store, *words)
    assert not store.exists()


def predicted(*, images: int, model: str = "ViT-L-14", **measured) -> Forecast:
    """A forecast from a sample of one image a second."""
    sample = TimedSample(
        images=32, seconds=32.0, skipped=0, seen=64, listed={},
        bytes_for_image=1_600.0, bytes_for_part=8_000.0,
    )  # fmt: skip
    values = {"device": "cpu", "workers": 1, "speedup": 1, "machines": 1, **measured}
    return Forecast(
        done=0,
        todo=SourceTotals(
            sources={"shard": 2}, parts=2, bytes=10**9, samples=images, is_estimate=False
        ),
        model=model,
        pretrained="openai",
        measurement=Measurement(sample=sample, load_seconds=5, size=768, threads=2, **values),
    )


def test_hours_of_a_large_model_on_a_cpu_come_with_advice():
    *_, time, advice = predicted(images=36_000).lines()
    assert time == "time: about 10 hours on this machine"
    assert advice == (
        "ViT-L-14 is slow on a CPU: --model ViT-B-32 --pretrained openai takes about 1/18 of "
        "that, 33 minutes"
    )


@pytest.mark.parametrize(
    "quick",
    [
        predicted(images=1_700),
        predicted(images=36_000, device="cuda"),
        predicted(images=36_000, model="ViT-B-32"),
        predicted(images=36_000, model="my-own"),
    ],
    ids=["half an hour", "a GPU", "a small model", "an unknown model"],
)
def test_no_other_model_is_advised_where_it_would_not_help(quick):
    assert list(quick.lines())[-1].startswith("time: ")


def test_workers_on_gpus_and_other_machines_share_the_time():
    (line, *_) = [line for line in predicted(images=36_000, workers=2).lines() if "time" in line]
    assert line == (
        "time: about 10 hours on this machine with 2 workers: they share its cores, so one is as "
        "fast"
    )
    gpus = predicted(images=36_000, device="cuda", workers=4, speedup=4, machines=10)
    times = [line for line in gpus.lines() if line.startswith("time")]
    assert times == [
        "time: about 2.5 hours on this machine with 4 workers",
        "time: about 15 minutes on 10 such machines",
    ]


# The word of a real command.


def waiting(
    model: str, clock: Clock, *, machines: int = 1
) -> tuple[SlowModelProgress, io.StringIO]:
    """Progress on two cores, and what it writes."""
    stream = io.StringIO()
    cheaper = cheaper_model(model)
    assert cheaper is not None
    progress = ShownProgress(Lines(stream), clock=clock)
    return SlowModelProgress(
        progress, model, cheaper, cores=2, machines=machines, clock=clock
    ), stream


def words_of(stream: io.StringIO) -> list[str]:
    """The lines without counts."""
    return [line for line in stream.getvalue().splitlines() if "%)" not in line]


def test_a_long_embedding_is_announced_after_a_batch_on_each_core():
    clock = Clock()
    progress, stream = waiting("ViT-L-14", clock)
    progress.start("embed", 0, "images")
    progress.revise(36_000)
    clock.sleep(32)
    progress.advance(16)
    assert words_of(stream) == []
    progress.advance(16)
    assert words_of(stream) == [
        "embed: about 10 hours left, at 1.0 a second: ViT-L-14 is slow on a CPU",
        "embed: --model ViT-B-32 --pretrained openai takes about 1/18 of that; Ctrl-C stops this",
    ]
    clock.sleep(32)
    progress.advance(32)
    assert len(words_of(stream)) == 2


def test_a_short_or_shared_embedding_is_not_announced():
    for total, machines in ((1_700, 1), (36_000, 40)):
        clock = Clock()
        progress, stream = waiting("ViT-L-14", clock, machines=machines)
        progress.start("embed", total, "images")
        for _ in range(20):
            clock.sleep(16)
            progress.advance(16)
        progress.end()
        assert words_of(stream) == []


def test_only_an_embedding_with_a_large_model_on_a_cpu_is_watched():
    runtime = Runtime()
    plain: Progress = runtime.progress
    large = Embed(model="ViT-L-14", pretrained="openai")
    assert watch(large, "cuda", runtime) is plain
    assert watch(Embed(model="ViT-B-32", pretrained="openai"), "cpu", runtime) is plain
    assert watch(Train(), "cpu", runtime) is plain
    assert isinstance(watch(large, "cpu", runtime), SlowModelProgress)
