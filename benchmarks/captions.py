"""Captions of clusters, by both rules, against the names of their classes.

    python -m benchmarks.captions                # our clusters, three seeds, and the true classes
    python -m benchmarks.captions --seeds 0      # only the true classes: seconds

A cluster is scored if four fifths of its images have one class, and the vocabulary has a word for
that class: how often such a word is the first caption, and among the first five. `synonyms.toml`
lists the words that name a class. All clusters are named, scored or not. Where a second word
distinguishes clusters, the first one counts. With the true classes as clusters, errors are errors
of naming; with our clusters at the true k, errors of clustering add to them. Labels choose only k.
`few` are random subsets of 8 classes that have a word, like a small folder: means over the draws.
"""

import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch

from cpp_pipe.pipeline.config import Settings, find_config, read_tables
from cpp_pipe.pipeline.making.sources import model_files
from cpp_pipe.pipeline.making.vocabularies import words_stage
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.algorithms.votes import count_votes
from cpp_pipe.stages.algorithms.word_ranking import Ranking, rank_by_contrast, rank_by_votes
from cpp_pipe.stages.contract import Silent
from cpp_pipe.stages.encoding.encoder import load_encoder
from cpp_pipe.stages.encoding.vocabulary import embed_phrases
from cpp_pipe.stages.sources.digits import digit_halves, digit_image, digit_label
from cpp_pipe.stages.sources.phrases import Phrases, of_file
from cpp_pipe.stages.spectrum import Spectrum

from .measure import argument_parser, machine, parse_arguments
from .ours import SHARED, Fitted, train

PURE = 0.8
"""The least share of a cluster's images in one class."""

FEW, DRAWS = 8, 24

_RULES = ("vote", "contrast")


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Embeddings with labels, and the recipe and vocabularies for them."""

    name: str
    x: np.ndarray
    y: np.ndarray
    classes: Sequence[str]
    recipe: TrainingConfig
    vocabularies: dict[str, Phrases]
    """By name; the first is the set's default."""


class Score(NamedTuple):
    """Shares among the scored clusters, and how many these are."""

    first: float
    five: float
    clusters: int


def real_sets() -> Iterator[LabelledSet]:
    """Caltech-101 and Oxford Pets, embedded by CLIP ViT-B/32."""
    for name, texts in (("caltech101", ("lvis", "imagenet")), ("oxford_pets", ("imagenet",))):
        with np.load(SHARED / f"{name}.npz", allow_pickle=False) as file:
            x, y, classes = file["x"].astype(np.float32), file["y"], file["class_name"].tolist()
        vocabularies = {text: of_file(SHARED / f"text_{text}.npz") for text in texts}
        yield LabelledSet(
            name=name, x=x, y=y, classes=classes, recipe=TrainingConfig(), vocabularies=vocabularies
        )


def digits() -> LabelledSet:
    """The digits of the demo, with its model, settings and vocabulary."""
    settings = Settings.from_tables(read_tables(find_config("digits")), "digits")
    encoder = load_encoder(
        settings.embed.model, "shipped", files=model_files(settings.embed), device="cpu"
    )
    rows = digit_halves()[1].tolist()
    pixels = torch.stack([encoder.preprocess(digit_image(row).convert("RGB")) for row in rows])
    stage, files = words_stage(
        settings.caption.vocabulary, settings.caption.templates, "--vocabulary"
    )
    (vocabulary,) = stage.vocabularies
    names = vocabulary.read(files[vocabulary.part_name]).names
    with TemporaryDirectory() as folder:
        t = embed_phrases(names, stage.templates, encoder, Silent(), Path(folder))
    return LabelledSet(
        name="digits",
        x=encoder.images(pixels),
        y=np.array([digit_label(row) for row in rows]),
        classes=[str(digit) for digit in range(10)],
        recipe=settings.train,
        vocabularies={vocabulary.name: Phrases(names=names, embeddings=t)},
    )


def right_words(labelled: LabelledSet, vocabulary: Phrases) -> list[set[int]]:
    """The words of a vocabulary that name each class."""
    synonyms = tomllib.loads((Path(__file__).parent / "synonyms.toml").read_text())[labelled.name]
    place = {name.casefold(): number for number, name in enumerate(vocabulary.names)}
    names_of = [[name.replace("_", " "), *synonyms.get(name, [])] for name in labelled.classes]
    return [
        {place[name.casefold()] for name in names if name.casefold() in place} for names in names_of
    ]


def score(ranking: Ranking, clusters: np.ndarray, y: np.ndarray, right: list[set[int]]) -> Score:
    """How often a right word is the first, and among the first five, of a scored cluster."""
    table = np.zeros((len(ranking.words), len(right)))
    np.add.at(table, (clusters, y), 1)
    majority, purity = table.argmax(1), table.max(1) / np.maximum(table.sum(1), 1)
    scored = [row for row in np.flatnonzero(purity >= PURE) if right[majority[row]]]
    hits = [np.isin(ranking.words[row, :5], list(right[majority[row]])) for row in scored]
    return Score(
        float(np.mean([hit[0] for hit in hits])),
        float(np.mean([hit.any() for hit in hits])),
        len(scored),
    )


def our_clusters(labelled: LabelledSet, seed: int) -> np.ndarray:
    """Clusters at the true k by the recipe of the set."""
    features = train(labelled.x, replace(labelled.recipe, seed=seed))
    k = len(labelled.classes)
    return Fitted.of(features, Spectrum(seed=seed), k).labels(k)


def few_classes(labelled: LabelledSet, with_word: Sequence[int], seed: int) -> LabelledSet:
    """The set with a random few of its classes that have a word."""
    kept = np.sort(np.random.default_rng(seed).choice(with_word, FEW, replace=False))
    rows = np.isin(labelled.y, kept)
    return replace(
        labelled,
        x=labelled.x[rows],
        y=np.searchsorted(kept, labelled.y[rows]),
        classes=[labelled.classes[label] for label in kept],
    )


def compare(labelled: LabelledSet, seeds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Both rules on one set, with each vocabulary, on the true classes and on our clusters."""
    clusters = {
        "classes": [labelled.y],
        "": [our_clusters(labelled, seed) for seed in range(seeds)],
    }
    table = {}
    for name, vocabulary in labelled.vocabularies.items():
        right = right_words(labelled, vocabulary)
        with_word = [label for label, words in enumerate(right) if words]
        is_default = name == next(iter(labelled.vocabularies))
        title = labelled.name if is_default else f"{labelled.name} {name}"
        print(f"\n{labelled.name}, {len(vocabulary.names):,} words of {name}: ", end="")
        print(f"{len(with_word)} of {len(right)} classes have a word")
        print(f"{'clusters':<16}{'rule':<10}{'scored':>8}{'first':>8}{'of five':>9}", flush=True)
        for which, clusterings in clusters.items():
            if clusterings:
                pairs = [(labelled, labels) for labels in clusterings]
                row = _compare_rules(vocabulary, pairs, which or "ours")
                table[f"{title} {which}".strip()] = row
        draws = [few_classes(labelled, with_word, seed) for seed in range(DRAWS)]
        table[f"{title} few"] = _compare_rules(vocabulary, [(few, few.y) for few in draws], "few")
    return table


def _compare_rules(
    vocabulary: Phrases, clusterings: Sequence[tuple[LabelledSet, np.ndarray]], title: str
) -> dict[str, dict[str, float]]:
    t = torch.from_numpy(vocabulary.embeddings)
    scores: dict[str, list[Score]] = {rule: [] for rule in _RULES}
    for labelled, labels in clusterings:
        heard = count_votes(torch.from_numpy(labelled.x), t, labels, int(labels.max()) + 1)
        right = right_words(labelled, vocabulary)
        rankings = {"vote": rank_by_votes(heard), "contrast": rank_by_contrast(heard, t)}
        for rule in _RULES:
            scores[rule].append(score(rankings[rule], labels, labelled.y, right))
    row = {}
    for rule, scores_of_rule in scores.items():
        first, five, clusters = np.mean(scores_of_rule, axis=0).tolist()
        print(f"{title:<16}{rule:<10}{clusters:>8.1f}{first:>8.3f}{five:>9.3f}", flush=True)
        row[rule] = {"first": round(first, 4), "five": round(five, 4)}
    return row


def main() -> None:
    """Prints a table for each set and vocabulary, and the JSON line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="of our clusters; 0 leaves them out")
    arguments = parse_arguments(parser, seeds=1)
    print(f"captions against the names of classes, {arguments.seeds} seed(s) of ours\n{machine()}")
    table = {}
    for labelled in (digits(),) if arguments.tiny else (*real_sets(), digits()):
        table |= compare(labelled, arguments.seeds)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
