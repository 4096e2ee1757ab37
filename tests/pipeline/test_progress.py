"""Progress: rates, the time spent on each step, and messages of workers."""

import errno
import io
import json
import os
import re
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.commands.messages import finish
from cpp_pipe.pipeline.commands.options import Common, open_plan, say
from cpp_pipe.pipeline.making.counts import Count, Summary, line_of
from cpp_pipe.pipeline.making.displays import (
    Display,
    JsonLines,
    Lines,
    LogFile,
    Messages,
    can_redraw,
)
from cpp_pipe.pipeline.making.live_line import LiveLine
from cpp_pipe.pipeline.making.progress import ShownProgress, open_progress
from cpp_pipe.pipeline.making.worker_progress import QueueProgress, forwarded_progress
from cpp_pipe.stages.contract import Progress
from cpp_pipe.store import ConfigError, MissingError

from ..stages.sources.image_files import write_folder
from .clock import Clock


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """True."""
        return True


def shown(display: Display, clock: Clock) -> ShownProgress:
    """Progress on one display."""
    return ShownProgress(display, clock=clock)


def test_the_current_rate_covers_ten_seconds_and_the_average_everything():
    clock = Clock()
    count = Count("embed", 10_000, "images", clock())
    for _ in range(60):
        clock.sleep(1)
        count.add(10, 0, "", None, clock())
    for _ in range(20):
        clock.sleep(1)
        count.add(100, 0, "", None, clock())
    look = count.snapshot(clock())
    assert look.done == 2600
    assert look.per_second_now == pytest.approx(100)
    assert look.per_second == pytest.approx(2600 / 80)
    assert look.seconds_left == pytest.approx(7400 / (2600 / 80))


def test_the_current_rate_of_a_new_count_is_its_average():
    clock = Clock()
    count = Count("embed", 100, "images", clock())
    assert count.snapshot(clock()).per_second_now == 0
    assert count.snapshot(clock()).seconds_left is None
    clock.sleep(2)
    count.add(10, 0, "", None, clock())
    assert count.snapshot(clock()).per_second_now == count.snapshot(clock()).per_second == 5


def test_frequent_steps_keep_few_marks():
    clock = Clock()
    count = Count("embed", 100_000, "images", clock())
    for _ in range(30_000):
        clock.sleep(0.001)
        count.add(1, 0, "", None, clock())
    assert len(count._marks) < 25
    assert count.snapshot(clock()).per_second_now == pytest.approx(1000, rel=0.01)


def test_the_line_says_rates_parts_time_left_skipped_and_waiting():
    clock, stream = Clock(), io.StringIO()
    line = shown(Lines(stream), clock)
    line.parts(2, 20)
    line.start("embed", 40_000, "images")
    clock.sleep(100)
    line.advance(10_000, skipped=3, spent={"encode": 90, "waited": 10})
    assert stream.getvalue() == (
        "embed: 10,000 of 40,000 images (25%), 100.0 a second now, 100.0 on average, 5:00 left, "
        "2 of 20 parts, 3 skipped, 10% waiting for data\n"
    )


def test_a_count_shows_only_what_is_known():
    clock, stream = Clock(), io.StringIO()
    line = shown(Lines(stream), clock)
    line.parts(0, 1)
    line.start("train", 100, "steps")
    clock.sleep(10)
    line.advance(50, note="rate 12.1")
    assert stream.getvalue() == (
        "train: 50 of 100 steps (50%), 5.0 a second now, 5.0 on average, 0:10 left, rate 12.1\n"
    )


def test_the_line_on_a_terminal_is_wiped_before_a_message(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    clock, stream = Clock(), Terminal()
    line = shown(LiveLine(stream), clock)
    line.start("embed", 10, "images")
    for _ in range(8):
        clock.sleep(0.125)
        line.advance(1)
    line.report("done")
    drawn = stream.getvalue()
    assert "8/10 images" in drawn
    # Wiped, and the cursor is there again.
    assert drawn.endswith("\x1b[2Kdone\n")
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")


def test_large_changes_of_an_estimated_total_are_reported():
    clock, stream = Clock(), io.StringIO()
    progress = shown(JsonLines(stream), clock)
    progress.start("embed", 0, "images")
    for estimate in (1000, 1050, 950, 1000, 1200, 800, 850):
        clock.sleep(1)
        progress.revise(estimate)
        progress.advance(100)
    progress.sum_up({})
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    shown_values = [line.get("message", line.get("total")) for line in lines]
    assert shown_values == [
        1000, 1000, 1000, 1000,
        "embed: about 1,200 images in all, not 1,000", 1200,
        "embed: about 800 images in all, not 1,200", 800, 800,
        700,
    ]  # fmt: skip
    assert [line["is_estimate"] for line in lines if "total" in line] == [True] * 7 + [False]


def test_a_count_beyond_its_estimated_total_raises_the_total():
    count = Count("embed", 0, "images", 0.0)
    assert count.revise(10) == ""
    count.add(15, 0, "", None, 1.0)
    assert count.snapshot(1.0).total == 15
    assert count.revise(12) == ""


def test_no_line_says_more_than_all_of_a_count():
    """A log said 120% where a folder had got more files since they were counted."""
    count = Count("embed", 10, "images", 0.0)
    count.add(12, 0, "", None, 4.0)
    assert line_of(count.snapshot(4.0)).startswith("embed: 12 of 10 images (100%), ")


def test_a_step_that_fails_in_python_leaves_no_line_that_is_redrawn(tmp_path):
    """A line went on to count the seconds below the prompt, or the cell, for ever."""
    run = Run.create(tmp_path / "artifacts", progress="bar")
    run.embed(
        images=write_folder(tmp_path / "photos", 6), model="digits-clip", pretrained="shipped"
    )
    next((tmp_path / "photos").rglob("*.png")).unlink()
    with pytest.raises(MissingError):
        run.duplicates(tier="identical")
    for thread in threading.enumerate():
        if type(thread).__name__ == "_RefreshThread":
            thread.join(10)  # it was told to end, and may need a moment
            assert not thread.is_alive()


def test_a_log_gets_a_line_every_ten_seconds():
    clock, stream = Clock(), io.StringIO()
    line = shown(Lines(stream), clock)
    line.start("embed", 100, "images")
    for _ in range(61):
        clock.sleep(0.5)
        line.advance(1)
    assert stream.getvalue().count("\n") == 3


def test_json_has_every_field_on_one_line():
    clock, stream = Clock(), io.StringIO()
    progress = shown(JsonLines(stream), clock)
    progress.parts(1, 4)
    progress.start("embed", 0, "images")
    progress.revise(200)
    clock.sleep(4)
    progress.advance(50, skipped=2, note="x", spent={"encode": 3, "waited": 1, "read": 0.5})
    progress.report("a message")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines == [
        {
            "what": "embed",
            "done": 50,
            "total": 200,
            "is_estimate": True,
            "unit": "images",
            "per_second_now": 12.5,
            "per_second": 12.5,
            "seconds_left": 12.0,
            "skipped": 2,
            "parts_done": 1,
            "parts": 4,
            "waiting_share": 0.25,
            "note": "x",
        },
        {"message": "a message"},
    ]


def test_json_has_no_rate_in_the_first_second():
    clock, stream = Clock(), io.StringIO()
    progress = shown(JsonLines(stream), clock)
    progress.start("embed", 10, "images")
    clock.sleep(1)
    progress.advance(0)
    state = json.loads(stream.getvalue())
    assert state["seconds_left"] is None
    assert state["waiting_share"] is None


def test_a_run_ends_with_one_table_that_names_its_limit():
    clock, stream = Clock(), io.StringIO()
    line = shown(Lines(stream), clock)
    line.start("embed", 900, "images")
    spent = {"read": 1, "decode": 9, "encode": 89, "write": 1, "waited": 10}
    line.advance(900, skipped=3, spent=spent)
    clock.sleep(90)
    line.sum_up({"undecodable": 2, "too_large": 1})
    assert stream.getvalue().splitlines() == [
        "embed: images  seconds  a second  read  decode  encode  write  waiting  skipped",
        "embed:    900     90.0      10.0  1.0%    9.0%   89.0%   1.0%    10.1%        3",
        "embed: limited by the encoder",
        "embed: skipped: undecodable 2, too_large 1",
    ]


def test_the_table_is_json_too():
    clock, stream = Clock(), io.StringIO()
    progress = shown(JsonLines(stream), clock)
    progress.start("embed", 900, "images")
    progress.advance(900, spent={"decode": 3, "encode": 1})
    clock.sleep(90)
    progress.sum_up({})
    last, table = (json.loads(line) for line in stream.getvalue().splitlines())
    assert last["done"] == last["total"] == 900
    assert table["summary"]["per_second"] == 10
    assert table["summary"]["shares"] == {"read": 0, "decode": 0.75, "encode": 0.25, "write": 0}
    assert table["summary"]["limit"].startswith("decoding")


@pytest.mark.parametrize(
    ("name", "limit"),
    [("read", "reading"), ("decode", "scaled_jpeg=true"), ("encode", "encoder"), ("write", "disk")],
)
def test_the_limit_is_what_takes_most_time(name: str, limit: str):
    count = Count("embed", 1, "images", 0.0)
    count.add(1, 0, "", {"read": 1, "decode": 1, "encode": 1, "write": 1, "waited": 9}, 1.0)
    count.add(1, 0, "", {name: 1}, 1.0)
    summary = Summary.of(count, {}, 2.0)
    assert summary is not None
    assert limit in summary.limit


def test_a_count_without_times_has_no_table():
    stream = io.StringIO()
    line = shown(Lines(stream), Clock())
    line.sum_up({})
    line.start("train", 100, "steps")
    line.advance(100)
    line.sum_up({})
    assert stream.getvalue() == ""


def test_no_progress_still_prints_messages():
    clock, stream = Clock(), io.StringIO()
    progress = shown(Messages(stream), clock)
    progress.start("embed", 10, "images")
    clock.sleep(1000)
    progress.advance(10, spent={"encode": 1})
    progress.sum_up({})
    progress.report("a line")
    assert stream.getvalue() == "a line\n"


def test_an_unknown_progress_is_refused():
    with pytest.raises(ConfigError, match="must be one of auto, bar, log, json, none, got 'line'"):
        open_progress("line")


@pytest.mark.parametrize(
    ("variables", "is_live"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "unknown"}, False),
        ({"CI": "true"}, False),
        ({"CI": "false"}, True),
    ],
)
def test_a_line_is_redrawn_only_on_a_terminal(monkeypatch, variables, is_live):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert can_redraw(Terminal()) == is_live
    assert not can_redraw(io.StringIO())


def test_each_command_chooses_its_progress(tmp_path, capsys):
    open_plan(Common(store=str(tmp_path), progress="json"))
    say("hello")
    assert json.loads(capsys.readouterr().err) == {"message": "hello"}
    plan = open_plan(Common(store=str(tmp_path)))
    say("hello")
    plan.runtime.progress.report("again")
    assert capsys.readouterr().err == "hello\nagain\n"
    finish()


# The log file.


def test_a_log_file_grows_by_lines_with_the_time(tmp_path):
    path = tmp_path / "new" / "embed.log"
    for line in ("first", "second\nthird"):
        progress = open_progress("none", path)
        progress.report(line)
        progress.finish()
    times, lines = zip(*(line.split(" ", 1) for line in path.read_text().splitlines()), strict=True)
    assert lines == ("first", "second", "third")
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time) for time in times)


def test_a_log_file_has_counts_whatever_is_shown(tmp_path):
    clock, stream = Clock(), io.StringIO()
    log = LogFile(tmp_path / "log", print)
    progress = ShownProgress(JsonLines(stream), log, clock=clock)
    progress.start("embed", 100, "images")
    for _ in range(4):
        clock.sleep(6)
        progress.advance(10)
    progress.finish()
    assert [line.split(" ", 1)[1][:24] for line in (tmp_path / "log").read_text().splitlines()] == [
        "embed: 20 of 100 images ",
        "embed: 40 of 100 images ",
    ]
    assert stream.getvalue().count("\n") == 4


@pytest.mark.parametrize("name", ["", "folder", "file/below", "pipe", "\0"])
def test_an_impossible_log_file_is_one_clear_error(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=r"--log-file .* cannot be written"):
        open_progress("none", tmp_path / name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_ends_the_log_file_and_not_the_work(capsys):
    progress = open_progress("log", Path("/dev/full"))
    for line in ("first", "second"):
        progress.report(line)
    progress.finish()
    assert capsys.readouterr().err.splitlines() == [
        "first",
        "--log-file /dev/full ends here: No space left on device",
        "second",
    ]


_worker: dict[str, Progress] = {}
_said: list[int] = []
"""The first part of a process."""


def begin(progress: QueueProgress) -> None:
    """Starts a worker process."""
    _worker["progress"] = progress


def work(part: int) -> None:
    """Makes a part of ten images."""
    progress = _worker["progress"]
    progress.start("embed", 0, "images")
    progress.revise(100 + part)
    for _ in range(5):
        progress.advance(2, skipped=1, spent={"encode": 0.5})
    progress.parts(7, 7)
    if part == 0:
        progress.report("hello")
    if not _said:
        _said.append(part)
        progress.report("every process says this")


def test_progress_of_workers_reaches_the_process_that_started_them():
    clock, stream = Clock(), io.StringIO()
    line = shown(Lines(stream), clock)
    line.parts(3, 4)
    context = get_context("spawn")
    with forwarded_progress(line) as queue:
        pool = ProcessPoolExecutor(2, mp_context=context, initializer=begin, initargs=(queue,))
        with pool:
            assert len(list(pool.map(work, range(4)))) == 4
    assert line._count is not None
    look = line._count.snapshot(clock())
    assert (look.what, look.unit, look.done, look.skipped) == ("embed", "images", 40, 20)
    assert 100 <= look.total <= 103
    assert (look.parts_done, look.parts) == (3, 4)
    assert line._count.spent["encode"] == 10
    assert sorted(stream.getvalue().splitlines()) == ["every process says this", "hello"]


class ClosedPipe(io.StringIO):
    """A stream whose reader, such as `head`, has ended."""

    def write(self, text: str) -> int:
        """Raises what a pipe without a reader raises."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def say_much(progress: QueueProgress) -> None:
    """Reports more than a pipe between processes holds."""
    for _ in range(100):
        progress.report("x" * 10_000)


def test_a_worker_ends_although_nothing_can_be_shown():
    """It waited forever for somebody to take its messages."""
    context = get_context("spawn")
    with forwarded_progress(shown(Lines(ClosedPipe()), Clock())) as queue:
        worker = context.Process(target=say_much, args=(queue,))
        worker.start()
        worker.join(60)
        worker.kill()
        worker.join()
    assert worker.exitcode == 0
