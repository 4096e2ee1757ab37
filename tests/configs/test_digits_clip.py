"""The small CLIP of the demo."""

import hashlib
import importlib.util
import json
import math
import socket
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open

from cpp_pipe.stages.sources.digits import digit_halves, digit_image, digit_label

CONFIGS = Path(str(files("cpp_pipe.configs")))
WEIGHTS = CONFIGS / "digits-clip.safetensors"
SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "train_digits_clip.py"
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEMPLATES = ["{}", "a photo of {}", "a drawing of {}"]


def open_digits_clip(folder: Path = CONFIGS) -> tuple[Any, Any, Any]:
    open_clip.add_model_config(folder / "digits-clip.json")
    model, _, preprocess = open_clip.create_model_and_transforms(
        "digits-clip", pretrained=str(folder / "digits-clip.safetensors")
    )
    return model.eval(), preprocess, open_clip.get_tokenizer("digits-clip")


def vocabulary() -> list[str]:
    lines = (CONFIGS / "digits-words.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("# ")]


def demo_templates() -> list[str]:
    """The templates of the demo's captions."""
    settings = tomllib.loads((CONFIGS / "digits.toml").read_text(encoding="utf-8"))
    return settings["caption"]["templates"]


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """The half of the digits that the model never saw, as images and as embeddings."""

    model: Any
    tokenizer: Any
    images: torch.Tensor
    embeddings: torch.Tensor
    digits: torch.Tensor

    def probabilities(self, names: list[str], templates: list[str]) -> torch.Tensor:
        """Zero-shot probabilities (n, names), by the mean embedding of a name in the templates."""
        prompts = [self.tokenizer([t.format(name) for name in names]) for t in templates]
        with torch.inference_mode():
            texts = [self.model.encode_text(prompt, normalize=True) for prompt in prompts]
        mean = F.normalize(torch.stack(texts).mean(0), dim=1)
        return (100 * self.embeddings @ mean.T).softmax(1)

    def accuracy(self, names: list[str], templates: list[str]) -> float:
        """The share of images with the right word; the first ten names are the digits."""
        predicted = self.probabilities(names, templates).argmax(1)
        return (predicted == self.digits).float().mean().item()


@pytest.fixture(scope="module")
def unseen() -> Unseen:
    model, preprocess, tokenizer = open_digits_clip()
    rows = [int(row) for row in digit_halves()[1]]
    images = torch.stack([preprocess(digit_image(row)) for row in rows])
    with torch.inference_mode():
        embeddings = model.encode_image(images, normalize=True)
    digits = torch.tensor([digit_label(row) for row in rows])
    return Unseen(
        model=model, tokenizer=tokenizer, images=images, embeddings=embeddings, digits=digits
    )


@pytest.fixture
def script() -> Iterator[ModuleType]:
    """The training script as a module; threads and random state of torch are restored."""
    spec = importlib.util.spec_from_file_location("train_digits_clip", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        spec.loader.exec_module(module)
        yield module
    torch.set_num_threads(threads)
    open_clip.add_model_config(CONFIGS / "digits-clip.json")


def test_both_files_together_are_under_four_megabytes():
    assert WEIGHTS.stat().st_size + (CONFIGS / "digits-clip.json").stat().st_size < 4_000_000


def test_it_loads_without_network_access(monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("this test has no network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    model, preprocess, tokenizer = open_digits_clip()
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("127.0.0.1", 9))
    assert model.encode_image(preprocess(digit_image(0))[None]).shape == (1, 32)
    assert model.encode_text(tokenizer("seven")).shape == (1, 32)


def test_the_halves_are_disjoint_and_hold_every_digit():
    train, demo = digit_halves()
    rows = np.concatenate([train, demo])
    assert len(np.unique(rows)) == len(rows) == 1797


def test_the_weights_were_trained_on_the_half_that_the_demo_leaves_out():
    trained_on = hashlib.sha256(digit_halves()[0].astype("<i8").tobytes()).hexdigest()
    with safe_open(WEIGHTS, "pt") as file:
        assert file.metadata()["train_rows_sha256"] == trained_on


def test_the_tokenizer_uses_the_context_length_of_the_model(unseen: Unseen):
    tokens = unseen.tokenizer(["seven", "a very long caption " * 20])
    assert tokens.shape == (2, unseen.model.context_length) == (2, 16)


def test_the_logit_scale_is_that_of_clip(unseen: Unseen):
    assert unseen.model.logit_scale.item() == pytest.approx(math.log(100), abs=1e-6)


@pytest.mark.parametrize("template", TEMPLATES)
def test_nine_of_ten_unseen_digits_get_the_right_word(unseen: Unseen, template: str):
    assert unseen.accuracy(DIGITS, [template]) >= 0.9


def test_numerals_name_the_digits_too(unseen: Unseen):
    assert unseen.accuracy([str(digit) for digit in range(10)], ["a handwritten {}"]) >= 0.9


@pytest.mark.parametrize("templates", [TEMPLATES, demo_templates()], ids=["neutral", "demo"])
def test_the_right_word_beats_every_other_word_of_the_vocabulary(
    unseen: Unseen, templates: list[str]
):
    assert unseen.accuracy(vocabulary(), templates) >= 0.85
    assert unseen.probabilities(vocabulary(), templates).amax(1).mean() >= 0.8


def test_the_vocabulary_has_the_ten_words_first_and_at_least_sixty_decoys():
    names = vocabulary()
    assert names[:10] == DIGITS
    assert len(set(names)) == len(names) >= 70
    assert all(name == name.strip() != "" for name in names)


def test_an_embedding_does_not_depend_on_its_batch(unseen: Unseen):
    with torch.inference_mode():
        alone = [
            unseen.model.encode_image(image[None], normalize=True) for image in unseen.images[:5]
        ]
    # float32 sums of 64 to 256 terms in another order
    torch.testing.assert_close(torch.cat(alone), unseen.embeddings[:5], atol=1e-5, rtol=0)


def test_images_of_one_digit_are_similar_but_not_equal(unseen: Unseen):
    cosines = unseen.embeddings @ unseen.embeddings.T
    same = unseen.digits[:, None] == unseen.digits[None]
    pairs = same & ~torch.eye(len(same), dtype=torch.bool)
    assert cosines[~same].mean() + 0.3 < cosines[pairs].mean() < 0.8


def test_the_config_is_that_of_the_script(script: ModuleType):
    assert json.loads((CONFIGS / "digits-clip.json").read_text()) == script.CONFIG


def test_the_seed_determines_every_byte_of_the_weights(script: ModuleType, tmp_path: Path):
    weights_of = []
    for run, seed in (("first", 0), ("again", 0), ("other", 1)):
        weights = script.make(tmp_path / run, steps=2, batch=8, learning_rate=1e-3, seed=seed)
        weights_of.append(weights.read_bytes())
    first, again, other = weights_of
    assert first == again
    assert first != other
