"""cpp-pipe: embeds, clusters, names and searches large piles of images.

    >>> from cpp_pipe import Run
    >>> run = Run.create("artifacts").embed(images="photos/").train().assign().caption()
    >>> hits = run.search(image="img.jpg", n=5)

    >>> from cpp_pipe import CPP
    >>> labels = CPP(n_clusters="auto").fit_predict(embeddings)

The names below are loaded when they are first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline.comparison.result import compare
    from .pipeline.run import Run, search
    from .stages.algorithms.estimator import CPP
    from .store import Store

_HOME = {
    "CPP": "stages.algorithms.estimator",
    "Run": "pipeline.run",
    "Store": "store",
    "compare": "pipeline.comparison.result",
    "search": "pipeline.run",
}

__all__ = ["CPP", "Run", "Store", "compare", "search"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
