"""llama.cpp's own quantizer, where it is installed: it alone writes the K types.

Nothing of it is compiled here. Its shared library comes with the npm package node-llama-cpp, with
the Python package llama-cpp-python, or with the system.
"""

import ctypes
import importlib.util
import os
import platform
from collections.abc import Mapping
from ctypes.util import find_library
from pathlib import Path
from typing import Any

from aurora_release.errors import AuroraError
from aurora_release.node import LLAMA_CPP, node_folder

FILE_TYPES = {"Q6_K": 18, "Q5_K_M": 17, "Q4_K_M": 15}
"""llama.cpp's numbers of the types that it is needed for."""

_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
_RELEASE = "_nlcBuildMetadata.json"


class _Parameters(ctypes.Structure):
    """The start of `llama_model_quantize_params`, and room for what a version has behind it."""

    _fields_ = (
        ("threads", ctypes.c_int32),
        ("file_type", ctypes.c_int32),
        ("output_type", ctypes.c_int32),
        ("embedding_type", ctypes.c_int32),
        ("flags", ctypes.c_bool * 8),
        ("importance", ctypes.c_void_p),
        ("rest", ctypes.c_char * 256),
    )


class _Importance(ctypes.Structure):
    """`llama_model_imatrix_data`; an array of them ends with one of zeros."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("values", ctypes.POINTER(ctypes.c_float)),
        ("count", ctypes.c_size_t),
    )


def library(importance: bool = False) -> Path:
    """Return llama.cpp's shared library; with `importance`, one known to take it from memory.

    Raises:
        AuroraError: there is none; the message says how to get it.
    """
    for path in _libraries():
        if not importance or (path.parent / _RELEASE).is_file():
            return path
    raise AuroraError(
        "K types and importance are written by llama.cpp's own quantizer, which is not installed: "
        f"npm install --ignore-scripts --prefix {node_folder()} {LLAMA_CPP} brings it in "
        "seconds (AURORA_NODE names another folder). Or choose Q8_0, Q5_1, Q5_0, Q4_1 or Q4_0."
    )


def _libraries() -> list[Path]:
    system = {"Darwin": "mac"}.get(platform.system(), platform.system().lower())
    machine = _MACHINES.get(platform.machine().lower(), platform.machine())
    # the package brings the libraries of other machines too, and of GPUs
    npm = f"node_modules/@node-llama-cpp/{system}-{machine}*/bins/*/libllama.*"
    found = sorted(node_folder().absolute().glob(npm))
    package = importlib.util.find_spec("llama_cpp")
    if package and package.origin:
        found += sorted((Path(package.origin).parent / "lib").glob("libllama.*"))
    known = find_library("llama")
    return found + ([Path(known)] if known else [])


def requantize(
    source: Path, out: Path, type: str, importance: Mapping[str, Any] | None = None
) -> None:
    """Write the GGUF file `source` again as `out`, in one of `FILE_TYPES`.

    `importance` is {tensor name: float32 weight of each input}. The same file gives the same bytes
    with the same llama.cpp.

    Raises:
        AuroraError: llama.cpp is not there, or refuses.
    """
    llama = ctypes.CDLL(str(library(importance is not None)))
    llama.llama_model_quantize_default_params.restype = _Parameters
    llama.llama_model_quantize.argtypes = [
        ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(_Parameters),
    ]  # fmt: skip
    parameters = llama.llama_model_quantize_default_params()
    parameters.threads = len(os.sched_getaffinity(0))
    parameters.file_type = FILE_TYPES[type]
    held = _importance(importance or {})
    if importance:
        parameters.importance = ctypes.cast(held, ctypes.c_void_p)
    failed = llama.llama_model_quantize(bytes(source), bytes(out), ctypes.byref(parameters))
    if failed:
        raise AuroraError(f"llama.cpp could not write {source} as {type} (it answers {failed}).")


def _importance(values: Mapping[str, Any]) -> Any:
    """Return the values as llama.cpp takes them; they must stay alive while it works."""
    rows = [
        _Importance(
            name.encode(),
            (ctypes.c_float * len(weights))(*weights),
            len(weights),
        )
        for name, weights in values.items()
    ]
    return (_Importance * (len(rows) + 1))(*rows, _Importance(None, None, 0))
