"""The frozen model: open_clip's own floats on every path, and its identity."""

import io
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import MaybeToTensor
from PIL import Image
from safetensors.numpy import load_file, save_file
from torchvision.transforms import Compose, Lambda

from cpp_pipe.stages.encoding.encoder import Encoder, load_encoder, load_encoder_of
from cpp_pipe.stages.encoding.models.preprocessing import split_preprocessing
from cpp_pipe.stages.encoding.part_tables import EmbeddingRows
from cpp_pipe.stages.sources.images.pixels import decode
from cpp_pipe.stages.sources.tar.shards import open_tar
from cpp_pipe.store import Artifact, ConfigError, Recipe, Store
from cpp_pipe.store.kinds import EMBEDDINGS

from ..small_models import DIGITS_CLIP, load_digits_clip, mobile_clip


@pytest.fixture(scope="module")
def plain() -> tuple:
    """The same model and preprocessing from plain open_clip."""
    open_clip.add_model_config(DIGITS_CLIP["model_config"])
    network, _, preprocess = open_clip.create_model_and_transforms(
        "digits-clip", pretrained=str(DIGITS_CLIP["weights"])
    )
    return network.eval(), preprocess


def small_images() -> list[Image.Image]:
    """Small images of several shapes."""
    rng = np.random.default_rng(0)
    shapes = [(40, 60, 3), (60, 40, 3), (32, 32, 3), (100, 33, 3), (9, 9, 3)]
    return [Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]


class Floats(torch.nn.Module):
    """A network that returns its input."""

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """The flattened pixels."""
        return pixels.flatten(1)


def test_the_network_gets_the_pixels_of_open_clip(encoder, plain):
    pixels = torch.stack([encoder.preprocess(image) for image in small_images()])
    assert pixels.dtype == torch.uint8
    found = replace(encoder, model=Floats()).images(pixels)
    expected = torch.stack([plain[1](image) for image in small_images()]).flatten(1)
    assert np.array_equal(found, torch.nn.functional.normalize(expected, dim=-1).numpy())


def test_an_unknown_preprocessing_is_not_split(plain):
    whole = Compose([*plain[1].transforms, Lambda(lambda pixels: 2 * pixels)])
    assert split_preprocessing(whole, "cpu", MaybeToTensor) == {"preprocess": whole}


def test_float_pixels_are_not_normalised_again(encoder, plain):
    floats = torch.stack([plain[1](image) for image in small_images()])
    pixels = torch.stack([encoder.preprocess(image) for image in small_images()])
    assert np.abs(encoder.images(floats) - encoder.images(pixels)).max() < 1e-6


def test_the_preprocessing_can_be_sent_to_another_process(encoder):
    here, there = Pipe()
    here.send(encoder.preprocess)
    sent = there.recv()
    for image in small_images():
        assert torch.equal(sent(image), encoder.preprocess(image))


def last_bits(x: np.ndarray) -> np.ndarray:
    """float16 numbers as integers, in which neighbouring numbers differ by one."""
    bits = x.astype(np.float16).view(np.int16).astype(np.int32)
    return np.where(bits < 0, -(bits & 0x7FFF), bits)


def rows_of(network, pixels: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return torch.nn.functional.normalize(network.encode_image(pixels), dim=-1).numpy()


def test_embeddings_equal_the_plain_networks_up_to_last_bits(encoder, plain):
    pixels = torch.stack([plain[1](image) for image in small_images()])
    found = encoder.images(torch.stack([encoder.preprocess(image) for image in small_images()]))
    expected = rows_of(plain[0], pixels)
    # Near zero float16 is finer than the error of float32 sums.
    assert np.abs(found - expected).max() < 1e-6
    large = np.abs(expected) > 1e-2
    assert np.abs(last_bits(found) - last_bits(expected))[large].max() <= 1


@pytest.fixture(scope="module")
def mobile(shared) -> dict[str, Path]:
    return mobile_clip(shared)


def test_a_convolutional_tower_keeps_its_embeddings_in_either_layout(mobile):
    fast = load_encoder("mnv2-clip", "local", files=mobile, device="cpu")
    network, _, preprocess = open_clip.create_model_and_transforms(
        "mnv2-clip", pretrained=str(mobile["weights"])
    )
    pixels = torch.stack([preprocess(image) for image in small_images()])
    found = fast.images(torch.stack([fast.preprocess(image) for image in small_images()]))
    assert np.abs(found - rows_of(network.eval(), pixels)).max() < 2e-6


def test_two_launches_return_in_order(encoder):
    one, other = (encoder.preprocess(image)[None] for image in small_images()[:2])
    first, second = encoder.launch(one), encoder.launch(other)
    assert np.array_equal(first(), encoder.images(one))
    assert np.array_equal(second(), encoder.images(other))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_cpus_embeddings(encoder):
    on_gpu = load_encoder("digits-clip", "shipped", files=DIGITS_CLIP, device="cuda")
    pixels = torch.stack([encoder.preprocess(image) for image in small_images()])
    rows = [on_gpu.launch(block) for block in pixels.pin_memory().split(2)]
    found = np.concatenate([finish() for finish in rows])
    # TF32, which cuDNN may take for convolutions, keeps ten bits.
    assert np.abs(found - encoder.images(pixels)).max() < 2e-3


def test_default_settings_are_not_in_the_identity(encoder):
    assert not {"precision", "scaled_jpeg"} & set(encoder.identity)
    assert encoder.at_least is None


def test_bf16_is_recorded_and_close_to_fp32(encoder):
    coarse = load_digits_clip(precision="bf16")
    assert coarse.identity == {**encoder.identity, "precision": "bf16"}
    pixels = torch.stack([encoder.preprocess(image) for image in small_images()])
    found, expected = coarse.images(pixels), encoder.images(pixels)
    assert found.dtype == np.float32
    assert not np.array_equal(found, expected)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-6
    # Eight bits per number: cosines are right to three digits.
    assert (found * expected).sum(axis=1).min() > 0.999
    words = ["zero", "one"]
    assert (coarse.texts(words) * encoder.texts(words)).sum(axis=1).min() > 0.999


def test_scaled_jpegs_keep_twice_the_networks_input_size(encoder):
    scaled = load_digits_clip(scaled_jpeg=True)
    size = encoder.identity["preprocess"]["size"]
    assert scaled.identity == {**encoder.identity, "scaled_jpeg": True}
    assert scaled.at_least == 2 * max(size if isinstance(size, list) else [size])


def embedded_by(encoder: Encoder, store: Store, name: str) -> Artifact:
    """Empty embeddings that record the model."""
    recipe = Recipe(
        kind=EMBEDDINGS.name,
        format=EMBEDDINGS.format,
        stage="test",
        revision=1,
        config={"name": name},
        parts={"one": {}},
    )
    draft = store.draft(recipe)
    rows = EmbeddingRows(shard="one", size=encoder.size)
    draft.make_part("one", lambda scratch: rows.write(scratch, {}, encoder.identity))
    return draft.publish({}, {})


@pytest.mark.parametrize(
    "settings", [{}, {"precision": "bf16"}, {"scaled_jpeg": True}], ids=["default", "bf16", "jpeg"]
)
def test_a_query_is_embedded_as_the_embeddings_were(tmp_path, settings):
    made = load_digits_clip(**settings)
    artifact = embedded_by(made, Store(tmp_path), "x")
    found = load_encoder_of(artifact, DIGITS_CLIP, "cpu")
    assert found.identity == made.identity
    assert found.at_least == made.at_least
    pixels = made.preprocess(small_images()[0])[None]
    assert np.array_equal(found.images(pixels), made.images(pixels))


def test_damaged_weights_are_reported(tmp_path):
    weights = tmp_path / "digits-clip.safetensors"
    weights.write_bytes(DIGITS_CLIP["weights"].read_bytes()[:1000])
    with pytest.raises(ConfigError, match="do not fit the model digits-clip"):
        load_encoder(
            "digits-clip", "shipped", files={**DIGITS_CLIP, "weights": weights}, device="cpu"
        )


def test_another_model_is_refused(tmp_path, encoder):
    other = replace(encoder, identity={**encoder.identity, "weights_digest": "0"})
    with pytest.raises(ConfigError, match="its weights_digest is"):
        load_encoder_of(embedded_by(other, Store(tmp_path), "x"), DIGITS_CLIP, "cpu")


def test_a_photograph_decoded_at_a_fraction_has_nearly_the_same_embedding(shared, mobile):
    encoder = load_encoder("mnv2-clip", "local", files=mobile, device="cpu", scaled_jpeg=True)
    with open_tar(shared / "data" / "caltech101" / "00000.tar", None) as shard:
        small = decode(shard.samples[0].read_image()).rgb
    stream = io.BytesIO()
    small.resize((1800, 1200), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    whole, scaled = (
        decode(stream.getvalue(), at_least=size).rgb for size in (None, encoder.at_least)
    )
    assert (whole.size, scaled.size) == ((1800, 1200), (900, 600))
    rows = encoder.images(torch.stack([encoder.preprocess(image) for image in (whole, scaled)]))
    assert rows[0] @ rows[1] > 0.999


def test_weights_that_are_not_finite_are_reported_before_any_image(tmp_path):
    tensors = load_file(DIGITS_CLIP["weights"])
    name = next(name for name in sorted(tensors) if name.startswith("visual"))
    tensors[name] = np.full_like(tensors[name], np.nan)
    damaged = tmp_path / "damaged.safetensors"
    save_file(tensors, damaged)
    files = {**DIGITS_CLIP, "weights": damaged}
    broken = load_encoder("digits-clip", "damaged.safetensors", files=files, device="cpu")
    with pytest.raises(ConfigError, match=r"not finite: its weights .* damaged; get them again"):
        broken.require_vectors()
