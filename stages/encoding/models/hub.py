"""Messages for models and weights that a hub does not know, and its client without a network."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from urllib.parse import urlparse


def unknown_model(model: str, known: Sequence[str], library: str = "open_clip") -> str:
    """The message for an unknown model, with similar names."""
    import difflib

    near = difflib.get_close_matches(model, known, n=5, cutoff=0.4)
    similar = (
        f"--model: {library} has no model {model!r}; similar names: {', '.join(near) or 'none'}"
    )
    if library != "open_clip":
        return similar
    return f"{similar}; for a model of your own give --model-config FILE.json"


def unknown_tag(model: str, tag: str, known: Sequence[str], library: str = "open_clip") -> str:
    """The message for an unknown tag of pretrained weights, with the tags that exist."""
    if library != "open_clip":
        return f"--model: {model} has no weights {tag!r} in {library}; its tags: {', '.join(known)}"
    return (
        f"--pretrained: {tag!r} is neither a tag of {model} in open_clip nor an existing file; "
        f"tags: {', '.join(known) or 'none'}; or give a local .safetensors file"
    )


@contextlib.contextmanager
def offline_without_a_network() -> Iterator[None]:
    """Sets the hub's client offline if its host has no address; it would retry for a minute."""
    host = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(level)
