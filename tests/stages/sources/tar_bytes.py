"""Bytes of small tars."""

import io
import tarfile

SAMPLES = [
    ("a/0001.jpg", b"j" * 700),
    ("a/0001.json", b'{"n": 1}'),
    ("a/0001.txt", b"one"),
    ("b/0002.jpg", b"k" * 512),
    ("b/0002.txt", b"two"),
    ("b/0003.JPG", b"l" * 1500),
]
"""Three samples with their members."""


def tar_bytes(members: list[tuple[str, bytes]], layout: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar of these files, as Python's tarfile writes it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=layout) as tar:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return stream.getvalue()


def end_mark(content: bytes) -> int:
    """Where the end mark of an undamaged tar starts."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.getmembers()
        return tar.offset
