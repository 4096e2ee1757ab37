"""Products in bf16 on a processor that has them: how little embeddings change."""

import open_clip
import pytest
import timm
import torch

from cpp_pipe.stages.encoding.encoder import load_encoder
from cpp_pipe.stages.encoding.models.bf16_products import (
    bf16_of_processor,
    multiply_in_bf16,
    multiplying_in_float32,
)
from cpp_pipe.stages.encoding.models.loaded_model import image_tower, weights_digest
from cpp_pipe.stages.encoding.precision_notes import least_cosine, require_bf16
from cpp_pipe.stages.sources.images.pixels import decode
from cpp_pipe.stages.sources.tar.shards import open_tar
from cpp_pipe.store import ConfigError

from ...small_models import mobile_clip

needs_bf16 = pytest.mark.skipif(not bf16_of_processor(), reason="the processor lacks bf16")

SMALL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 128, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}
"""A small CLIP of open_clip."""


def towers() -> dict[str, torch.nn.Module]:
    """Image towers of random weights that differ in their blocks."""
    torch.manual_seed(0)
    quick = {**SMALL, "quick_gelu": True}
    scaled = {**SMALL, "vision_cfg": {**SMALL["vision_cfg"], "ls_init_value": 0.3}}
    made = {
        name: open_clip.CLIP(**config).visual
        for name, config in {"clip": SMALL, "quick": quick, "scaled": scaled}.items()
    }
    for name in ("vit_tiny_patch16_224", "vit_relpos_small_patch16_224"):
        made[name] = timm.create_model(name, num_classes=0, img_size=64, depth=3)
    return {name: tower.eval() for name, tower in made.items()}


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def cosines(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """The cosine of each row to the same row of others."""
    return torch.nn.functional.cosine_similarity(rows.double(), others.double())


@needs_bf16
@pytest.mark.parametrize("name", ["clip", "quick", "scaled", "vit_tiny_patch16_224"])
def test_a_transformers_products_are_bf16_and_its_embeddings_hardly_change(name, pixels):
    tower = towers()[name]
    with torch.inference_mode():
        exact = tower(pixels)
        assert multiply_in_bf16(tower)
        coarse = tower(pixels)
        assert coarse.dtype == torch.float32
        assert not torch.equal(coarse, exact)
        assert cosines(coarse, exact).min() >= 0.9999
        with multiplying_in_float32(tower):
            assert torch.equal(tower(pixels), exact)
        assert torch.equal(tower(pixels), coarse)


@needs_bf16
def test_the_weights_and_their_digest_stay_as_they_were():
    tower = towers()["clip"]
    before = weights_digest(tower)
    multiply_in_bf16(tower)
    assert weights_digest(tower) == before


@pytest.mark.parametrize("name", ["resnet18", "vit_relpos_small_patch16_224"])
def test_other_networks_are_left_alone(name, pixels):
    tower = timm.create_model(name, num_classes=0).eval() if "res" in name else towers()[name]
    assert not multiply_in_bf16(tower)
    assert not any("forward" in module.__dict__ for module in tower.modules())


@needs_bf16
def test_attention_to_other_rows_or_with_a_mask_stays_exact(pixels):
    attention = torch.nn.MultiheadAttention(32, 2, batch_first=True).eval()
    rows, others = torch.randn(2, 5, 32), torch.randn(2, 7, 32)
    mask = torch.triu(torch.full((5, 5), float("-inf")), diagonal=1)
    calls = [
        ((rows, others, others), {"need_weights": False}),
        ((rows, rows, rows), {"need_weights": False, "attn_mask": mask}),
        ((rows, rows, rows), {"need_weights": True}),
    ]
    with torch.inference_mode():
        before = [attention(*rows, **how)[0] for rows, how in calls]
        assert multiply_in_bf16(attention)
        for (rows, how), expected in zip(calls, before, strict=True):
            assert torch.equal(attention(*rows, **how)[0], expected)


@needs_bf16
def test_the_least_cosine_to_float32_is_measured_on_photographs(shared):
    mobile = mobile_clip(shared)
    encoder = load_encoder("mnv2-clip", "x", files=mobile, device="cpu", precision="bf16")
    assert not encoder.multiplies_in_bf16  # a network of convolutions: autocast
    with open_tar(shared / "data" / "caltech101" / "00000.tar", None) as shard:
        images = [decode(sample.read_image()).rgb for sample in shard.samples[:16]]
    block = torch.stack([encoder.preprocess(image) for image in images])
    least = least_cosine(encoder, block.numpy())
    assert 0.99 < least < 0.9999
    exact = load_encoder("mnv2-clip", "x", files=mobile, device="cpu")
    assert least_cosine(exact, block.numpy()) == pytest.approx(1.0, abs=1e-6)
    rows = (encoder.images(block) * exact.images(block)).sum(axis=1)
    assert least == pytest.approx(rows.min(), abs=1e-5)
    assert image_tower(exact.model) is exact.model.visual


def test_a_processor_without_bf16_refuses_to_embed_in_it(monkeypatch):
    for probe in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda: False)
    bf16_of_processor.cache_clear()
    try:
        require_bf16("fp32", "cpu")
        require_bf16("bf16", "cuda:0")
        with pytest.raises(ConfigError, match="AMX or AVX512-BF16, and this one has neither"):
            require_bf16("bf16", "cpu")
    finally:
        bf16_of_processor.cache_clear()
