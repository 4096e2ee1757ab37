"""Meaningless words, with which an image's similarities to real words are compared."""

import random

_WORDS = 64
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


def random_words(n: int = _WORDS) -> list[str]:
    """Words of two to four random syllables; always the same ones."""
    draw = random.Random(0)
    syllables = [consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS]
    return ["".join(draw.choices(syllables, k=draw.randint(2, 4))) for _ in range(n)]
