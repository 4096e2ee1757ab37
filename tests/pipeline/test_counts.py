"""No message of any command over the smallest runs counts one thing in the plural."""

import re
from pathlib import Path

import numpy as np
import pytest

from ..stages.sources.image_files import png
from .cli import call, embed, succeed

_NO_PLURALS = {
    "is",
    "was",
    "has",
    "as",
    "its",
    "less",
    "this",
    "class",
    "process",
    "pass",
    "s",
    "makes",
}
"""Words that end like a plural and are none."""

_NOUNS = (
    "image|row|cluster|shard|sample|part|group|file|folder|member|run|artifact|fault|landmark|"
    "candidate|phrase|decision|pair|word|score|level|step|epoch|number|byte|tag|worker|person"
)
"""Nouns that must not stand in the singular behind another count than one."""

COMMANDS = (
    ("status",),
    ("train",),
    ("spectrum",),
    ("select-k", "--grid", "1", "--resamples", "1"),
    ("hierarchy", "--finest", "1"),
    ("assign", "--k", "1"),
    ("caption", "--vocabulary", "WORDS"),
    ("clusters",),
    ("eval", "--label", "folder"),
    ("search", "--text", "seven", "-n", "1"),
    ("report", "--out", "NEW.html"),
    ("duplicates", "--above", "0.999"),
    ("duplicates", "--tier", "same"),
    ("outliers", "-n", "1"),
    ("score",),
    ("sample", "-n", "1"),
    ("edit", "exclude", "--key", "KEY"),
    ("edit", "undo"),
    ("edit", "undo"),
    ("edit", "log"),
    ("edit", "seal", "one"),
    ("curate", "--cluster", "0", "--out", "NEW"),
    ("export", "parquet", "--out", "NEW.parquet"),
    ("export", "coco", "--out", "NEW.json"),
    ("export", "folders", "--out", "NEW-folders"),
    ("index",),
    ("map", "--method", "pca"),
    ("skipped",),
    ("lineage", "captions"),
    ("verify",),
    ("gc",),
)
"""A call of every command with the smallest numbers; words in capitals are replaced."""


def miscounted(text: str) -> list[str]:
    """Places where a count and its noun do not agree."""
    one = re.compile(r"(?<![\w.,:/=-])1 (?:(?!in |of |by )[a-z]+(?:-[a-z]+)* )?([a-z]+s)\b")
    many = re.compile(rf"(?<![\w.,:/=-])(?:0|[2-9]|[1-9][\d,]+) (?:{_NOUNS})(?=[.,;:)]|$)", re.M)
    # Between the ends of a range the plural is right: "from 1 to 5 clusters".
    found = [match for match in one.finditer(text) if match.group(1) not in _NO_PLURALS]
    return [
        text[max(0, match.start() - 30) : match.end() + 30]
        for match in (*found, *many.finditer(text))
    ]


def test_counts_that_do_not_agree_are_found():
    assert miscounted("1 clusters") and miscounted("of 1 near images, so") and miscounted("5 image")
    assert not miscounted("1 cluster, 2 clusters, 1 of 2 images is; k = 1 was; 0.1 rows; 1 image")


@pytest.fixture(scope="module", params=[1, 2])
def printed(request, tmp_path_factory) -> str:
    """The output of all commands over runs of two and four images, which counts single things."""
    folder: Path = tmp_path_factory.mktemp("few")
    for number in range(2 * request.param):
        path = folder / "images" / f"set {number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    (folder / "images" / "broken.png").write_bytes(b"no image")
    (folder / "images" / "notes.txt").write_text("none")
    (folder / "words.txt").write_text("a ring\n" * 1 + "a line\n")
    store = folder / "artifacts"
    flags = ("--images", str(folder / "images"), "--max-skipped", "0.5")
    first = embed(store, more=flags)
    text = [first.out, first.err]
    for number, words in enumerate(COMMANDS):
        new = str(folder / f"new-{number}")
        given = [
            word.replace("NEW", new)
            .replace("WORDS", str(folder / "words.txt"))
            .replace("KEY", "set 0/0.png")
            for word in words
        ]
        done = call(store, *given)
        text += [f"$ {' '.join(words)}", done.out, done.err]
        assert done.code in (0, 2), done.err
    np.save(folder / "row.npy", np.ones((2, 8), np.float32))
    done = succeed(store, "import", folder / "row.npy", "--model", "ViT-B-32", "--run", "one")
    text += [done.out, done.err]
    return "\n".join(text).replace(str(folder), "")


def test_no_command_counts_one_thing_in_the_plural(printed):
    assert "seen 3 =" in printed or "seen 5 =" in printed
    assert "\n".join(miscounted(printed)) == ""
