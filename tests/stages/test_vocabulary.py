"""Vocabularies: from the libraries that carry them, or from the user's file."""

import numpy as np
import pytest

from cpp_pipe.stages.vocabulary import expand_templates, read_vocabulary
from cpp_pipe.store import ConfigError


def test_imagenet_and_coco_come_from_their_libraries():
    imagenet, coco = read_vocabulary("imagenet", None), read_vocabulary("coco", None)
    assert 990 <= len(imagenet.names) <= 1000 and "goldfish" in imagenet.names
    assert len(coco.names) == 80 and "traffic light" in coco.names
    assert "N/A" not in coco.names


def test_a_text_file_holds_a_phrase_a_line(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# a comment\ncat\n\n  red car \ncat\n")
    assert read_vocabulary("words.txt", path).names == ("cat", "red car")


def test_an_empty_file_of_words_is_refused(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# nothing\n")
    with pytest.raises(ConfigError, match="holds no phrase"):
        read_vocabulary("words.txt", path)


def test_embeddings_of_words_can_come_along(tmp_path):
    path = tmp_path / "words.npz"
    np.savez(path, name=np.array(["a", "b"]), t=np.eye(2, 3, dtype=np.float16))
    found = read_vocabulary("words.npz", path)
    assert found.names == ("a", "b")
    assert found.embeddings is not None and found.embeddings.dtype == np.float32
    np.savez(path, name=np.array(["a", "b"]), t=np.eye(3))
    with pytest.raises(ConfigError, match="are needed"):
        read_vocabulary("words.npz", path)
    np.savez(path, words=np.array(["a"]))
    with pytest.raises(ConfigError, match="with `name` and `t`"):
        read_vocabulary("words.npz", path)


def test_templates_are_prompts_or_the_names_of_lists():
    assert expand_templates(()) == ["a photo of a {}."]
    assert expand_templates(["a {}"]) == ["a {}"]
    assert len(expand_templates(["imagenet-80"])) == 80
    assert len(expand_templates(["imagenet-7", "a {}"])) == 8
    assert all(prompt.count("{}") == 1 for prompt in expand_templates(["imagenet-80"]))
    with pytest.raises(ConfigError, match="is not allowed"):
        expand_templates(["no place for the word"])
