"""The file of a linear head is foreign input: only one row of finite weights that fit is taken."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from cpp_pipe.stages.sources.linear_head import digest_head, read_head
from cpp_pipe.store import ConfigError

SIZE = 8
WEIGHT = np.arange(SIZE, dtype=np.float32)


def write(folder: Path, tensors: dict, metadata: dict | None = None) -> Path:
    path = folder / "head.safetensors"
    save_file(tensors, path, metadata)
    return path


def read(path: Path):
    return read_head(path, digest_head(path), SIZE)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(SIZE,), (1, SIZE)])
@pytest.mark.parametrize("prefix", ["", "linear.", "layers.0."])
def test_a_head_of_any_usual_layout_is_read(tmp_path, dtype, shape, prefix):
    bias = np.array([0.5], dtype)
    path = write(
        tmp_path,
        {f"{prefix}weight": WEIGHT.reshape(shape).astype(dtype), f"{prefix}bias": bias},
        {"normalize": "true"},
    )
    head = read(path)
    np.testing.assert_array_equal(head.weight, WEIGHT)
    assert head.weight.dtype == np.float32 and head.bias == 0.5
    assert read(write(tmp_path, {"weight": WEIGHT})).bias == 0


def number(value: float) -> np.ndarray:
    return np.where(np.arange(SIZE) == 3, value, 1.0)


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"weight": WEIGHT[:-1].copy()}, None, r"shape \(8,\) or \(1, 8\).*got \(7,\): it is for"),
        ({"weight": np.zeros((2, SIZE), np.float32)}, None, "another model"),
        ({"weight": np.zeros((SIZE, 1), np.float32)}, None, "another model"),
        ({"weight": np.zeros(0, np.float32)}, None, "another model"),
        ({"weight": np.array(1, np.float32)}, None, "another model"),
        ({"weight": number(np.nan)}, None, "weight holds a number that is not finite"),
        ({"weight": number(np.inf)}, None, "not finite"),
        ({"weight": number(1e300)}, None, "too large"),
        ({"weight": WEIGHT, "bias": np.full(1, np.nan)}, None, "bias holds a number"),
        ({"weight": WEIGHT, "bias": np.zeros(2)}, None, "bias of one number"),
        ({"weight": WEIGHT, "bias": np.zeros(0)}, None, "bias of one number"),
        ({"weight": WEIGHT.astype(np.int64)}, None, "must be float16, float32 or float64, got I64"),
        ({"bias": np.zeros(1)}, None, "must hold `weight`"),
        ({"0.weight": WEIGHT, "2.weight": WEIGHT}, None, "must be one linear layer"),
        ({"weight": WEIGHT, "running_mean": WEIGHT}, None, "must be one linear layer"),
        ({"weight": WEIGHT}, {"normalize": "false"}, "only heads for embeddings of length 1"),
        ({"weight": WEIGHT}, {"normalize": "maybe" * 99}, "normalize = 'maybe"),
    ],
)
def test_an_unusable_head_is_refused_in_one_sentence(tmp_path, tensors, metadata, message):
    path = write(tmp_path, tensors, metadata)
    with pytest.raises(ConfigError, match=message) as raised:
        read(path)
    assert str(raised.value).startswith(f"--head {path}")


HEADER = b'{"weight":{"dtype":"F32","shape":[8],"data_offsets":[0,%d]}}'


def framed(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"[" * 10_000,
        bytes(range(256)) * 20,
        struct.pack("<Q", 2**63) + b"{}",
        framed(b"{}"),
        framed(HEADER % 32, bytes(31)),
        framed(HEADER % 32, bytes(64)),
        framed(HEADER % 10**15, bytes(32)),
        framed(b'{"weight":{"dtype":"F32","shape":[-8],"data_offsets":[0,32]}}', bytes(32)),
        framed(b'{"weight":{"dtype":"BF16","shape":[8],"data_offsets":[0,16]}}', bytes(16)),
        framed(b'{"weight":' + b"[" * 50_000 + b"}"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "head.safetensors"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="--head"):
        read(path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 200), st.integers(0, 255))
def test_a_head_with_a_changed_byte_is_read_or_refused(tmp_path, place, value):
    content = bytearray(write(tmp_path, {"weight": WEIGHT}).read_bytes())
    content[place % len(content)] = value
    path = tmp_path / "changed.safetensors"
    path.write_bytes(content)
    try:
        head = read(path)
    except ConfigError:
        return
    assert head.weight.shape == (SIZE,) and np.isfinite(head.weight).all()


def test_files_that_are_no_head_are_refused_before_they_are_read(tmp_path):
    large = tmp_path / "large.safetensors"
    with large.open("wb") as file:
        file.truncate(10**12)  # takes no place on the disk
    for path, message in (
        (large, "has more than 1 MiB"),
        (tmp_path / "absent.safetensors", "is not a file"),
        (tmp_path / "x.pth", "can run code"),
        (Path("/dev/zero"), "must be a .safetensors file"),
    ):
        with pytest.raises(ConfigError, match=message):
            digest_head(path)


def test_a_head_that_changes_while_it_is_used_is_refused(tmp_path):
    path = write(tmp_path, {"weight": WEIGHT})
    digest = digest_head(path)
    write(tmp_path, {"weight": WEIGHT + 1})
    with pytest.raises(ConfigError, match="was changed while it was used"):
        read_head(path, digest, SIZE)
