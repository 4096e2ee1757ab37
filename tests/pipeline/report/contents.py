"""Contents of a page over a few hundred made-up rows, and reading a page as a browser would."""

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np

from cpp_pipe.pipeline.report import counts, spectra
from cpp_pipe.pipeline.report.contents import Contents, Curve, Missing, Sample, Space, VersionRow
from cpp_pipe.pipeline.view.evaluation import ClusterRow, Decile, Evaluation, Mistake, Scores

CURVE = Curve(
    k=(2, 3, 4, 5, 8, 12, 20),
    nats=(900.0, 700.0, 610.0, 600.0, 640.0, 800.0, 1200.0),
    low=(890.0, 690.0, 600.0, 595.0, 630.0, 790.0, 1180.0),
    high=(910.0, 710.0, 620.0, 605.0, 650.0, 810.0, 1210.0),
    votes=(0.0, 0.0, 0.25, 0.75, 0.0, 0.0, 0.0),
    as_good=(False, False, True, True, False, False, False),
    shortest=5,
)

MISSING = {
    "k_curve": Missing(what="no curve", command="cpp-pipe select-k", adds="it"),
    "captions": Missing(what="no captions", command="cpp-pipe caption", adds="them"),
    "labels": Missing(what="no labels", command="cpp-pipe report --labels F", adds="scores"),
}


def spread(k: int, *, rows: int = 400, d: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows around k directions, and the cluster of each."""
    generator = np.random.default_rng(seed)
    cluster = np.arange(rows) % k
    x = generator.normal(size=(k, d))[cluster] * 2 + generator.normal(size=(rows, d))
    return x.astype(np.float16), cluster


def some_space(x: np.ndarray, sample: Sample) -> Space:
    """How rows lie, all of them and those of each cluster."""
    pictured = np.concatenate(
        [rows[: sample.pictured[one]] for one, rows in sample.of_cluster.items()]
    )
    cosines = spectra.absolute_cosines(x[pictured])
    within, between = spectra.contrast(cosines, list(sample.pictured.values()))
    every = [x, *(x[rows] for rows in sample.of_cluster.values())]
    values = [spectra.singular_values(spectra.second_moment(one), len(one)) for one in every]
    return Space(
        size=x.shape[1],
        overall=values[0],
        of_cluster=values[1:],
        cosines=cosines,
        within=within,
        between=between,
    )


def some_contents(k: int = 6, *, key: str = "key", rows: int = 400, **changes: Any) -> Contents:
    """A run with everything; `changes` replace fields."""
    x, cluster = spread(k, rows=rows)
    generator = np.random.default_rng(1)
    confidence = generator.random(rows).astype(np.float32)
    novelty = (2 * generator.random(rows)).astype(np.float32)
    tally = counts.count([(cluster, confidence, novelty, lambda row: f"{key} {row}")], k)
    largest = list(tally.largest_first)[:10]
    sample = counts.draw_sample(
        counts.sample_overall(rows, rows, 0),
        counts.sample_clusters([cluster], largest, rows, 0),
        400,
    )
    space = some_space(x, sample)
    contents = Contents(
        run="default",
        cpp_pipe="0.1.0",
        model="ViT-B-32 (openai)",
        seen=rows + 3,
        embedded=rows,
        skipped={"no-image": 3},
        tally=tally,
        sample=sample,
        raw=space,
        refined=space,
        curve=CURVE,
        captions=dict.fromkeys(range(k), (("cat", 0.5), ("dog", 0.25))),
        evaluation=some_evaluation(k, rows),
        missing={},
        versions=(
            VersionRow(
                slot="assignments",
                version="0123456789abcdef",
                stage="assign, revision 3",
                rows=rows,
                made_from=("features fedcba9876543210",),
                date="2026-11-25T03:04:05+00:00",
                seconds=1.5,
                device="cpu",
                settings={"k": "auto"},
            ),
        ),
    )
    return replace(contents, **changes)


def some_evaluation(k: int, rows: int, label: str = "cat") -> Evaluation:
    """Scores of one class in every cluster."""
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
        per_cluster=tuple(
            ClusterRow(cluster=one, size=rows // k, purity=0.5, majority=label) for one in range(k)
        ),
        mistakes=(Mistake(label=label, cluster=0, matched=None, rows=4, share=0.5),),
        deciles=(
            Decile(confidence=0.2, accuracy=0.25, purity=0.5, rows=rows // 2),
            Decile(confidence=0.8, accuracy=0.75, purity=1.0, rows=rows // 2),
        ),
    )


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, and its text."""

    VOID = ("br", "img", "meta", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inside: list[tuple[str, ...]] = []
        """The open elements around each."""
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes an element."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.inside.append(tuple(self._open))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes an element without an inside."""
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Closes the element that was opened last."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Notes text, but for the style."""
        if "style" not in self._open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]
