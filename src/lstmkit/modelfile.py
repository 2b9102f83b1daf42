"""One file a model: safetensors that hold weights, program, task configuration and provenance.

The layout is safetensors': eight bytes with the header's size, a JSON header that gives every
tensor its dtype, shape and bytes, then the bytes (github.com/huggingface/safetensors). What is ours
is JSON text in the metadata entry "lstmkit". Nothing in a file is ever executed, every size is
checked against the file before memory is taken, and a file is written whole or not at all.
"""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from lstmkit.errors import UserError
from lstmkit.lowprecision import LIMIT, BFloat16, Int8, dtype_of
from lstmkit.program import Program, ProgramError

FORMAT = 2
PLAIN_FORMAT = 1  # of files without weights of low precision, which older versions read
KEY = "lstmkit"
LARGEST_HEADER = 64 << 20
MOST_DIMENSIONS = 16
DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
CODES = {np.dtype(dtype): code for code, dtype in DTYPES.items()}
BF16 = "BF16"  # numpy has none: lstmkit.lowprecision.BFloat16
LARGEST_TENSOR = 2**48  # elements, sizes of 0 counted as 1

Name = str | os.PathLike[str]
T = TypeVar("T")


class ModelFileError(UserError):
    """A file that is not, or not wholly, a model of lstmkit."""


@dataclass
class ModelFile:
    """What a model file holds."""

    task: str
    config: dict[str, Any]
    program: Program
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None


def provenance() -> dict[str, Any]:
    """Who made a file, on what, when (UTC)."""
    import lstmkit

    return {
        "lstmkit": lstmkit.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


_provenance = provenance


def save(
    path: Name,
    *,
    task: str,
    config: Mapping[str, Any],
    program: Program,
    tensors: Mapping[str, np.ndarray] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model, atomically.

    Raises:
        UserError: the file cannot be written; what was there before is still there.
    """
    made = _provenance() if provenance is None else dict(provenance)
    low = dtype_of(program) != "float32"
    text = {
        "format": FORMAT if low else PLAIN_FORMAT,
        "version": made.get("lstmkit", ""),
        "task": task,
        "config": dict(config),
        "program": program.to_json(),
        "provenance": made,
    }
    stored = _stored("program/", program.weights) | _stored("extra/", tensors or {})
    try:
        description = json.dumps(text, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path} cannot be written: not all of it is JSON", got=str(error)
        ) from error
    write_tensors(path, stored, {KEY: description})


def _stored(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors by their names in the file; an int8 matrix is two."""
    found = {}
    for name, tensor in tensors.items():
        low = isinstance(tensor, Int8)
        found[prefix + name] = tensor.values if low else tensor
        if low:
            found[f"scale/{prefix}{name}"] = tensor.scale
    return found


def _under(path: Name, prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `_stored`."""
    found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    for name, values in found.items():
        scale = tensors.get(f"scale/{prefix}{name}")
        if scale is not None:
            found[name] = _int8(path, name, values, scale)
    return found


def _int8(path: Name, name: str, values: Any, scale: Any) -> Int8:
    typed = values.dtype == np.int8 and scale.dtype == np.float32
    if not typed or values.ndim != 2 or scale.shape != values.shape[:1]:
        raise _damaged(path, f"the scale of {name[:80]!r} does not fit")
    if values.size and values.min() < -LIMIT:
        raise _damaged(path, f"{name[:80]!r} holds -128")
    return Int8(values, scale)


def load(path: Name) -> ModelFile:
    """Reads a model.

    Raises:
        ModelFileError: missing, truncated, damaged, of another maker, or of a newer lstmkit.
    """
    tensors, metadata = read_tensors(path)
    text = _own_metadata(path, metadata)
    weights = _under(path, "program/", tensors)
    try:
        program = Program.from_json(text["program"], weights)
    except ProgramError as error:
        raise _damaged(path, str(error)) from error
    extra = _under(path, "extra/", tensors)
    return ModelFile(text["task"], text["config"], program, extra, text["provenance"], Path(path))


def _own_metadata(path: Name, metadata: Mapping[str, str]) -> dict[str, Any]:
    if KEY not in metadata:
        raise ModelFileError(
            f"{path} is a safetensors file, but no model of lstmkit",
            hint="models are made by: lstmkit train TASK DATA -o MODEL",
        )
    text = _json(path, metadata[KEY])
    if not isinstance(text, dict) or type(text.get("format")) is not int:
        raise _damaged(path, "its description is not lstmkit's")
    if text["format"] > FORMAT:
        raise ModelFileError(
            f"{path} was made by a newer lstmkit",
            got=f"format {text['format']}, lstmkit {str(text.get('version', '?'))[:40]}",
            expected=f"format {FORMAT} or lower",
            hint="pip install --upgrade lstmkit",
        )
    kinds = {"task": str, "config": dict, "program": dict, "provenance": dict}
    for name, kind in kinds.items():
        if type(text.get(name)) is not kind:
            raise _damaged(path, f"its description has no {name}")
    return text


def _damaged(path: Name, why: str) -> ModelFileError:
    return ModelFileError(
        f"{path} is damaged", got=why, hint="copy it again, or train the model again"
    )


# --- the plain layer: tensors and text ------------------------------------------------------------


def write_tensors(path: Name, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Writes named arrays and texts as safetensors, atomically."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    arrays, offset = [], 0
    for name in sorted(tensors):
        low = isinstance(tensors[name], BFloat16)
        array = np.asarray(tensors[name].words if low else tensors[name])
        array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        code = BF16 if low else CODES.get(np.dtype(array.dtype))
        if code is None:
            raise UserError(f"tensor {name!r} cannot be stored", got=str(array.dtype))
        end = offset + array.nbytes
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": [offset, end]}
        arrays.append(array)
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays:
            file.write(np.ascontiguousarray(array).tobytes())


def read_tensors(path: Name) -> tuple[dict[str, Any], dict[str, str]]:
    """Named arrays and texts of a safetensors file; a bfloat16 tensor is a BFloat16.

    Raises:
        ModelFileError: see `load`.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        header, start = _header(path, file, size)
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            raise _damaged(path, "its metadata is not text")
        _check_layout(path, header, size - start)
        return {name: _tensor(path, file, start, h) for name, h in header.items()}, metadata


@contextmanager
def _opened(path: Name) -> Iterator[IO[bytes]]:
    try:
        if Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir():
            raise ModelFileError(f"{path} is a device or a pipe, not a model")
        file = Path(path).open("rb")  # noqa: SIM115
    except FileNotFoundError as error:
        raise ModelFileError(f"there is no file {path}") from error
    except IsADirectoryError as error:
        raise ModelFileError(f"{path} is a folder, not a model") from error
    except ModelFileError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ModelFileError(f"{path} cannot be read", got=why) from error
    with file:
        yield file


def _header(path: Name, file: IO[bytes], size: int) -> tuple[dict[str, Any], int]:
    """The JSON header, and where the bytes begin."""
    first = file.read(8)
    length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
    if size == 0:
        raise ModelFileError(f"{path} is empty")
    begins = file.read(1)
    if not 2 <= length <= LARGEST_HEADER or begins != b"{":
        raise ModelFileError(
            f"{path} is no model of lstmkit",
            expected="a safetensors file made by: lstmkit train TASK DATA -o MODEL",
        )
    if 8 + length > size:
        raise _damaged(path, f"it ends after {size} bytes, inside its header of {length}")
    header = _json(path, begins + file.read(length - 1))
    if not isinstance(header, dict):
        raise _damaged(path, "its header is no object")
    return header, 8 + length


def _json(path: Name, text: bytes | str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("two fields of one name")
        return found

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header cannot be read: {error}") from error


def _check_layout(path: Name, header: Mapping[str, Any], size: int) -> None:
    """Every tensor well described, their bytes side by side from first to last."""
    spans = []
    for name, h in header.items():
        good = isinstance(h, dict) and set(h) == {"dtype", "shape", "data_offsets"}
        if not good or not _well_described(h):
            raise _damaged(path, f"tensor {name[:80]!r} is badly described")
        spans.append(tuple(h["data_offsets"]))
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise _damaged(path, "its tensors overlap or leave holes")
        end = stop
    if end > size:
        raise _damaged(path, f"it is cut off: {size} bytes of {end} are there")
    if end < size:
        raise _damaged(path, f"{size - end} bytes at its end belong to nothing")


def _well_described(h: Mapping[str, Any]) -> bool:
    shape, offsets = h["shape"], h["data_offsets"]
    if not isinstance(h["dtype"], str) or (h["dtype"] not in DTYPES and h["dtype"] != BF16):
        return False
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and n >= 0 for n in numbers):
            return False
    if len(shape) > MOST_DIMENSIONS or len(offsets) != 2:
        return False
    width = 2 if h["dtype"] == BF16 else np.dtype(DTYPES[h["dtype"]]).itemsize
    sized = math.prod(n or 1 for n in shape) <= LARGEST_TENSOR and offsets[1] < 2**62
    return sized and bool(offsets[1] - offsets[0] == math.prod(shape) * width)


def _tensor(path: Name, file: IO[bytes], start: int, h: Mapping[str, Any]) -> Any:
    first, end = h["data_offsets"]
    file.seek(start + first)
    data = file.read(end - first)
    if len(data) != end - first:
        raise _damaged(path, "it is cut off")
    if h["dtype"] == BF16:
        return BFloat16(np.frombuffer(data, "<u2").astype(np.uint16).reshape(h["shape"]))
    if h["dtype"] == "BOOL" and any(data.translate(None, b"\0\1")):
        raise _damaged(path, "a truth value is neither 0 nor 1")
    dtype = np.dtype(DTYPES[h["dtype"]]).newbyteorder("<")
    return np.frombuffer(data, dtype).reshape(h["shape"]).astype(DTYPES[h["dtype"]])


# --- writing --------------------------------------------------------------------------------------


@contextmanager
def atomic_write(path: Name, mode: str = "wb") -> Iterator[IO[Any]]:
    """A file that appears under its name whole, when the block ends, or not at all.

    A link is followed; permissions are those of the old file, or of a new one. A device or a pipe
    (/dev/stdout, /dev/null) is written to as it is: it must not be replaced by a file.

    Raises:
        UserError: no such folder, no permission, no space; an old file is untouched.
    """
    target = _target(path)
    try:
        if target.exists() and not target.is_file():
            with _text_or_bytes(_made(path, lambda: os.open(target, os.O_WRONLY)), mode) as file:
                yield file
        else:
            with _replacing(path, target, mode) as file:
                yield file
    except OSError as error:
        if error.errno in _FULL:
            raise _unwritable(path, error) from error
        raise


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _target(path: Name) -> Path:
    """The file in the end, links followed; not a folder."""
    target = _made(path, lambda: Path(os.path.realpath(path)))
    if target.is_dir():
        raise UserError(f"{path} is a folder", expected="the name of a file to write")
    return target


@contextmanager
def _replacing(path: Name, target: Path, mode: str) -> Iterator[IO[Any]]:
    """A file beside the target that takes its place, or goes."""
    prefix = f".{target.name[:60]}."
    handle, name = _made(path, lambda: tempfile.mkstemp(prefix=prefix, dir=target.parent))
    temporary = Path(name)
    try:
        with _text_or_bytes(handle, mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_permissions(target))
        _made(path, lambda: temporary.replace(target))
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _text_or_bytes(handle: int, mode: str) -> IO[Any]:
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
    return os.fdopen(handle, mode, encoding=encoding, newline=newline)


def _made(path: Name, make: Callable[[], T]) -> T:
    """What `make` gives; that it cannot is said of `path`. Errors of the caller's own block, such
    as an unreadable input, do not come here."""
    try:
        return make()
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def _permissions(target: Path) -> int:
    if target.exists():
        return target.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def _unwritable(path: Name, error: OSError | ValueError) -> UserError:
    hints = {
        errno.ENOSPC: "free some space, or write to another disk",
        errno.ENOENT: f"make the folder first: mkdir -p {Path(path).parent}",
    }
    return UserError(
        f"{path} cannot be written",
        got=getattr(error, "strerror", None) or str(error),
        hint=hints.get(getattr(error, "errno", None) or 0, "") or "nothing was changed",
    )
