"""The hand-written kernels: a .cu file a family, and the list of the instances that are compiled and tested.

``TEXTS`` holds the files by name, ``INSTANCES`` the kernels of each family with their template arguments, as a module is
asked for them. How a kernel is launched is in :mod:`.launches`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path

import numpy as np

__all__ = ["FOLDER", "INSTANCES", "c_type", "headers", "texts_of"]

FOLDER = Path(__file__).parent

_C_TYPES = {
    "bool": "bool", "int8": "signed char", "uint8": "unsigned char", "int16": "short", "uint16": "unsigned short",
    "int32": "int", "uint32": "unsigned", "int64": "long long", "uint64": "unsigned long long",
    "float16": "__half", "bfloat16": "__nv_bfloat16", "float32": "float", "float64": "double",
}  # fmt: skip


def c_type(dtype: object) -> str:
    """The C++ type of a dtype: "float" of float32, "__nv_bfloat16" of ml_dtypes' bfloat16. Raises TypeError for others."""
    name = np.dtype(dtype).name  # type: ignore[call-overload]
    if name not in _C_TYPES:
        raise TypeError(f"the CUDA kernels have no {name}; they have {', '.join(_C_TYPES)}")
    return _C_TYPES[name]


def headers() -> dict[str, str]:
    """The text of every file that kernels may include, by name."""
    return {path.name: path.read_text() for path in sorted(FOLDER.glob("*.cuh"))}


def texts_of(family: str) -> dict[str, str]:
    """The text of a family's file and of those that it may include, by name."""
    return {f"{family}.cu": (FOLDER / f"{family}.cu").read_text(), **headers()}


_FLOATS = ("float", "double", "__half", "__nv_bfloat16")
_HALVES = ("__half", "__nv_bfloat16")
_INTEGERS = ("int", "long long")
_BITS = ("unsigned char", "unsigned short", "unsigned", "unsigned long long")


def _names(kernels: str, *arguments: Iterable[str]) -> list[str]:
    return [f"{kernel}<{', '.join(given)}>" for kernel, given in product(kernels.split(), product(*arguments))]


_OPERATIONS = ("Sum", "Product", "Max", "Min")
_REDUCED = [(t, out, op) for t in _FLOATS for out in {t, "double" if t == "double" else "float"} for op in _OPERATIONS]
# The results of parts, in the type of computation, become half precision in the end.
_REDUCED += [("float", t, op) for t in _HALVES for op in _OPERATIONS]
#: Sums and products of integers wrap, which they do only in unsigned types.
_WHOLE = [*product(("unsigned", "unsigned long long"), _OPERATIONS), *product(_INTEGERS, ("Max", "Min"))]
_REDUCED += [(t, t, op) for t, op in _WHOLE]
#: An element and the unsigned integers of its size.
_RANKED = [
    *zip(_BITS, _BITS),
    *zip(("signed char", "short", *_INTEGERS), _BITS),
    *zip(("__half", "__nv_bfloat16", "float", "double"), ("unsigned short", *_BITS[1:])),
]
_BOTH = ("false", "true")

INSTANCES: dict[str, list[str]] = {
    # A copy moves bits: its instances are sizes.
    "elementwise": [
        *_names("cast", (*_FLOATS, *_INTEGERS, "bool"), (*_FLOATS, *_INTEGERS)),
        *_names("copy fill strided_copy transpose", _BITS),
        *_names("copy_window", _BITS, _BOTH),
    ],
    "reduction": [
        *sorted(f"{kernel}<{', '.join(given)}>" for kernel in ("reduce_rows", "reduce_columns") for given in _REDUCED),
        *_names("arg_extremum", (*_FLOATS, *_INTEGERS, "unsigned", "unsigned long long"), _BOTH),
        *(f"cumulative<{t}, {op}>" for t, op in (*product(_FLOATS, _OPERATIONS), *_WHOLE)),
    ],
    "sort": [f"sort_rows<{t}, {u}>" for t, u in _RANKED],
    "softmax": _names("softmax log_softmax softmax_transposed log_softmax_transposed cross_entropy", _FLOATS),
    "norm": _names("normalise normalise_transposed normalise_parameters", _FLOATS, _BOTH),
    "batch_norm": _names(
        "batch_moments batch_statistics batch_normalise batch_parameters batch_normalise_transposed", _FLOATS
    ),
    "random": [
        *_names("random_bits", _BITS),
        *_names("random_uniform random_bernoulli random_normal", ("__half", "float", "double")),
        *_names("dropout", _FLOATS),
    ],
    "optimizer": [*_names("adam", _FLOATS), *_names("sgd", _FLOATS, _BOTH)],
    "indexing": [*_names("gather_rows segment_sum", _FLOATS), "segment_starts<long long>"],
    "scatter": [
        "flat_places<long long>",
        *_names("in_order begin_runs merge_runs", ("long long",)),
        *_names("gather_elements", _BITS),
        *_names(
            "scatter_segments",
            (*_FLOATS, *_INTEGERS, "unsigned", "unsigned long long"),
            ("Sum", "Product", "Min", "Max"),
        ),
        *_names("scatter_segments", _BITS, ("Last",)),
    ],
    "pooling": [*_names("max_pool mean_pool", _FLOATS), *_names("pool_transposed", _FLOATS, _BOTH)],
    "matmul": _names("matmul", _FLOATS, _BOTH, _BOTH),
    "tensor_matmul": _names("tensor_matmul", _HALVES),
    "attention": _names(
        "attention attention_delta attention_queries_transposed attention_keys_transposed",
        (*_HALVES, "float"),
        ("32", "64", "128"),
    ),
    "convolution": [
        *_names("convolution convolution_direct", _FLOATS, _BOTH),
        *_names("convolution", ("float",), _BOTH, ("Tf32",)),
        *_names("sum_parts", _FLOATS),
    ],
    "recurrent": [
        *_names("lstm_cell lstm_cell_transposed", _FLOATS),
        *_names("recurrence recurrence_transposed", _FLOATS, ("Tanh", "Relu", "Lstm")),
    ],
}
