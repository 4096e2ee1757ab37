"""The sentence on the number of clusters, and the marked k, are the same everywhere."""

import html
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.report.reader import read_contents
from cpp_pipe.pipeline.serve.facts import describe_run
from cpp_pipe.pipeline.serve.open_run import OpenRun
from cpp_pipe.pipeline.view.verdict import read_verdict
from cpp_pipe.stages.drawing.curve_figure import draw_curve

from ..cli import SMALL, succeed

RULES: list[tuple[str, ...]] = [
    ("--rule", "code", "--resamples", "0"),
    ("--rule", "code", "--resamples", "3"),
    ("--rule", "bic", "--resamples", "0"),
    ("--rule", "auto", "--resamples", "3", "--grid", "2,5,10"),
]


@pytest.fixture(scope="module")
def digits(tmp_path_factory, copy_of_run) -> Path:
    return copy_of_run(tmp_path_factory.mktemp("digits") / "artifacts")


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    """Rows without clusters, in five clusters."""
    folder = tmp_path_factory.mktemp("noise")
    rows = np.random.default_rng(0).standard_normal((80, 24))
    np.savez(folder / "noise.npz", x=rows / np.linalg.norm(rows, axis=1, keepdims=True))
    succeed(folder / "artifacts", "import", folder / "noise.npz", "--model", "ViT-B-32")
    succeed(folder / "artifacts", "train", *SMALL)
    succeed(folder / "artifacts", "assign", "--k", "5")
    return folder / "artifacts"


@pytest.mark.parametrize("name", ["digits", "noise"])
@pytest.mark.parametrize("rule", RULES)
def test_command_page_and_report_give_the_same_verdict(request, name, rule, tmp_path):
    store = tmp_path / "artifacts"
    shutil.copytree(request.getfixturevalue(name), store, symlinks=True)
    printed = succeed(store, "select-k", *rule).out
    run = Run.open(store)
    verdict = read_verdict(run.artifact("k_curve"))
    facts = run.artifact("k_curve").facts

    # It says which k, by which rule, what the other rule says, and how sure that is.
    assert verdict.k == facts["chosen"]
    by = {"code": "the shortest code", "bic": "the highest BIC of k-means"}[facts["decided_by"]]
    assert verdict.sentence.startswith(f"{facts['chosen']} clusters, by {by}: ")
    assert f"{facts['shortest']} clusters make the shortest code" in verdict.sentence
    if facts["decided_by"] == "code":
        assert ("not measured" in verdict.sentence) == (facts["resamples"] == 0)
    if facts["communities"] is not None:
        assert "a second opinion (Leiden communities) says" in verdict.sentence

    # The terminal.
    assert verdict.sentence in printed.splitlines()
    (marked,) = re.findall(r"^ *(\d+) .*<- chosen$", printed, re.MULTILINE)
    assert int(marked) == verdict.k
    assert f"select-k: {verdict.sentence}" in succeed(store, "status").out.splitlines()

    # The page.
    opened = OpenRun(run)
    page = describe_run(opened)
    opened.close()
    assert page.verdict == verdict.sentence
    assert [point.k for point in page.curve if point.chosen] == [verdict.k]

    # The report.
    contents = read_contents(run)
    assert contents.verdict == verdict.sentence and contents.curve is not None
    succeed(store, "report", "--no-pictures")
    text = html.unescape((store / "reports" / "default.html").read_text())
    assert f"{verdict.sentence}." in text
    (dot,) = (
        line
        for line in draw_curve(contents.curve, contents.k).axes[0].get_lines()
        if line.get_marker() == "o"
    )
    assert np.asarray(dot.get_xdata()).tolist() == [verdict.k]


def test_run_prints_the_verdict(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from ..test_added_images import draw

    draw(tmp_path / "photos", 0, 40)
    words = ("--model", "digits-clip", "--pretrained", "shipped")
    out = succeed(
        tmp_path / "artifacts", "run", "--images", "photos", *words,
        "--vocabulary", "digits-words.txt", "--set", "select_k.resamples=2",
    ).out  # fmt: skip
    curve = Run.open(tmp_path / "artifacts", "photos").artifact("k_curve")
    assert read_verdict(curve).sentence in out.splitlines()
