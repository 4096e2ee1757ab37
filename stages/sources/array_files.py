"""What NumPy and zipfile raise where a file of arrays is damaged."""

import struct
import tokenize
import zipfile
import zlib

_LZMA_ERROR = getattr(getattr(zipfile, "lzma", None), "LZMAError", zlib.error)
"""Of an archive that something other than NumPy wrote; Python may lack the library."""

READ_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    EOFError,
    LookupError,
    OverflowError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TypeError,
    struct.error,
    tokenize.TokenError,
    zlib.error,
    _LZMA_ERROR,
    zipfile.BadZipFile,
)
"""Found by reading their code and by fuzzing."""
