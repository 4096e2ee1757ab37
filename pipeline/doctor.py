"""The installation: versions of packages, devices, and faults."""

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_PACKAGES = (
    "cpp-pipe",
    "torch",
    "torchvision",
    "open_clip_torch",
    "numpy",
    "pyarrow",
    "scipy",
    "scikit-learn",
    "webdataset",
)


@dataclass(frozen=True, kw_only=True)
class Examination:
    """Facts of an installation, and its faults, each with its remedy."""

    facts: Mapping[str, str]
    faults: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def examine() -> Examination:
    """Examines the packages, FAISS and the devices."""
    facts = {"python": platform.python_version(), "cores": str(os.cpu_count())}
    faults = []
    for name in _PACKAGES:
        version = find_version(name)
        facts[name] = version or "missing"
        if version is None:
            faults.append(f"{name} is not installed: pip install cpp-pipe")
    faiss = faiss_packages()
    facts["faiss"] = ", ".join(f"{name} {version}" for name, version in faiss.items()) or "none"
    if len(faiss) > 1:
        names = " ".join(faiss)
        faults.append(
            f"{' and '.join(faiss)} overwrite each other's module faiss: run pip uninstall -y "
            f"{names}, then install one of them, with 'cpp-pipe[cpu]' or 'cpp-pipe[gpu]'"
        )
    if not faiss:
        facts["faiss"] += " (search is exact and slower: pip install 'cpp-pipe[cpu]')"
    faults += _examine_torch(facts)
    return Examination(facts=facts, faults=tuple(faults))


def faiss_packages() -> dict[str, str]:
    """The installed distributions that contain the module `faiss`, with their versions."""
    versions = {}
    for distribution in importlib.metadata.distributions():
        name = (distribution.name or "").lower().replace("_", "-")
        if name.startswith("faiss-") or name == "faiss":
            versions[name] = distribution.version
    return dict(sorted(versions.items()))


def find_version(name: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _examine_torch(facts: dict[str, str]) -> list[str]:
    """Adds facts of torch and its devices; returns its faults."""
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    from ..stages.encoding.models.bf16_products import bf16_of_processor, describe_speed

    facts["torch threads"] = str(torch.get_num_threads())
    facts["bf16"] = "not in this processor"
    if bf16_of_processor():
        facts["bf16"] = f"{describe_speed()} for a ViT: --set embed.precision=bf16"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    facts["devices"] = ", ".join(["cpu", *(f"cuda:{i} {name}" for i, name in enumerate(names))])
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        return [
            f"torchvision does not fit torch ({first}): install two releases that belong together"
        ]
    return []
