"""Damaged bytes, for fuzzing tars and images."""

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
"""Up to six edits; `damaged` applies them."""


def damaged(whole: bytes, edits: list[tuple[str, int, int, bytes]]) -> bytes:
    """Bytes with bits flipped, pieces removed or inserted, and blocks of 512 bytes swapped."""
    content = bytearray(whole)
    for how, position, other, new in edits:
        at = position % (len(content) + 1)
        if how == "flip" and at < len(content):
            content[at] ^= 1 << other % 8
        elif how == "cut":
            del content[at : at + other % 1500]
        elif how == "insert":
            content[at:at] = new
        elif how == "swap" and len(content) >= 512:
            blocks = len(content) // 512
            first, second = (
                slice(512 * (n % blocks), 512 * (n % blocks) + 512) for n in (position, other)
            )
            content[first], content[second] = content[second], content[first]
    return bytes(content)
