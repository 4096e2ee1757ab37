"""A linear head that somebody trained on embeddings, read from a file that is not trusted."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...store import ConfigError
from ...store.digest import digest_file
from ...store.errors import first_line

_MOST_BYTES = 1 << 20
"""Largest size of the file: a head of 65,536 numbers in float64 has half of it."""

_LARGEST = 1e30
"""Largest absolute value of a number, so that no sum overflows float32."""


class LinearHead(NamedTuple):
    """A weight for each number of an embedding, and a bias."""

    weight: np.ndarray
    """float32 (d,)."""
    bias: float


def digest_head(path: Path) -> str:
    """The digest of a head's file; ConfigError, naming the file, if it cannot be a head."""
    if path.suffix != ".safetensors":
        raise ConfigError(
            f"--head must be a .safetensors file, got {path}: loading other formats can run code; "
            "if you trust the file, load it with torch and save `weight` and `bias` with "
            "safetensors.torch.save_file"
        )
    try:
        if not path.is_file():
            raise ConfigError(f"--head {path} is not a file: name a .safetensors file")
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(
                f"--head {path} has more than {_MOST_BYTES >> 20} MiB: a linear head is a single "
                "row of weights"
            )
        return digest_file(path)
    except OSError as error:
        raise ConfigError(f"--head {path} cannot be read: {error.strerror}") from error


def read_head(path: Path, digest: str, size: int) -> LinearHead:
    """The head in a file, for embeddings of `size` numbers; ConfigError if it does not fit.

    The file holds `weight`, (size,) or (1, size), and may hold `bias`, of one number; a prefix such
    as `linear.` does not matter. `normalize` in its metadata may be `true`: embeddings have length
    1 here, so a head for others, `false`, is refused.
    """
    from safetensors import SafetensorError, safe_open

    if digest_head(path) != digest:
        raise ConfigError(f"--head {path} was changed while it was used: run the command again")
    try:
        with safe_open(path, framework="numpy") as file:
            names, metadata = list(file.keys()), dict(file.metadata() or {})
            weight, bias = (_read(file, path, names, role) for role in ("weight", "bias"))
    except ConfigError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise ConfigError(
            f"--head {path} is not a safetensors file: {first_line(error)[:200]}"
        ) from error
    others = [name for name in names if name.rpartition(".")[2] not in ("weight", "bias")]
    if weight is None or others or len(names) > 2:
        raise ConfigError(
            f"--head {path} must hold `weight` and may hold `bias`, got "
            f"{', '.join(sorted(names)[:5])[:200] or 'no tensor'}: it must be one linear layer"
        )
    if weight.shape not in ((size,), (1, size)):
        raise ConfigError(
            f"--head {path} must have a weight of shape ({size},) or (1, {size}), as the "
            f"embeddings have {size} numbers, got {weight.shape}: it is for another model"
        )
    if bias is not None and bias.size != 1:
        raise ConfigError(f"--head {path} must have a bias of one number, got {bias.shape}")
    normalize = metadata.get("normalize", "true").lower()
    if normalize != "true":
        raise ConfigError(
            f"--head {path} says normalize = {normalize[:20]!r}: only heads for embeddings of "
            "length 1 can be used, which say `true` or nothing"
        )
    return LinearHead(weight.reshape(-1).astype(np.float32), 0.0 if bias is None else bias.item())


def _read(file: Any, path: Path, names: list[str], role: str) -> np.ndarray | None:
    """The tensor of a role in float64; None if there is none, or more than one."""
    matching = [name for name in names if name.rpartition(".")[2] == role]
    if len(matching) != 1:
        return None
    dtype = file.get_slice(matching[0]).get_dtype()
    if dtype not in ("F16", "F32", "F64"):
        raise ConfigError(f"--head {path}: {role} must be float16, float32 or float64, got {dtype}")
    values = file.get_tensor(matching[0]).astype(np.float64)
    if not (np.abs(values) <= _LARGEST).all():  # NaN compares with nothing
        raise ConfigError(f"--head {path}: {role} holds a number that is not finite, or too large")
    return values
