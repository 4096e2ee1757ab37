"""Bytes with damage: what fuzzing does to tars and to images."""

from hypothesis import strategies as st

EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "swap"]),
        st.integers(0, 1 << 16),
        st.integers(0, 1 << 16),
        st.binary(min_size=1, max_size=600),
    ),
    min_size=1,
    max_size=6,
)
"""Up to six damages; `damaged` tells what each does."""


def damaged(whole: bytes, edits: list[tuple[str, int, int, bytes]]) -> bytes:
    """Bytes with bits flipped, pieces cut out or put in, and blocks of 512 exchanged."""
    content = bytearray(whole)
    for how, one, other, new in edits:
        at = one % (len(content) + 1)
        if how == "flip" and at < len(content):
            content[at] ^= 1 << other % 8
        elif how == "cut":
            del content[at : at + other % 1500]
        elif how == "insert":
            content[at:at] = new
        elif how == "swap" and len(content) >= 512:
            blocks = len(content) // 512
            first, second = (
                slice(512 * (n % blocks), 512 * (n % blocks) + 512) for n in (one, other)
            )
            content[first], content[second] = content[second], content[first]
    return bytes(content)
