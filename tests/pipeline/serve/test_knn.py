"""clip-retrieval's form of search: its shapes, and what is not here said in words."""

import base64
import json

import httpx
import numpy as np
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.routes_knn import _without_copies

from .serving import Served


def ask(served: Served, path: str = "/knn-service", **asked) -> httpx.Response:
    """What clip-retrieval's client sends: JSON without saying so, with all of its fields."""
    whole = {
        "text": None,
        "image": None,
        "image_url": None,
        "embedding_input": None,
        "deduplicate": False,
        "use_safety_model": True,
        "use_violence_detector": True,
        "indice_name": "default",
        "use_mclip": False,
        "aesthetic_score": 9,
        "aesthetic_weight": 0.5,
        "modality": "image",
        "num_images": 12,
        "num_result_ids": 12,
        **asked,
    }
    return served.client.post(path, content=json.dumps(whole))


@pytest.fixture(scope="module")
def run(finished):
    return Run.open(finished)


def test_a_text_finds_rows_with_what_is_known_of_each(served, run):
    found = ask(served, text="the digit three").json()
    expected = run.search(text="the digit three", n=12)
    assert [one["id"] for one in found] == [hit.row for hit in expected]
    assert [one["similarity"] for one in found] == pytest.approx(
        [hit.similarity for hit in expected], abs=1e-5
    )
    assert set(found[0]) == {
        "id", "similarity", "key", "shard", "caption", "url", "width", "height", "label"
    }  # fmt: skip
    assert found[0]["key"] == expected[0].key and found[0]["caption"].startswith("a scan")


def test_a_picture_and_an_embedding_find_themselves(served, run, tmp_path):
    run.image(9).save(tmp_path / "nine.png")
    image = base64.b64encode((tmp_path / "nine.png").read_bytes()).decode()
    assert ask(served, image=image).json()[0]["id"] == 9
    row = run.artifact("embeddings").embeddings(run.artifact("embeddings").parts[0].name)[9]
    found = ask(served, embedding_input=(3 * row.astype(float)).tolist()).json()
    assert found[0]["id"] == 9 and found[0]["similarity"] == pytest.approx(1, abs=1e-3)


def test_as_many_rows_come_as_are_asked_for(served):
    assert len(ask(served, text="a", num_images=5, num_result_ids=30).json()) == 5
    assert len(ask(served, text="a", num_images=30, num_result_ids=7).json()) == 7
    assert len(ask(served, text="a", num_images=10**9, num_result_ids=10**9).json()) == 60


def test_near_copies_are_left_out_where_asked(served):
    every = [one["id"] for one in ask(served, text="a", num_images=60, num_result_ids=60).json()]
    few = ask(served, text="a", num_images=60, num_result_ids=60, deduplicate=True).json()
    assert [one["id"] for one in few] == [row for row in every if row in {o["id"] for o in few}]
    assert few[0]["id"] == every[0]


def test_of_rows_that_are_copies_in_a_chain_the_first_stays():
    cosines = np.eye(5)
    for one, other in ((0, 3), (3, 4)):
        cosines[one, other] = cosines[other, one] = 0.95
    assert _without_copies(cosines) == [0, 1, 2]


def test_indices_and_metadata_are_those_of_the_run(served):
    assert served.json("/indices-list") == ["default"]
    found = ask(served, "/metadata-service", ids=[3, 0, 59]).json()
    assert [one["id"] for one in found] == [3, 0, 59]
    assert found[0]["metadata"]["key"] == served.json("/api/images/3")["key"]
    assert ask(served, "/metadata-service", ids=[]).json() == []


@pytest.mark.parametrize(
    "asked, words",
    [
        ({}, "one of text, image and embedding_input is needed"),
        ({"text": "a", "indice_name": "laion5B"}, "'default' is the one there is"),
        ({"text": "a", "modality": "text"}, "modality is not allowed"),
        ({"image_url": "http://127.0.0.1/admin"}, "image_url is not fetched"),
        ({"image": "not base64!"}, "not the base64"),
        ({"image": 7}, "not the base64"),
        ({"image": "AAAA"}, "no picture that can be decoded"),
        ({"embedding_input": [1, 2]}, "must have shape (32,)"),
        ({"embedding_input": ["a"]}, "no list of numbers"),
        ({"embedding_input": [[1], [2, 3]]}, "no list of numbers"),
        ({"embedding_input": [1e308] * 64}, "a finite length above 0"),
        ({"text": "a", "num_images": 0}, "num_images is not allowed"),
        ({"text": "a", "num_images": "7"}, "num_images is not allowed"),
        ({"text": "a", "num_result_ids": -1}, "num_result_ids is not allowed"),
        ({"text": "\ud800"}, "text is no text"),
        ({"text": "a" * 2000}, "text is no text"),
        ({"text": ["a"]}, "text is no text"),
    ],
)
def test_what_cannot_be_answered_is_said(served, asked, words):
    found = ask(served, **asked)
    assert found.status_code == 400 and words in found.json()["detail"], found.text


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"a"', b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_json_object_is_said(served, body):
    for path in ("/knn-service", "/metadata-service"):
        found = served.client.post(path, content=body)
        assert found.status_code == 400 and "no JSON" in found.json()["detail"]


@pytest.mark.parametrize("ids", [None, "0", [0.5], [True], [-1], [60], [10**30], [0] * 201])
def test_numbers_of_rows_that_are_none_are_said(served, ids):
    assert ask(served, "/metadata-service", ids=ids).status_code == 400
