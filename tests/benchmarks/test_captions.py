"""The required scores of captions, on the true classes and without training."""

import tomllib
from pathlib import Path

import pytest

from benchmarks import captions


@pytest.fixture(scope="module")
def table(shared: Path) -> dict[str, dict[str, dict[str, float]]]:
    return {
        name: row
        for labelled in (*captions.real_sets(), captions.digits())
        for name, row in captions.compare(labelled, seeds=0).items()
    }


def test_contrast_is_no_worse_than_votes_on_any_set(table):
    assert len(table) == 8
    for row in table.values():
        assert row["contrast"]["first"] >= row["vote"]["first"]
        assert row["contrast"]["five"] >= row["vote"]["five"]


def test_the_first_caption_names_most_classes_of_caltech(table):
    row = table["caltech101 classes"]["contrast"]
    assert row["first"] >= 0.80 and row["five"] >= 0.95
    assert table["digits classes"]["contrast"] == {"first": 1.0, "five": 1.0}


def test_every_class_with_synonyms_is_a_class_of_its_set(shared):
    path = Path(captions.__file__).parent / "synonyms.toml"
    synonyms = tomllib.loads(path.read_text())
    for labelled in (*captions.real_sets(), captions.digits()):
        assert set(synonyms[labelled.name]) <= set(labelled.classes)
        for name, words in synonyms[labelled.name].items():
            assert name.replace("_", " ") not in words, "a class's own name counts anyway"
