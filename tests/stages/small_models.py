"""Files of the small models of tests: two CLIPs, and random weights for any model of timm."""

from pathlib import Path

from cpp_pipe.pipeline.config import CONFIGS
from cpp_pipe.stages.encoding.encoder import Encoder, load_encoder

DIGITS_CLIP = {
    "weights": CONFIGS / "digits-clip.safetensors",
    "model_config": CONFIGS / "digits-clip.json",
}
"""The CLIP of digits that is installed with the program."""


def load_digits_clip(**settings) -> Encoder:
    """The CLIP of digits on the CPU."""
    return load_encoder("digits-clip", "shipped", files=DIGITS_CLIP, device="cpu", **settings)


def mobile_clip(shared: Path) -> dict[str, Path]:
    """A CLIP of photographs whose image tower is a MobileNetV2."""
    folder = shared / "models" / "mnv2-clip"
    return {
        "weights": folder / "mnv2-clip.safetensors",
        "model_config": folder / "mnv2-clip.json",
    }


def mobile_clip_flags(shared: Path) -> tuple[str | Path, ...]:
    """The flags of commands that embed with `mobile_clip`."""
    files = mobile_clip(shared)
    return ("--model-config", files["model_config"], "--pretrained", files["weights"])


def write_timm_weights(folder: Path, name: str, classes: int | None = None) -> Path:
    """Random weights of a model, as timm saves them."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=classes)
    path = folder / f"{name}-{classes}.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    return path
