"""Embeddings and heads in, features out: part by part."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from ..store import Artifact, Product, Scratch, StoreError
from ..store.errors import first_line
from ..store.files import write_array
from ..store.integrity import parsing
from ..store.kinds import FEATURES, Kind
from .algorithms.training_config import TrainingConfig
from .contract import Inputs, Part, Runtime, Stage, parts_like
from .rows.artifact_rows import read_part

if TYPE_CHECKING:
    from .algorithms.heads import Heads

_ROWS = 4096
"""Rows projected at once: bounds the memory, and changes no feature."""


@dataclass(frozen=True, kw_only=True)
class Project(Stage):
    """Refines embeddings with trained heads, BatchNorm in eval mode."""

    name: ClassVar[str] = "project"
    kind: ClassVar[Kind] = FEATURES
    revision: ClassVar[int] = 2
    is_thread_invariant: ClassVar[bool] = True
    source: ClassVar[str] = "embeddings"
    """The slot whose rows the heads take."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The rows to refine, and the heads."""
        return (self.source, "heads")

    def parts(self, inputs: Inputs, runtime: Runtime) -> tuple[Part, ...]:
        """One for each part of the embeddings."""
        return parts_like(inputs[self.source], {"heads": inputs["heads"].content})

    def prepare(self, inputs: Inputs, runtime: Runtime) -> "Heads":
        """Loads the heads."""
        runtime.progress.start("project", inputs[self.source].rows, "rows")
        return load_heads(inputs["heads"], runtime.device)

    def make(
        self, part: Part, prepared: "Heads", inputs: Inputs, runtime: Runtime, scratch: Scratch
    ) -> Product:
        """Projects one part."""
        source = inputs[self.source]
        x = read_part(source, part.name)
        z, c = refine(prepared, x, runtime.device)
        write_array(scratch.path("z"), z)
        write_array(scratch.path("c"), c)
        runtime.progress.advance(len(z))
        model = dict(source.facts["model"])
        return Product(rows=len(z), shared={"feature_size": int(z.shape[1]), "model": model})


@dataclass(frozen=True, kw_only=True)
class ProjectViews(Project):
    """Refines several views of each image."""

    source: ClassVar[str] = "views"


def load_heads(heads: Artifact, device: str) -> "Heads":
    """Trained heads in eval mode on a device."""
    from safetensors.torch import load_file

    from .algorithms.heads import Heads

    part = heads.only_part
    path, place = heads.path(part, "weights", is_read_whole=True), heads.place(part, "weights")
    config = _config_of(heads)
    with parsing(place):
        state = load_file(path, device=device)
    network = Heads(
        d=int(heads.facts["embedding_size"]),
        h=config.width,
        p=int(heads.facts.get("feature_size", config.features)),
        shared_heads=config.shared_heads,
        skip=config.has_skip,
    ).to(device)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:  # torch names every tensor that is missing or of another shape
        raise StoreError(
            f"{place} holds other tensors than {heads.folder} describes: restore it, or remove "
            "that folder and run `cpp-pipe train`, which makes it again"
        ) from error
    return network.eval()


def _config_of(heads: Artifact) -> TrainingConfig:
    """The settings of a training; StoreError if the manifest holds invalid ones."""
    settings: Mapping[str, Any] = heads.manifest.config
    try:
        values = {field.name: settings[field.name] for field in fields(TrainingConfig)}
        return TrainingConfig(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{heads.folder} was trained with settings that this version of cpp-pipe does not know "
            f"({first_line(error)}): remove it and run `cpp-pipe train`, which makes it again"
        ) from error


def refine(heads: "Heads", x: Any, device: str) -> tuple[Any, Any]:
    """Features and cluster features of embeddings (n, d): float16 (n, p) each, unit rows.

    StoreError if the heads were trained on embeddings of another size.
    """
    import torch

    from .algorithms.training import project

    size = heads.embedding_size
    if x.shape[1] != size:
        raise StoreError(
            f"the heads take embeddings of size {size}, got size {x.shape[1]}: these come from "
            "another model; use another run (--run)"
        )
    z, c = project(heads, torch.tensor(x, device=device), _ROWS)
    return z.cpu().numpy(), c.cpu().numpy()
