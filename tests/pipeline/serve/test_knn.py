"""Search in clip-retrieval's format: its answers, and messages for unsupported queries."""

import base64
import json

import httpx
import numpy as np
import pytest

from cpp_pipe.pipeline.serve.routes_knn import drop_duplicates

from .server import Served


def ask(served: Served, path: str = "/knn-service", **fields) -> httpx.Response:
    """Sends a request as clip-retrieval's client does: JSON without a content type, all fields."""
    query = {
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
        **fields,
    }
    return served.client.post(path, content=json.dumps(query))


def test_a_text_finds_rows_with_their_fields(served, run):
    hits = ask(served, text="the digit three").json()
    expected = run.search(text="the digit three", n=12)
    assert [hit["id"] for hit in hits] == [hit.row for hit in expected]
    assert [hit["similarity"] for hit in hits] == pytest.approx(
        [hit.similarity for hit in expected], abs=1e-5
    )
    assert set(hits[0]) == {
        "id", "similarity", "key", "shard", "caption", "url", "width", "height", "label"
    }  # fmt: skip
    assert hits[0]["key"] == expected[0].key and hits[0]["caption"].startswith("a scan")


def test_an_image_and_an_embedding_find_themselves(served, run, tmp_path):
    run.image(9).save(tmp_path / "nine.png")
    image = base64.b64encode((tmp_path / "nine.png").read_bytes()).decode()
    assert ask(served, image=image).json()[0]["id"] == 9
    row = run.artifact("embeddings").embeddings(run.artifact("embeddings").parts[0].name)[9]
    hits = ask(served, embedding_input=(3 * row.astype(float)).tolist()).json()
    assert hits[0]["id"] == 9 and hits[0]["similarity"] == pytest.approx(1, abs=1e-3)


def test_the_number_of_rows_is_the_requested_one(served):
    assert len(ask(served, text="a", num_images=5, num_result_ids=30).json()) == 5
    assert len(ask(served, text="a", num_images=30, num_result_ids=7).json()) == 7
    assert len(ask(served, text="a", num_images=10**9, num_result_ids=10**9).json()) == 60


def test_deduplicate_leaves_out_near_duplicates(served):
    def rows(*, deduplicate: bool) -> list[int]:
        answer = ask(served, text="a", num_images=60, num_result_ids=60, deduplicate=deduplicate)
        return [hit["id"] for hit in answer.json()]

    every, few = rows(deduplicate=False), rows(deduplicate=True)
    assert few == [row for row in every if row in set(few)]
    assert few[0] == every[0]


def test_the_first_row_of_a_chain_of_duplicates_is_kept():
    cosines = np.eye(5)
    for first, second in ((0, 3), (3, 4)):
        cosines[first, second] = cosines[second, first] = 0.95
    assert drop_duplicates(cosines) == [0, 1, 2]


def test_indices_and_metadata_are_those_of_the_run(served):
    assert served.json("/indices-list") == ["default"]
    rows = ask(served, "/metadata-service", ids=[3, 0, 59]).json()
    assert [row["id"] for row in rows] == [3, 0, 59]
    assert rows[0]["metadata"]["key"] == served.json("/api/images/3")["key"]
    assert ask(served, "/metadata-service", ids=[]).json() == []


@pytest.mark.parametrize(
    "fields, words",
    [
        ({}, "give one of text, image and embedding_input"),
        ({"text": "a", "indice_name": "laion5B"}, "indice_name must be 'default', got 'laion5B'"),
        ({"text": "a", "modality": "text"}, "modality must be 'image', got 'text'"),
        ({"image_url": "http://127.0.0.1/admin"}, "image_url is not fetched"),
        ({"image": "not base64!"}, "not valid base64"),
        ({"image": 7}, "not valid base64"),
        ({"image": "AAAA"}, "cannot be decoded"),
        ({"embedding_input": [1, 2]}, "must have shape (32,)"),
        ({"embedding_input": ["a"]}, "must be a list of numbers"),
        ({"embedding_input": [[1], [2, 3]]}, "must be a list of numbers"),
        ({"embedding_input": [1e308] * 64}, "a finite length above 0"),
        ({"text": "a", "num_images": 0}, "num_images must be a whole number of at least 1"),
        ({"text": "a", "num_images": "7"}, "num_images must be a whole number of at least 1"),
        (
            {"text": "a", "num_result_ids": -1},
            "num_result_ids must be a whole number of at least 1",
        ),
        ({"text": "\ud800"}, "text must be a valid string"),
        ({"text": "a" * 2000}, "text must be a valid string"),
        ({"text": ["a"]}, "text must be a valid string"),
    ],
)
def test_an_invalid_query_is_refused_with_the_reason(served, fields, words):
    answer = ask(served, **fields)
    assert answer.status_code == 400 and words in answer.json()["detail"], answer.text


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"a"', b"[" * 100_000, b"\xff\xfe"])
def test_a_body_that_is_no_json_object_is_refused(served, body):
    for path in ("/knn-service", "/metadata-service"):
        answer = served.client.post(path, content=body)
        assert answer.status_code == 400 and "JSON" in answer.json()["detail"]


@pytest.mark.parametrize("ids", [None, "0", [0.5], [True], [-1], [60], [10**30], [0] * 201])
def test_invalid_row_numbers_are_refused(served, ids):
    assert ask(served, "/metadata-service", ids=ids).status_code == 400
