"""Captions of clusters against the names of their classes, by both rules.

    python -m benchmarks.captions                # our clusters, three seeds, and the true classes
    python -m benchmarks.captions --seeds 0      # the true classes alone: seconds

Scored are clusters four fifths of whose images are of one class that the vocabulary has a word for:
how often such a word is the first caption, and among the first five. `synonyms.toml` says which
words name a class, and by which principle. All clusters take part in the naming, scored or not.
Where a second word tells clusters apart, the first one counts. With the true classes as clusters,
what is wrong is the naming; with ours at the true k, the clusters' mistakes are in it too. Labels
choose nothing but k. Few are 8 classes that have a word, drawn again and again, as in a folder of
one's own: means over the draws.
"""

import argparse
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
from cpp_pipe.stages.encoder import load_encoder
from cpp_pipe.stages.sources.digits import digit_halves, digit_image, digit_label
from cpp_pipe.stages.sources.phrases import Phrases, of_file
from cpp_pipe.stages.spectrum import Spectrum
from cpp_pipe.stages.vocabulary import embed_phrases

from .measure import machine
from .ours import SHARED, Fitted, train

PURE = 0.8
"""Share of a cluster's images that one class must have."""

FEW, DRAWS = 8, 24

_RULES = ("vote", "contrast")


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Embeddings with labels, and what of the sets' own settings clusters them."""

    name: str
    x: np.ndarray
    y: np.ndarray
    classes: Sequence[str]
    recipe: TrainingConfig
    vocabularies: dict[str, Phrases]
    """By name; the first one is the set's own."""


class Score(NamedTuple):
    """Shares of the clusters that are scored, and how many these are."""

    first: float
    five: float
    clusters: int


def real_sets() -> Iterator[LabelledSet]:
    """Caltech-101 and Oxford Pets, as CLIP ViT-B/32 sees them."""
    for name, texts in (("caltech101", ("lvis", "imagenet")), ("oxford_pets", ("imagenet",))):
        with np.load(SHARED / f"{name}.npz", allow_pickle=False) as file:
            x, y, classes = file["x"].astype(np.float32), file["y"], file["class_name"].tolist()
        vocabularies = {one: of_file(SHARED / f"text_{one}.npz") for one in texts}
        yield LabelledSet(
            name=name, x=x, y=y, classes=classes, recipe=TrainingConfig(), vocabularies=vocabularies
        )


def digits() -> LabelledSet:
    """The demonstration's digits, with its model, settings and words."""
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
    with TemporaryDirectory() as kept:
        t = embed_phrases(names, stage.templates, encoder, Silent(), Path(kept))
    return LabelledSet(
        name="digits",
        x=encoder.images(pixels),
        y=np.array([digit_label(row) for row in rows]),
        classes=[str(digit) for digit in range(10)],
        recipe=settings.train,
        vocabularies={vocabulary.name: Phrases(names=names, embeddings=t)},
    )


def right_words(one: LabelledSet, vocabulary: Phrases) -> list[set[int]]:
    """For each class the words of a vocabulary that name it."""
    synonyms = tomllib.loads((Path(__file__).parent / "synonyms.toml").read_text())[one.name]
    place = {name.casefold(): number for number, name in enumerate(vocabulary.names)}
    told = [[name.replace("_", " "), *synonyms.get(name, [])] for name in one.classes]
    return [
        {place[name.casefold()] for name in names if name.casefold() in place} for names in told
    ]


def score(ranking: Ranking, clusters: np.ndarray, y: np.ndarray, right: list[set[int]]) -> Score:
    """How often a right word is the first, or one of five, of a cluster that is scored."""
    table = np.zeros((len(ranking.words), len(right)))
    np.add.at(table, (clusters, y), 1)
    majority, purity = table.argmax(1), table.max(1) / np.maximum(table.sum(1), 1)
    scored = [one for one in np.flatnonzero(purity >= PURE) if right[majority[one]]]
    hits = [np.isin(ranking.words[one, :5], list(right[majority[one]])) for one in scored]
    return Score(
        float(np.mean([hit[0] for hit in hits])),
        float(np.mean([hit.any() for hit in hits])),
        len(scored),
    )


def our_clusters(one: LabelledSet, seed: int) -> np.ndarray:
    """Clusters at the true k by default settings, or those of the set's config."""
    features = train(one.x, replace(one.recipe, seed=seed))
    k = len(one.classes)
    return Fitted.of(features, Spectrum(seed=seed), k).labels(k)


def few_classes(one: LabelledSet, named: Sequence[int], seed: int) -> LabelledSet:
    """The set with a few of its classes that have a word."""
    kept = np.sort(np.random.default_rng(seed).choice(named, FEW, replace=False))
    rows = np.isin(one.y, kept)
    return replace(
        one,
        x=one.x[rows],
        y=np.searchsorted(kept, one.y[rows]),
        classes=[one.classes[label] for label in kept],
    )


def compare(one: LabelledSet, seeds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Both rules on one set, with each vocabulary, on the true classes and on our clusters."""
    found = {"classes": [one.y], "": [our_clusters(one, seed) for seed in range(seeds)]}
    table = {}
    for name, vocabulary in one.vocabularies.items():
        right = right_words(one, vocabulary)
        named = sum(bool(words) for words in right)
        told = one.name if name == next(iter(one.vocabularies)) else f"{one.name} {name}"
        print(f"\n{one.name}, {len(vocabulary.names):,} words of {name}: {named} of ", end="")
        print(f"{len(right)} classes have a word, {len(right) - named} are left out")
        print(f"{'clusters':<16}{'rule':<10}{'scored':>8}{'first':>8}{'of five':>9}", flush=True)
        for which, labels in found.items():
            if labels:
                key = f"{told} {which}".strip()
                sets = [(one, some) for some in labels]
                table[key] = _compare_rules(vocabulary, sets, which or "ours")
        has_word = [label for label, words in enumerate(right) if words]
        draws = [few_classes(one, has_word, seed) for seed in range(DRAWS)]
        table[f"{told} few"] = _compare_rules(vocabulary, [(some, some.y) for some in draws], "few")
    return table


def _compare_rules(
    vocabulary: Phrases, found: Sequence[tuple[LabelledSet, np.ndarray]], told: str
) -> dict[str, dict[str, float]]:
    t = torch.from_numpy(vocabulary.embeddings)
    scores: dict[str, list[Score]] = {rule: [] for rule in _RULES}
    for one, labels in found:
        heard = count_votes(torch.from_numpy(one.x), t, labels, int(labels.max()) + 1)
        right = right_words(one, vocabulary)
        rankings = {"vote": rank_by_votes(heard), "contrast": rank_by_contrast(heard, t)}
        for rule in _RULES:
            scores[rule].append(score(rankings[rule], labels, one.y, right))
    row = {}
    for rule, some in scores.items():
        first, five, clusters = np.mean(some, axis=0).tolist()
        print(f"{told:<16}{rule:<10}{clusters:>8.1f}{first:>8.3f}{five:>9.3f}", flush=True)
        row[rule] = {"first": round(first, 4), "five": round(five, 4)}
    return row


def main() -> None:
    """Prints a table a set and vocabulary, and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=3, help="of our clusters; 0 leaves them out")
    seeds = parser.parse_args().seeds
    print(f"captions against the names of classes, {seeds} seed(s) of ours\n{machine()}")
    table = {}
    for one in (*real_sets(), digits()):
        table |= compare(one, seeds)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
