"""Models of timm: their own preprocessing and vectors, weights from a file, and no texts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from cpp_pipe.stages.encoding.encoder import Encoder, load_encoder
from cpp_pipe.stages.encoding.models.preprocessing import Bounded, ToBytes
from cpp_pipe.store import ConfigError

from ...small_models import write_timm_weights

SMALL = ("resnet10t", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_050")
"""Models of several families."""


def load(name: str, weights: Path) -> Encoder:
    """A model of timm with the weights of a file."""
    return load_encoder(f"timm/{name}", "timm", files={"weights": weights}, device="cpu")


def images(count: int = 3) -> list[Image.Image]:
    """Small images of several shapes."""
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (300 + 20 * n, 280, 3), dtype=np.uint8))
        for n in range(count)
    ]


def rows_of_timm(name: str, weights: Path) -> np.ndarray:
    """The unit rows that timm itself gives the images, with its own preprocessing."""
    overlay = {"file": str(weights)}
    network = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0
    )
    network.eval()
    preprocess: Any = create_transform(**resolve_model_data_config(network), is_training=False)
    with torch.inference_mode():
        rows = network(torch.stack([preprocess(image) for image in images()]))
    return torch.nn.functional.normalize(rows, dim=-1).numpy()


@pytest.mark.parametrize("name", SMALL)
def test_embeddings_are_those_of_timm_with_its_own_preprocessing(tmp_path, name):
    weights = write_timm_weights(tmp_path, name)
    encoder = load(name, weights)
    assert isinstance(encoder.preprocess, Bounded)
    assert isinstance(encoder.preprocess.steps, ToBytes)
    found = encoder.images(torch.stack([encoder.preprocess(image) for image in images()]))
    expected = rows_of_timm(name, weights)
    assert found.shape == (3, encoder.size) == expected.shape
    assert np.abs(found - expected).max() < 2e-6


def test_the_preprocessing_of_a_model_is_in_its_identity(tmp_path):
    encoder = load("vit_tiny_patch16_224", write_timm_weights(tmp_path, "vit_tiny_patch16_224"))
    settings = encoder.identity["preprocess"]
    assert settings["size"] == [224, 224]
    assert settings["mean"] == [0.5, 0.5, 0.5]
    assert settings["interpolation"] == "bicubic"
    assert encoder.identity["model"] == "timm/vit_tiny_patch16_224"


@pytest.mark.parametrize("classes", [0, 7, None], ids=["none", "seven", "as many as ImageNet"])
def test_weights_with_and_without_a_classifier_give_the_same_embeddings(tmp_path, classes):
    whole = load("resnet10t", write_timm_weights(tmp_path, "resnet10t"))
    pixels = torch.stack([whole.preprocess(image) for image in images()])
    # Without a classifier its random numbers are not drawn, so take those of the whole model.
    state = dict(whole.model.network.state_dict())
    if classes != 0:
        rows = classes or 1000
        state |= {"fc.weight": torch.randn(rows, 512), "fc.bias": torch.zeros(rows)}
    path = tmp_path / "own.safetensors"
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    assert np.array_equal(load("resnet10t", path).images(pixels), whole.images(pixels))


def test_weights_that_lack_a_layer_are_refused(tmp_path):
    path = write_timm_weights(tmp_path, "resnet10t", 0)
    state = timm.create_model("resnet10t", num_classes=0).state_dict()
    del state["layer1.0.conv1.weight"]
    save_file(state, path)
    with pytest.raises(ConfigError, match="do not fit the model timm/resnet10t"):
        load("resnet10t", path)


def test_the_error_for_an_unknown_model_names_similar_ones():
    with pytest.raises(ConfigError, match=r"timm has no model 'timm/resnet10x'.*timm/resnet10t"):
        load_encoder("timm/resnet10x", "timm", files={}, device="cpu")
    with pytest.raises(ConfigError, match="timm/resnet10t has no weights 'best' in timm; its tags"):
        load_encoder("timm/resnet10t.best", "timm", files={}, device="cpu")


def test_the_error_for_a_failed_download_says_how_to_give_a_file(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ConfigError, match=r"timm/resnet10t cannot be downloaded .*--pretrained FILE"
    ):
        load_encoder("timm/resnet10t", "timm", files={}, device="cpu")


def test_a_model_without_texts_says_so(tmp_path):
    encoder = load("resnet10t", write_timm_weights(tmp_path, "resnet10t"))
    for ask in (encoder.texts, encoder.cut_texts):
        with pytest.raises(ConfigError, match="timm/resnet10t embeds images and no texts: embed"):
            ask(["a dog"])


def test_a_model_config_is_refused(tmp_path):
    files = {"model_config": tmp_path / "x.json"}
    with pytest.raises(ConfigError, match="--model-config describes models of open_clip"):
        load_encoder("timm/resnet10t", "timm", files=files, device="cpu")
