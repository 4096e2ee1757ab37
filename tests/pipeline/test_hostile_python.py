"""The Python API with hostile values works, or raises one error that says why."""

import io
import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cpp_pipe import CPP, Run, Store, search
from cpp_pipe.store import CppPipeError

from .cli import SMALL, embed, succeed

HUGE = 10**30


@pytest.fixture(scope="module")
def store(tmp_path_factory, digit_shards) -> Path:
    """Sixty digits in three clusters."""
    folder = tmp_path_factory.mktemp("python") / "artifacts"
    embed(folder, digit_shards)
    succeed(folder, "train", *SMALL)
    succeed(folder, "assign", "--k", "3")
    return folder


@pytest.fixture(scope="module")
def run(store) -> Run:
    return Run.open(store)


class Odd:
    """Neither a number nor text."""

    def __repr__(self) -> str:
        return "odd " * 10_000


ANYTHING: Mapping[str, Any] = {
    "a whole number": 5,
    "a negative number": -1,
    "a huge number": HUGE,
    "a fraction": 2.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "a bool": True,
    "NumPy's number": np.int64(3),
    "NumPy's fraction": np.float32(0.5),
    "no text": "",
    "text": "a dog",
    "a zero byte": "a\0b",
    "half a character": "\ud800",
    "a long text": "word " * 100_000,
    "bytes": b"x",
    "a path": Path("/absent"),
    "a device": "/dev/zero",
    "a folder": Path("/"),
    "a file object": io.BytesIO(b"x"),
    "nothing": None,
    "no list": [],
    "a list of None": [None],
    "a ragged list": [[1.0], [1.0, 2.0]],
    "a mapping": {},
    "a set": {1},
    "an object": Odd(),
    "a type": Odd,
    "an array": np.zeros((4, 4, 3), np.uint8),
    "a 0-d array": np.float32(1).reshape(()),
    "no rows": np.zeros((0, 64), np.float32),
    "no columns": np.zeros((3, 0), np.float32),
    "objects": np.array([{}, None], dtype=object),
    "complex numbers": np.ones(64, complex),
    "dates": np.zeros(3, "M8[s]"),
    "strings": np.array(["a", "b"]),
    "a tensor": torch.ones(2, 64),
    "a tensor with gradients": torch.ones(64, requires_grad=True),
    "an image without pixels": Image.new("RGB", (0, 5)),
    "an image of floats": Image.new("F", (3, 3)),
    "a truncated image": "made below",
}


def made(name: str) -> Any:
    """A value by its name; iterators are made for each call."""
    if name == "a truncated image":
        file = io.BytesIO()
        Image.effect_noise((64, 64), 50).save(file, "PNG")
        return Image.open(io.BytesIO(file.getvalue()[:-200]))
    return ANYTHING[name]


_BUILTINS = (ValueError, TypeError, OSError, ArithmeticError, LookupError)


def failures(calls: Mapping[str, Callable[[], Any]], *words: str) -> dict[str, str]:
    """The invalid errors of calls; each must be ours, a builtin too, and one line.

    One of the words says which argument is wrong.
    """
    wrong: dict[str, str] = {}
    for name, call in calls.items():
        try:
            call()
        except CppPipeError as error:
            line, is_named = str(error), any(word in str(error) for word in words)
            if not is_named or len(line) > 1100 or not isinstance(error, _BUILTINS):
                wrong[name] = line[:300]
        except Exception as error:  # noqa: BLE001
            place = traceback.extract_tb(error.__traceback__)[-1]
            wrong[name] = f"{type(error).__name__}: {error} at {place}"[:300]
    return wrong


def with_all(call: Callable[[Any], Any]) -> dict[str, Callable[[], Any]]:
    """A call for every value."""
    return {name: lambda name=name: call(made(name)) for name in ANYTHING}


@pytest.mark.parametrize(
    "argument",
    ["image", "text", "key", "vector", "unlike", "space", "n", "cluster", "min_confidence",
     "target_recall", "edits", "where"],
)  # fmt: skip
def test_search_takes_or_refuses_anything(run, argument):
    is_query = argument in ("image", "text", "key", "vector")
    query = {} if is_query else {"key": run.artifact("embeddings").column("key")[0]}
    calls = with_all(lambda value: run.search(**{**query, argument: value}))
    words: dict[str, str] = {"unlike": "example", "image": "--query", "target_recall": "recall"}
    named = (argument, words.get(argument) or argument, "nothing to search for")
    assert failures(calls, *named) == {}


@pytest.mark.parametrize("kind", ["image", "text", "key", "vector", "row", "nonsense"])
def test_unlike_takes_or_refuses_anything(run, kind):
    key = run.artifact("embeddings").column("key")[0]
    calls = with_all(lambda value: run.search(key=key, unlike={kind: value}))
    assert failures(calls, kind, "--query", "cancel out") == {}


@pytest.mark.parametrize(
    "method", ["find", "artifact", "current", "searcher", "image", "scores", "make"]
)
def test_a_run_takes_or_refuses_anything(run, method):
    words = {"image": "row", "searcher": "space", "scores": "score", "make": "cannot be made"}
    assert failures(with_all(getattr(run, method)), words.get(method, "slot")) == {}


@pytest.mark.parametrize("method", ["name", "note", "tag"])
def test_a_decision_takes_or_refuses_any_text(store, tmp_path, method):
    edits = Run.open(shutil.copytree(store, tmp_path / "store", symlinks=True)).edits
    calls = {
        "name": lambda value: edits.name(0, value),
        "note": lambda value: edits.note(value, cluster=0),
        "tag": lambda value: edits.tag(value, cluster=0),
    }
    assert failures(with_all(calls[method]), method) == {}


@pytest.mark.parametrize("argument", ["n", "strategy", "by", "seed", "edits", "where"])
def test_a_sample_takes_or_refuses_anything(run, argument):
    calls = with_all(lambda value: run.sample(**{"n": 3, argument: value}))
    assert failures(calls, argument, "no such field") == {}


@pytest.mark.parametrize("argument", ["cluster", "caption", "min_confidence", "tag", "where"])
def test_curated_shards_take_or_refuse_anything(store, tmp_path, argument):
    run = Run.open(shutil.copytree(store, tmp_path / "store", symlinks=True))
    folder = tmp_path / "shards"

    def curate(value: Any) -> None:
        run.curate(folder, **{"edits": "open", argument: value})
        shutil.rmtree(folder)

    words = ("captions", "confidence", "tag", "no sample", "chosen")
    assert failures(with_all(curate), argument, *words) == {}
    assert not folder.exists()


@pytest.mark.parametrize("method", ["outliers", "seal", "score"])
def test_what_chooses_images_takes_or_refuses_anything(store, tmp_path, method):
    run = Run.open(shutil.copytree(store, tmp_path / "store", symlinks=True))
    run.edits.tag("first", images=[0])
    calls = {
        "outliers": run.outliers,
        "seal": run.seal,
        "score": lambda value: run.score("likeness", text=value, unlike="a dog"),
    }
    words = {"outliers": ("n must",), "seal": ("NAME",), "score": ("text", "--not")}
    assert failures(with_all(calls[method]), *words[method]) == {}


def test_a_run_or_a_store_of_any_name_is_there_or_refused(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert failures(with_all(Run.open), "store") == {}
    assert failures(with_all(lambda value: Run.open(store, value)), "run") == {}
    calls = with_all(lambda value: Run.create(tmp_path / "new", value, settings={"assign": {}}))
    assert failures(calls, "run") == {}
    assert failures(with_all(lambda value: Store(value).artifacts()), "store") == {}
    calls = with_all(lambda value: search(store=store, run=value, key="digit_0000"))
    assert failures(calls, "run") == {}
    calls = with_all(lambda value: Run.open(store, device=value).search(text="a seven"))
    assert failures(calls, "device") == {}
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "method", ["table", "column", "array", "tensors", "embeddings", "path", "locate"]
)
def test_an_artifact_takes_or_refuses_anything(run, method):
    artifact = run.artifact("embeddings")
    call = getattr(artifact, method)
    word = {"column": "column", "locate": "row"}.get(method, "part")
    if method in ("array", "tensors", "path"):
        part = artifact.parts[0].name
        assert failures(with_all(lambda value: call(part, value)), "file") == {}
        assert failures(with_all(lambda value: call(value, "rows")), "part") == {}
    else:
        assert failures(with_all(call), word) == {}


ROWS = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
SMALL_MODEL: dict[str, Any] = {
    "n_clusters": 2, "features": 4, "hidden": 8, "batch": 4, "resamples": 1,
    "affinity": "membership",
}  # fmt: skip


@pytest.mark.parametrize("argument", sorted(CPP().get_params()))
def test_the_estimator_takes_or_refuses_any_parameter(argument):
    calls = with_all(lambda value: CPP(**{**SMALL_MODEL, argument: value}).fit(ROWS))
    if argument in ("epochs", "resamples"):
        del calls["a huge number"]  # so much work may be wanted
    assert failures(calls, argument) == {}


@pytest.mark.parametrize("method", ["fit", "predict", "confidence", "transform", "novelty"])
def test_the_estimator_takes_or_refuses_any_rows(method):
    model = CPP(random_state=0, **SMALL_MODEL).fit(ROWS)
    calls = with_all(getattr(model, method))
    for name in ("a tensor with gradients", "a truncated image"):
        del calls[name]  # they say themselves why they are no array
    wrong = failures(calls, "X", "array")
    # Others are found by scikit-learn, whose errors are ValueError and TypeError.
    assert [line for line in wrong.values() if not line.startswith(("ValueError", "TypeErr"))] == []
