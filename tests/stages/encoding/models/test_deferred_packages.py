"""Deferred packages: fewer modules are loaded, and vectors and packages stay the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cpp_pipe.stages.encoding.models.deferred_packages import defer_packages

from ...small_models import DIGITS_CLIP, mobile_clip, write_timm_weights

LOAD = """
import json, sys
from pathlib import Path
{before}
from cpp_pipe.stages.encoding.encoder import load_encoder
import torch
files = {{name: Path(path) for name, path in json.loads({files!r}).items()}}
encoder = load_encoder({model!r}, "local", files=files, device="cpu")
size = encoder.identity["preprocess"]["size"]
size = size if isinstance(size, list) else [size, size]
generator = torch.Generator().manual_seed(0)
pixels = torch.randint(256, (2, *size, 3), dtype=torch.uint8, generator=generator)
rows = encoder.images(pixels)
texts = encoder.texts(["a dog"]).tobytes().hex() if encoder.tokenizer else ""
{after}
heavy = {{"torchvision.models.resnet", "timm.models.swin_transformer", "huggingface_hub.hf_api"}}
loaded = heavy & {{*sys.modules}}
print(json.dumps([rows.tobytes().hex(), texts, encoder.identity, sorted(loaded), len(sys.modules)]))
"""
DEFER = (
    "from cpp_pipe.stages.encoding.models.deferred_packages import defer_packages; defer_packages()"
)


def load(model: str, files: dict[str, Path], before: str, after: str = "") -> list:
    """Values of a new process: rows, a text, the identity, heavy modules, their number in all."""
    named = json.dumps({name: str(path) for name, path in files.items()})
    code = LOAD.format(model=model, files=named, before=before, after=after)
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def models(folder: Path, shared: Path) -> dict[str, dict[str, Path]]:
    """Files of a plain CLIP, of one with a tower of timm, and of a model of timm."""
    return {
        "digits-clip": DIGITS_CLIP,
        "mnv2-clip": mobile_clip(shared),
        "timm/resnet10t": {"weights": write_timm_weights(folder, "resnet10t")},
    }


@pytest.mark.parametrize("model", ["digits-clip", "mnv2-clip", "timm/resnet10t"])
def test_a_model_gives_the_same_bits_from_a_fraction_of_the_modules(tmp_path, shared, model):
    files = models(tmp_path, shared)[model]
    *plain, loaded, all_modules = load(model, files, "")
    assert len(loaded) == 3
    *found, loaded, modules = load(model, files, DEFER)
    assert found == plain
    assert loaded == []
    assert modules < 0.8 * all_modules


AFTER = """
import open_clip, timm, torchvision
from timm.models import resnet50
from torchvision.models import resnet18
from torchvision.ops import nms
assert timm.is_model("swin_tiny_patch4_window7_224")
assert callable(timm.data.create_loader)
assert len(timm.list_models()) > 500
assert open_clip.CoCa is not None and "ViT-B-32" in open_clip.list_models()
assert torchvision.datasets.ImageFolder is not None
assert open_clip.tokenizer.default_bpe().endswith(".gz")
assert timm.models._hub.hf_split("a/b@c") == ("a/b", "c")
from huggingface_hub import HfApi
assert isinstance(HfApi(), HfApi)
assert nms(torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1]]), torch.ones(2), 0.5).tolist() == [0]
"""


def test_deferred_packages_load_when_they_are_used(tmp_path, shared):
    load("digits-clip", models(tmp_path, shared)["digits-clip"], DEFER, AFTER)


def test_nothing_is_deferred_in_a_process_that_has_loaded_torch():
    import torch

    assert torch is not None
    before = list(sys.meta_path)
    defer_packages()
    assert sys.meta_path == before
