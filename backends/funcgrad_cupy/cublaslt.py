"""Products of matrices by cuBLASLt, called by ctypes: what is prepared once for shapes and a dtype, and started with addresses.

CuPy's own products convert stacks of float16, refuse stacks of bfloat16, copy transposed operands, and cannot be part of a
CUDA graph. The library stores matrices by columns, and a matrix by rows is the transpose of the same memory by columns;
so C = A B is asked for as Cᵀ = Bᵀ Aᵀ, and no element moves. Sums of half precision and of float32 are in float32, never in
TF32; those of float64 in float64. Functions and constants are those of ``cublasLt.h`` of CUDA 12 and 13.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, NamedTuple

import numpy as np

__all__ = ["CublasLt", "Prepared", "Product", "load"]

#: The most memory that an algorithm may work in, as NVIDIA recommends for sm_90.
WORKSPACE = 32 << 20

_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # cudaDataType_t
_COMPUTE_32F, _COMPUTE_64F = 68, 70
_TRANSPOSE_A, _TRANSPOSE_B, _BATCH_COUNT, _BATCH_OFFSET = 3, 4, 5, 6
_MAX_WORKSPACE, _ALIGNMENTS = 1, (5, 6, 7, 8)


class Product(NamedTuple):
    """What is to be multiplied: a stack of (m, k) by one of (k, n). A transposed operand is stored as (k, m) or (n, k).

    ``alignment``: a power of two that divides all addresses.
    """

    dtype: str
    batch: int
    m: int
    n: int
    k: int
    x_transposed: bool
    y_transposed: bool
    alignment: int


class _Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t, whose first field is the algorithm."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8), ("workspace", ctypes.c_size_t), ("state", ctypes.c_int),
        ("waves", ctypes.c_float), ("reserved", ctypes.c_int * 4),
    )  # fmt: skip


class Prepared(NamedTuple):
    """A product that can be started; ``workspace`` bytes are its to write into."""

    description: ctypes.c_void_p
    left: ctypes.c_void_p
    right: ctypes.c_void_p
    result: ctypes.c_void_p
    one: Any
    zero: Any
    found: _Heuristic
    workspace: int


@cache
def load() -> Any:
    """The library that CuPy's wheels bring, or that of a toolkit. Raises RuntimeError if there is none."""
    from cuda.pathfinder import load_nvidia_dynamic_lib  # type: ignore[import-not-found, unused-ignore]

    return ctypes.CDLL(load_nvidia_dynamic_lib("cublasLt").abs_path)


class CublasLt:
    """A handle of the library; what it has prepared is kept, so that heuristics are asked once for a product."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._handle = self._made("cublasLtCreate")
        self._prepared: dict[Product, Prepared] = {}

    def _call(self, name: str, *args: Any) -> None:
        status = getattr(self._library, name)(*args)
        if status:
            raise RuntimeError(f"{name} failed with the status {status} of cuBLAS")

    def _made(self, name: str, *args: Any) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        self._call(name, ctypes.byref(made), *args)
        return made

    def _set(self, kind: str, of: ctypes.c_void_p, attribute: int, value: Any) -> None:
        size = ctypes.c_size_t(ctypes.sizeof(value))
        self._call(f"cublasLt{kind}SetAttribute", of, ctypes.c_int(attribute), ctypes.byref(value), size)

    def _layout(self, product: Product, rows: int, columns: int) -> ctypes.c_void_p:
        """Matrices of so many rows, stored by rows: by columns for the library."""
        sizes = ctypes.c_uint64(columns), ctypes.c_uint64(rows), ctypes.c_int64(columns)
        layout = self._made("cublasLtMatrixLayoutCreate", ctypes.c_int(_TYPES[product.dtype]), *sizes)
        if product.batch != 1:
            self._set("MatrixLayout", layout, _BATCH_COUNT, ctypes.c_int32(product.batch))
            self._set("MatrixLayout", layout, _BATCH_OFFSET, ctypes.c_int64(rows * columns))
        return layout

    def prepare(self, product: Product) -> Prepared:
        """The best algorithm for a product, by the library's heuristics."""
        if product not in self._prepared:
            self._prepared[product] = self._prepare(product)
        return self._prepared[product]

    def _prepare(self, product: Product) -> Prepared:
        _, _, m, n, k, x_transposed, y_transposed, alignment = product
        double = product.dtype == "float64"
        compute, scale = (_COMPUTE_64F, "float64") if double else (_COMPUTE_32F, "float32")
        description = self._made("cublasLtMatmulDescCreate", ctypes.c_int(compute), ctypes.c_int(_TYPES[scale]))
        # The library's left operand is y.
        for attribute, transposed in ((_TRANSPOSE_A, y_transposed), (_TRANSPOSE_B, x_transposed)):
            self._set("MatmulDesc", description, attribute, ctypes.c_int32(transposed))
        left = self._layout(product, *((n, k) if y_transposed else (k, n)))
        right = self._layout(product, *((k, m) if x_transposed else (m, k)))
        result = self._layout(product, m, n)
        preference = self._made("cublasLtMatmulPreferenceCreate")
        self._set("MatmulPreference", preference, _MAX_WORKSPACE, ctypes.c_uint64(WORKSPACE))
        for attribute in _ALIGNMENTS:
            self._set("MatmulPreference", preference, attribute, ctypes.c_uint32(alignment))
        found, count = _Heuristic(), ctypes.c_int()
        self._call(
            "cublasLtMatmulAlgoGetHeuristic", self._handle, description, left, right, result, result, preference,
            ctypes.c_int(1), ctypes.byref(found), ctypes.byref(count),
        )  # fmt: skip
        self._call("cublasLtMatmulPreferenceDestroy", preference)
        if not count.value:
            raise RuntimeError(f"cuBLAS has no algorithm for {product}")
        one, zero = (
            (ctypes.c_double if double else ctypes.c_float)(1),
            (ctypes.c_double if double else ctypes.c_float)(0),
        )
        return Prepared(description, left, right, result, one, zero, found, int(found.workspace))

    def start(self, prepared: Prepared, parameters: int, stream: int) -> None:
        """Multiply on a stream; at ``parameters`` is a table of where the addresses of x, y, the result and the workspace are."""
        places = (ctypes.c_void_p * 4).from_address(parameters)
        x, y, out, workspace = (ctypes.c_void_p.from_address(place) for place in places)
        self._call(
            "cublasLtMatmul", self._handle, prepared.description, ctypes.byref(prepared.one), y, prepared.left,
            x, prepared.right, ctypes.byref(prepared.zero), out, prepared.result, out, prepared.result,
            ctypes.byref(prepared.found), workspace, ctypes.c_size_t(prepared.workspace), ctypes.c_void_p(stream),
        )  # fmt: skip


def product_of(x: Any, y: Any, x_transposed: bool, y_transposed: bool, alignment: int) -> Product:
    """The product of two matrices or two stacks of them."""
    (*_, m, k), n = _turned(x.shape, x_transposed), _turned(y.shape, y_transposed)[-1]
    batch = x.shape[0] if x.ndim == 3 else 1
    return Product(np.dtype(x.dtype).name, batch, m, n, k, x_transposed, y_transposed, alignment)


def _turned(shape: tuple[int, ...], transposed: bool) -> tuple[int, ...]:
    return (*shape[:-2], shape[-1], shape[-2]) if transposed else shape
