"""Counts with their nouns, in the messages of every layer."""

_PLURALS = {"person": "people", "hierarchy": "hierarchies", "vocabulary": "vocabularies"}


def counted(count: int, noun: str) -> str:
    """A count with its noun, such as `1 image`, `2 images` and `1,000 images`."""
    return f"{count:,} {noun if count == 1 else plural(noun)}"


def agreeing(count: int, one: str, many: str) -> str:
    """The form of a verb that goes with a count, such as `is` or `are`."""
    return one if count == 1 else many


def plural(noun: str) -> str:
    """The plural of a noun, whose last word takes the ending."""
    if noun in _PLURALS:
        return _PLURALS[noun]
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")
