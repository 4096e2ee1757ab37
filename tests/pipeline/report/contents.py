"""Contents of a report over a few hundred synthetic rows, and a parser of its HTML."""

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np

from cpp_pipe.pipeline.report.contents import Contents, Sample, Space
from cpp_pipe.pipeline.report.counts import (
    count,
    draw_sample,
    sample_clusters,
    sample_overall,
)
from cpp_pipe.pipeline.view import spectra
from cpp_pipe.pipeline.view.captions import Caption
from cpp_pipe.pipeline.view.curve import CurvePoint, KCurve
from cpp_pipe.pipeline.view.evaluation import ClusterRow, Decile, Evaluation, Mistake, Scores
from cpp_pipe.pipeline.view.facts import Absence, SampleCounts, Version

CURVE = KCurve(
    points=tuple(
        CurvePoint(
            k=k,
            nats=nats,
            low=nats - 10,
            high=nats + 10,
            votes=votes,
            is_as_good=votes > 0,
            is_shortest=k == 5,
            is_chosen=k == 5,
        )
        for k, nats, votes in (
            (2, 900.0, 0.0),
            (3, 700.0, 0.0),
            (4, 610.0, 0.25),
            (5, 600.0, 0.75),
            (8, 640.0, 0.0),
            (12, 800.0, 0.0),
            (20, 1200.0, 0.0),
        )
    )
)

ABSENCES = {
    "k_curve": Absence(what="the curve", reason="No curve", command="cpp-pipe select-k"),
    "captions": Absence(what="captions", reason="No captions", command="cpp-pipe caption"),
    "labels": Absence(what="scores", reason="No labels", command="cpp-pipe report --labels F"),
}


def make_rows(
    k: int, *, rows: int = 400, d: int = 24, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Rows around k directions, and the cluster of each."""
    generator = np.random.default_rng(seed)
    cluster = np.arange(rows) % k
    x = generator.normal(size=(k, d))[cluster] * 2 + generator.normal(size=(rows, d))
    return x.astype(np.float16), cluster


def make_space(x: np.ndarray, sample: Sample) -> Space:
    """The spread of rows: of all, and of each cluster."""
    counts = sample.heat_map_rows
    shown = np.concatenate([rows[: counts[cluster]] for cluster, rows in sample.of_cluster.items()])
    cosines = spectra.absolute_cosines(x[shown])
    within, between = spectra.contrast(cosines, list(counts.values()))
    groups = [x, *(x[rows] for rows in sample.of_cluster.values())]
    values = [spectra.singular_values(spectra.second_moment(y), len(y)) for y in groups]
    return Space(
        size=x.shape[1],
        overall=values[0],
        of_cluster=values[1:],
        cosines=cosines,
        within=within,
        between=between,
    )


def make_contents(k: int = 6, *, key: str = "key", rows: int = 400, **changes: Any) -> Contents:
    """A run that lacks nothing; `changes` replace fields."""
    x, cluster = make_rows(k, rows=rows)
    generator = np.random.default_rng(1)
    confidence = generator.random(rows).astype(np.float32)
    novelty = (2 * generator.random(rows)).astype(np.float32)
    tally = count([(cluster, confidence, novelty, lambda row: f"{key} {row}")], k)
    largest = list(tally.largest_first)[:10]
    sample = draw_sample(
        sample_overall(rows, rows, 0),
        sample_clusters([cluster], largest, rows, 0),
        400,
    )
    space = make_space(x, sample)
    contents = Contents(
        run="default",
        cpp_pipe="0.1.0",
        model="ViT-B-32 (openai)",
        counts=SampleCounts(seen=rows + 3, embedded=rows, skipped={"no-image": 3}, partial=()),
        tally=tally,
        sample=sample,
        raw=space,
        refined=space,
        curve=CURVE,
        captions=dict.fromkeys(range(k), (Caption("cat", 0.5), Caption("dog", 0.25))),
        evaluation=make_evaluation(k, rows),
        absences={},
        versions=(
            Version(
                slot="assignments",
                version="0123456789abcdef",
                stage="assign, revision 3",
                rows=rows,
                inputs=("features fedcba9876543210",),
                date="2026-11-25T03:04:05+00:00",
                seconds=1.5,
                device="cpu",
                settings={"k": "auto"},
            ),
        ),
    )
    return replace(contents, **changes)


def make_evaluation(k: int, rows: int, label: str = "cat") -> Evaluation:
    """Scores with the same label for each cluster."""
    scores = Scores(acc=0.5, nmi=0.25, ari=-0.0001)
    return Evaluation(
        part="all",
        where=None,
        n=rows,
        unlabelled=0,
        k=k,
        classes=2,
        clusters=scores,
        chance=scores,
        kmeans=scores,
        kmeans_method="k-means",
        per_cluster=tuple(
            ClusterRow(cluster=number, size=rows // k, purity=0.5, majority=label)
            for number in range(k)
        ),
        mistakes=(Mistake(label=label, cluster=0, matched=None, rows=4, share=0.5),),
        deciles=(
            Decile(confidence=0.2, accuracy=0.25, purity=0.5, rows=rows // 2),
            Decile(confidence=0.8, accuracy=0.75, purity=1.0, rows=rows // 2),
        ),
    )


class Page(HTMLParser):
    """Parsed HTML: its elements with their attributes, and its text."""

    VOID = ("br", "img", "meta", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inside: list[tuple[str, ...]] = []
        """For each element the open elements around it."""
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Records an element."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.inside.append(tuple(self._open))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Records an empty element."""
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Closes the last open element."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Records text outside the style sheet."""
        if "style" not in self._open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each element with a tag."""
        return [attributes for name, attributes in self.elements if name == tag]
