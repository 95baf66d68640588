"""Loading of ONNX models, with tensors from external files put inside."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import onnx
from onnx import external_data_helper, inliner, numpy_helper

from harden.certificate.untrusted.onnx_limits import check_runnable_model
from harden.certificate.untrusted.protobuf_messages import check_messages
from harden.errors import InputError
from harden.graph.reading.known_values import Array
from harden.system.atomic_files import check_regular, read_bytes, refuse_pointer
from harden.system.size_limits import MODEL_BYTES

_WIDEST: Final = 16
"""Bytes of the widest number, complex128."""
_DIGITS: Final = 18
_SHARED: Final = 4
"""Times that the data of a file may be used, by tensors that share them."""


def load_model(model: str | Path | bytes | onnx.ModelProto) -> onnx.ModelProto:
    """The model, external data read and functions copied in.

    Raises:
        InputError: it can't be read, is no ONNX model, names files outside its own folder, or is one that no
            runtime should be given.
    """
    if isinstance(model, onnx.ModelProto):
        found, folder = model, None
    else:
        content, folder = (model, None) if isinstance(model, bytes) else _content(Path(model))
        found = _parsed(content)
    found = _with_data(found, folder)
    check_runnable_model(found)
    return inliner.inline_local_functions(found) if found.functions else found


def numbers(tensor: onnx.TensorProto) -> Array:
    """A tensor of the file as an array.

    Raises:
        InputError: its bytes are not as many as its shape says, or of no known type.
    """
    try:
        found: Array = numpy_helper.to_array(tensor)
        if found.shape != tuple(tensor.dims):
            raise ValueError(f"shape {list(tensor.dims)}")
    except Exception as error:  # what the helper raises depends on what is wrong
        raise InputError(
            one_line(f"the tensor {tensor.name[:80]!r} that can't be read ({str(error)[:120]})"),
            "as many numbers as its shape says",
            "export the model again",
        ) from error
    return found


def one_line(text: str) -> str:
    """A stranger's words as they can be printed: names in a file may hold line breaks and worse."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _content(path: Path) -> tuple[bytes, Path]:
    try:
        content = read_bytes(path, MODEL_BYTES)
        refuse_pointer(content, path)
        return content, path.parent
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            one_line(f"{path} cannot be read ({reason})"), "an ONNX model", "point to an existing file"
        ) from error


def _parsed(content: bytes) -> onnx.ModelProto:
    check_messages(content)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's exceptions differ between its versions
        raise InputError(
            f"a file that does not parse ({' '.join(str(error).split())})",
            "an ONNX model",
            "export it again",
        ) from error
    if not model.graph.node and not model.graph.output:
        raise InputError("a file without a graph", "an ONNX model", "export it again")
    return model


def _with_data(model: onnx.ModelProto, folder: Path | None) -> onnx.ModelProto:
    """The model with the tensors that lie in other files of its folder."""
    outside = [
        tensor for tensor in model.graph.initializer if external_data_helper.uses_external_data(tensor)
    ]
    if not outside:
        return model
    if folder is None:
        raise InputError(
            f"the tensor {outside[0].name[:80]!r} in another file",
            "a model whose tensors can be found",
            "pass the path of the file instead of its content",
        )
    paths = [_place_of(tensor, folder) for tensor in outside]
    _check_extent(outside, paths)
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    away = (one for one in copied.graph.initializer if external_data_helper.uses_external_data(one))
    for tensor, path in zip(away, paths, strict=True):
        _read(tensor, path, folder)
    return copied


def _check_extent(tensors: list[onnx.TensorProto], paths: list[Path]) -> None:
    """Refuse tensors that together hold more than their files: a small model may name one file many times."""
    wanted = sum(math.prod(max(size, 0) for size in tensor.dims) for tensor in tensors)
    MODEL_BYTES.check("a model with tensors in other files", wanted)
    if not all(path.is_file() for path in paths):
        return  # reading it says why
    held = sum(path.stat().st_size for path in {*paths})
    for tensor, path in zip(tensors, paths, strict=True):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        taken = entries.get("length") or str(path.stat().st_size)  # without one all is read
        most = _WIDEST * math.prod(tensor.dims)
        if not taken.isdecimal() or len(taken) > _DIGITS or int(taken) > most:
            raise InputError(
                f"the tensor {tensor.name[:80]!r} with {taken[:20]} bytes of {path.name!r}",
                f"at most {most:,}, as its shape {list(tensor.dims)[:8]} says",
                "save the model again",
            )
    if wanted > _SHARED * held:
        raise InputError(
            f"{len(tensors)} tensors of more than {wanted:,} bytes in files of {held:,}",
            "their data in those files",
            "copy the files next to the model, whole",
        )


def _place_of(tensor: onnx.TensorProto, folder: Path) -> Path:
    place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    path = folder / place
    # A stranger's file may name any other: /etc/passwd, or a link to it.
    outside = folder.resolve() not in path.resolve().parents
    special = path.exists() and not path.is_file()  # a pipe would hold the process at open
    if not place or outside or special or ".." in Path(place).parts or path.is_symlink():
        raise InputError(
            f"the tensor {tensor.name[:80]!r} in {place!r}",
            "a plain file in the model's own folder",
            "save the model again with its data next to it",
        )
    return path


def _read(tensor: onnx.TensorProto, path: Path, folder: Path) -> None:
    try:
        check_regular(path)
        external_data_helper.load_external_data_for_tensor(tensor, str(folder))
    except Exception as error:  # a missing or short file raises what the helper's release likes
        raise InputError(
            f"the tensor {tensor.name[:80]!r} in {path.name!r} ({' '.join(str(error).split())[:200]})",
            "its data in that file",
            "copy the file next to the model",
        ) from error
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
