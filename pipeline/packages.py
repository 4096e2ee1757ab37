"""Packages that cpp-pipe can use, and does not install."""

import importlib
from typing import Any

from ..store import MissingError


def require_package(name: str, attribute: str) -> Any:
    """An installed package that cpp-pipe itself does not need; MissingError where it is not.

    Without its `attribute` it is something else of that name, such as a folder where Python runs.
    """
    try:
        package = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        what = f"{name} is not" if missing == name else f"{missing}, which {name} needs, is not"
        raise MissingError(f"{what} installed: pip install {missing}") from error
    if not hasattr(package, attribute):
        places = list(getattr(package, "__path__", ()))
        raise MissingError(
            f"{name} is not installed: pip install {name}; {places[0] if places else package} "
            "only has its name"
        )
    return package
