"""What the captions' benchmark promises, on true classes, where no training enters."""

import tomllib
from pathlib import Path

import pytest

from benchmarks import captions


@pytest.fixture(scope="module")
def table(shared: Path) -> dict[str, dict[str, dict[str, float]]]:
    return {
        name: row
        for one in (*captions.real_sets(), captions.digits())
        for name, row in captions.compare(one, seeds=0).items()
    }


def test_contrast_names_no_set_worse_than_votes_do(table):
    assert len(table) == 8
    for row in table.values():
        assert row["contrast"]["first"] >= row["vote"]["first"]
        assert row["contrast"]["five"] >= row["vote"]["five"]


def test_most_classes_of_caltech_are_named_by_their_first_caption(table):
    found = table["caltech101 classes"]["contrast"]
    assert found["first"] >= 0.80 and found["five"] >= 0.95
    assert table["digits classes"]["contrast"] == {"first": 1.0, "five": 1.0}


def test_every_class_with_synonyms_is_a_class_of_its_set(shared):
    path = Path(captions.__file__).parent / "synonyms.toml"
    written = tomllib.loads(path.read_text())
    for one in (*captions.real_sets(), captions.digits()):
        assert set(written[one.name]) <= set(one.classes)
        for name, words in written[one.name].items():
            assert name.replace("_", " ") not in words, "a class's own name counts anyway"
