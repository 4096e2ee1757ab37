"""Modules whose code runs only once it is needed, so that a single query starts sooner.

`import torchvision` loads its detectors and data sets, and `import timm` a hundred architectures,
of which a model needs one. Here the `__init__` of such a package waits until an attribute of the
package is asked for; its submodules can be imported before. What a model of local files never calls
(tokenizers for a query by image, the client of a hub) waits until it is called. Nothing is left
out: what is asked for is loaded, and is the same as ever.
"""

import importlib
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_DEFERRED: Mapping[str, tuple[str, ...]] = {
    "open_clip": ("factory", "model"),
    "timm": ("version", "models._factory"),
    "timm.data": ("constants",),
    "timm.models": ("_registry", "_factory"),
    "torchvision": (),
    "torchvision.models": (),
    "torchvision.ops": (),
}
"""Packages, and the submodules of each that are asked for an attribute before all of it runs.

Not torch: 0.3 s of its import register kernels for tensors without data, but without them
torch.Generator fails.
"""

_CALLED_LATER: Mapping[str, tuple[str, ...]] = {
    "huggingface_hub": ("hf_hub_download",),
    "open_clip.tokenizer": ("HFTokenizer", "SigLipTokenizer", "SimpleTokenizer"),
    "timm.models._hub": (
        "check_cached_file",
        "download_cached_file",
        "has_hf_hub",
        "load_custom_from_hf",
        "load_model_config_from_hf",
        "load_model_config_from_path",
        "load_state_dict_from_hf",
        "load_state_dict_from_path",
    ),
}
"""Modules, and what others import from each only to call it. Any other name runs the module."""

_CONSTANTS: Mapping[str, tuple[str, ...]] = {"open_clip.tokenizer": ("DEFAULT_CONTEXT_LENGTH",)}
"""Numbers that are read from the source of a module, so that it need not run."""

_lock = threading.RLock()


class _Deferred(ModuleType):
    """A module whose code has not run."""

    def __getattr__(self, name: str) -> Any:
        # Python itself asks for names such as __wrapped__, which no package has.
        if name.startswith("__") and name not in ("__all__", "__version__"):
            raise AttributeError(name)
        if name in _CALLED_LATER.get(self.__name__, ()):
            return _call_later(self, name)
        if name in _CONSTANTS.get(self.__name__, ()):
            number = _find_number(self, name)
            if number is not None:
                return number
        for submodule in _DEFERRED.get(self.__name__, ()):
            attributes = vars(importlib.import_module(f"{self.__name__}.{submodule}"))
            if name in attributes:
                return attributes[name]
        _run(self)
        return getattr(self, name)


def _call_later(module: _Deferred, name: str) -> Callable[..., Any]:
    """A function that, when called, runs the module and calls the module's function `name`."""

    def call(*arguments: Any, **named: Any) -> Any:
        _run(module)
        return getattr(module, name)(*arguments, **named)

    return call


def _find_number(module: _Deferred, name: str) -> int | None:
    """The whole number that a module's source assigns to a name at its top level, if any."""
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    match = re.search(rf"^{name} = (\d+)\b", source, re.MULTILINE)
    return None if match is None else int(match[1])


class _DeferringLoader(Loader):
    """Loads a module without running its code."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty module."""
        return _Deferred(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Runs nothing yet."""


class _Finder(MetaPathFinder):
    """Finds the modules that are deferred."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A deferred module; None leaves any other module to Python."""
        if fullname not in _DEFERRED and fullname not in _CALLED_LATER:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferringLoader(spec.loader)
        return spec


def defer_packages() -> None:
    """Defers packages in this process from now on; does nothing if torch is loaded already."""
    if "torch" not in sys.modules and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def import_architecture(name: str) -> None:
    """Loads the module of timm that defines an architecture, or all of them if none is found.

    Does nothing if timm was loaded as a whole.
    """
    package = sys.modules.get("timm.models") or importlib.import_module("timm.models")
    if not isinstance(package, _Deferred):
        return
    definition = re.compile(rf"^def {re.escape(name.partition('.')[0])}\(", re.MULTILINE)
    for path in sorted(Path(package.__path__[0]).glob("[a-z]*.py")):
        if definition.search(path.read_text(encoding="utf-8")):
            importlib.import_module(f"timm.models.{path.stem}")
            return
    _run(package)


def _run(module: _Deferred) -> None:
    """Runs the code of a module, once."""
    with _lock:
        if not isinstance(module, _Deferred):
            return
        spec = module.__spec__
        assert spec is not None and isinstance(spec.loader, _DeferringLoader)
        loader = spec.loader.loader
        deferring = spec.loader
        object.__setattr__(module, "__class__", ModuleType)
        module.__loader__ = spec.loader = loader
        try:
            loader.exec_module(module)
        except BaseException:
            # The next use runs it again, and reports why it fails.
            module.__loader__ = spec.loader = deferring
            object.__setattr__(module, "__class__", _Deferred)
            raise
