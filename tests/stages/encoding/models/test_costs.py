"""Costs of open_clip's models: the table agrees with PyTorch, and advised models exist."""

import open_clip
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cpp_pipe.stages.encoding.models.costs import GFLOPS, cheaper_model


@pytest.mark.parametrize("model", sorted(GFLOPS))
def test_the_table_agrees_with_pytorchs_flop_counter(model):
    with torch.device("meta"):
        network = open_clip.create_model(model, pretrained=None, device="meta")
        size = network.visual.image_size
        image = torch.zeros(1, 3, *((size, size) if isinstance(size, int) else size))
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network.encode_image(image)
    assert GFLOPS[model] == pytest.approx(counter.get_total_flops() / 1e9, rel=0.01)


@pytest.mark.parametrize("model", sorted(GFLOPS))
def test_an_advised_model_exists_and_costs_about_a_tenth(model):
    cheaper = cheaper_model(model)
    if cheaper is None:
        assert model == "ViT-B-32"
        return
    assert cheaper.pretrained in open_clip.list_pretrained_tags_by_model(cheaper.model)
    assert 1 / 20 < cheaper.share <= 0.3
    assert GFLOPS[cheaper.model] / GFLOPS[model] == cheaper.share


def test_nothing_is_advised_for_an_unknown_model():
    assert cheaper_model("digits-clip") is None


def test_the_suffix_of_a_model_changes_no_cost():
    assert cheaper_model("ViT-L-14-quickgelu") == cheaper_model("ViT-L-14")
