"""What the array API standard 2024.12 says (https://data-apis.org/array-api/2024.12), as data: names and parameters by
section, the promotion of dtypes, and the special cases of elementwise functions of real numbers."""

from __future__ import annotations

# Names and parameters -------------------------------------------------------------------------------------------------

_UNARY = [
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "bitwise_invert",
    "ceil",
    "conj",
    "cos",
    "cosh",
    "exp",
    "expm1",
    "floor",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "log",
    "log1p",
    "log2",
    "log10",
    "logical_not",
    "negative",
    "positive",
    "real",
    "reciprocal",
    "round",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "square",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
]
_BINARY = [
    "add",
    "atan2",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "copysign",
    "divide",
    "equal",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "less",
    "less_equal",
    "logaddexp",
    "logical_and",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "nextafter",
    "not_equal",
    "pow",
    "remainder",
    "subtract",
]
_ONE_AXIS = "n=None, axis=-1, norm='backward'"
_AXES = "s=None, axes=None, norm='backward'"

FUNCTIONS: dict[str, list[str]] = {
    "creation": [
        "arange(start, /, stop=None, step=1, *, dtype=None, device=None)",
        "asarray(obj, /, *, dtype=None, device=None, copy=None)",
        "empty(shape, *, dtype=None, device=None)",
        "empty_like(x, /, *, dtype=None, device=None)",
        "eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None)",
        "from_dlpack(x, /, *, device=None, copy=None)",
        "full(shape, fill_value, *, dtype=None, device=None)",
        "full_like(x, /, fill_value, *, dtype=None, device=None)",
        "linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True)",
        "meshgrid(*arrays, indexing='xy')",
        "ones(shape, *, dtype=None, device=None)",
        "ones_like(x, /, *, dtype=None, device=None)",
        "tril(x, /, *, k=0)",
        "triu(x, /, *, k=0)",
        "zeros(shape, *, dtype=None, device=None)",
        "zeros_like(x, /, *, dtype=None, device=None)",
    ],
    "data type": [
        "astype(x, dtype, /, *, copy=True, device=None)",
        "can_cast(from_, to, /)",
        "finfo(type, /)",
        "iinfo(type, /)",
        "isdtype(dtype, kind)",
        "result_type(*arrays_and_dtypes)",
    ],
    "elementwise": [
        *(f"{name}(x, /)" for name in _UNARY),
        *(f"{name}(x1, x2, /)" for name in _BINARY),
        "clip(x, /, min=None, max=None)",
    ],
    "indexing": ["take(x, indices, /, *, axis=None)", "take_along_axis(x, indices, /, *, axis=-1)"],
    "linear algebra": [
        "matmul(x1, x2, /)",
        "matrix_transpose(x, /)",
        "tensordot(x1, x2, /, *, axes=2)",
        "vecdot(x1, x2, /, *, axis=-1)",
    ],
    "manipulation": [
        "broadcast_arrays(*arrays)",
        "broadcast_to(x, /, shape)",
        "concat(arrays, /, *, axis=0)",
        "expand_dims(x, /, axis)",
        "flip(x, /, *, axis=None)",
        "moveaxis(x, source, destination, /)",
        "permute_dims(x, /, axes)",
        "repeat(x, repeats, /, *, axis=None)",
        "reshape(x, /, shape, *, copy=None)",
        "roll(x, /, shift, *, axis=None)",
        "squeeze(x, /, axis)",
        "stack(arrays, /, *, axis=0)",
        "tile(x, repetitions, /)",
        "unstack(x, /, *, axis=0)",
    ],
    "searching": [
        "argmax(x, /, *, axis=None, keepdims=False)",
        "argmin(x, /, *, axis=None, keepdims=False)",
        "count_nonzero(x, /, *, axis=None, keepdims=False)",
        "nonzero(x, /)",
        "searchsorted(x1, x2, /, *, side='left', sorter=None)",
        "where(condition, x1, x2, /)",
    ],
    "set": ["unique_all(x, /)", "unique_counts(x, /)", "unique_inverse(x, /)", "unique_values(x, /)"],
    "sorting": [
        "argsort(x, /, *, axis=-1, descending=False, stable=True)",
        "sort(x, /, *, axis=-1, descending=False, stable=True)",
    ],
    "statistical": [
        "cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False)",
        "cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False)",
        "max(x, /, *, axis=None, keepdims=False)",
        "mean(x, /, *, axis=None, keepdims=False)",
        "min(x, /, *, axis=None, keepdims=False)",
        "prod(x, /, *, axis=None, dtype=None, keepdims=False)",
        "std(x, /, *, axis=None, correction=0.0, keepdims=False)",
        "sum(x, /, *, axis=None, dtype=None, keepdims=False)",
        "var(x, /, *, axis=None, correction=0.0, keepdims=False)",
    ],
    "utility": [
        "all(x, /, *, axis=None, keepdims=False)",
        "any(x, /, *, axis=None, keepdims=False)",
        "diff(x, /, *, axis=-1, n=1, prepend=None, append=None)",
    ],
    "linalg": [
        "cholesky(x, /, *, upper=False)",
        "cross(x1, x2, /, *, axis=-1)",
        "det(x, /)",
        "diagonal(x, /, *, offset=0)",
        "eigh(x, /)",
        "eigvalsh(x, /)",
        "inv(x, /)",
        "matmul(x1, x2, /)",
        "matrix_norm(x, /, *, keepdims=False, ord='fro')",
        "matrix_power(x, n, /)",
        "matrix_rank(x, /, *, rtol=None)",
        "matrix_transpose(x, /)",
        "outer(x1, x2, /)",
        "pinv(x, /, *, rtol=None)",
        "qr(x, /, *, mode='reduced')",
        "slogdet(x, /)",
        "solve(x1, x2, /)",
        "svd(x, /, *, full_matrices=True)",
        "svdvals(x, /)",
        "tensordot(x1, x2, /, *, axes=2)",
        "trace(x, /, *, offset=0, dtype=None)",
        "vecdot(x1, x2, /, *, axis=-1)",
        "vector_norm(x, /, *, axis=None, keepdims=False, ord=2)",
    ],
    "fft": [
        *(f"{name}(x, /, *, {_ONE_AXIS})" for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")),
        *(f"{name}(x, /, *, {_AXES})" for name in ("fftn", "ifftn", "rfftn", "irfftn")),
        "fftfreq(n, /, *, d=1.0, dtype=None, device=None)",
        "rfftfreq(n, /, *, d=1.0, dtype=None, device=None)",
        "fftshift(x, /, *, axes=None)",
        "ifftshift(x, /, *, axes=None)",
    ],
}
CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")
DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
)

_OPERATORS = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]
ATTRIBUTES = ("dtype", "device", "mT", "ndim", "shape", "size", "T")
METHODS = (
    *(f"__{name}__" for name in _OPERATORS),
    *(f"__r{name}__" for name in _OPERATORS),
    *(f"__{name}__" for name in ("abs", "neg", "pos", "invert", "eq", "ne", "lt", "le", "gt", "ge")),
    *("__array_namespace__", "__bool__", "__complex__", "__dlpack__", "__dlpack_device__", "__float__", "__getitem__"),
    *("__index__", "__int__", "__setitem__", "to_device"),
)

# Promotion ------------------------------------------------------------------------------------------------------------

#: Of each kind in order of width: two of a kind give the wider.
CHAINS = (
    ("int8", "int16", "int32", "int64"),
    ("uint8", "uint16", "uint32", "uint64"),
    ("float32", "float64"),
    ("complex64", "complex128"),
)
#: Across kinds, where the standard says it.
MIXED = {
    **{(f"uint{u}", f"int{i}"): f"int{max(i, 2 * u)}" for u in (8, 16, 32) for i in (8, 16, 32, 64)},
    ("float32", "complex64"): "complex64",
    ("float32", "complex128"): "complex128",
    ("float64", "complex64"): "complex128",
    ("float64", "complex128"): "complex128",
    ("bool", "bool"): "bool",
}


def promotions() -> dict[tuple[str, str], str]:
    """Every pair of dtypes that the standard promotes, and to what."""
    found = dict(MIXED)
    for chain in CHAINS:
        for i, narrow in enumerate(chain):
            for wide in chain[i:]:
                found[narrow, wide] = wide
    return found | {(b, a): wide for (a, b), wide in found.items()}


# Special cases --------------------------------------------------------------------------------------------------------

#: The standard's words for operands, as examples.
WORDS = {
    "any": ("nan", "inf", "-inf", "0.0", "-0.0", "1.0", "-1.0", "2.5"),
    "number": ("inf", "-inf", "0.0", "-0.0", "1.0", "-1.0", "2.5"),
    "positive": ("0.5", "1.0", "3.0"),
    "negative": ("-0.5", "-1.0", "-3.0"),
    "finite": ("0.5", "3.0", "-0.5", "-3.0"),
    "zero": ("0.0", "-0.0"),
    "infinity": ("inf", "-inf"),
    "large": ("2.0", "-2.5"),
    "small": ("0.5", "-0.25"),
    "odd": ("1.0", "3.0"),
    "negative odd": ("-1.0", "-3.0"),
    "even": ("2.0", "2.5"),
    "negative even": ("-2.0", "-2.5"),
    "fraction": ("0.5", "-2.5"),
}

#: ``function | operand | operand | result``: words of WORDS or numbers; the result may speak of x1 and x2.
SPECIAL = """
abs | nan | nan
abs | -0.0 | 0.0
abs | -inf | inf
acos | nan | nan
acos | large | nan
acos | 1.0 | 0.0
acosh | nan | nan
acosh | small | nan
acosh | 1.0 | 0.0
acosh | inf | inf
asin | large | nan
asin | zero | x1
asinh | zero | x1
asinh | infinity | x1
atan | zero | x1
atan | inf | pi/2
atan | -inf | -pi/2
atanh | large | nan
atanh | -1.0 | -inf
atanh | 1.0 | inf
atanh | zero | x1
ceil | infinity | x1
ceil | zero | x1
ceil | -0.5 | -0.0
cos | zero | 1.0
cos | infinity | nan
cosh | zero | 1.0
cosh | infinity | inf
exp | zero | 1.0
exp | inf | inf
exp | -inf | 0.0
expm1 | zero | x1
expm1 | inf | inf
expm1 | -inf | -1.0
floor | infinity | x1
floor | zero | x1
log | negative | nan
log | zero | -inf
log | 1.0 | 0.0
log | inf | inf
log1p | -2.5 | nan
log1p | -1.0 | -inf
log1p | zero | x1
log1p | inf | inf
log2 | negative | nan
log2 | zero | -inf
log2 | 1.0 | 0.0
log10 | zero | -inf
log10 | inf | inf
reciprocal | inf | 0.0
reciprocal | -inf | -0.0
reciprocal | 0.0 | inf
reciprocal | -0.0 | -inf
round | infinity | x1
round | zero | x1
round | 0.5 | 0.0
round | 2.5 | 2.0
round | -0.5 | -0.0
sign | negative | -1.0
sign | positive | 1.0
sign | nan | nan
signbit | -0.0 | 1
signbit | 0.0 | 0
signbit | infinity | x1 < 0
sin | zero | x1
sin | infinity | nan
sinh | zero | x1
sinh | infinity | x1
sqrt | negative | nan
sqrt | zero | x1
sqrt | inf | inf
tan | zero | x1
tan | infinity | nan
tanh | zero | x1
tanh | inf | 1.0
tanh | -inf | -1.0
trunc | infinity | x1
trunc | zero | x1
trunc | 0.5 | 0.0
trunc | -0.5 | -0.0
isfinite | infinity | 0
isfinite | nan | 0
isfinite | finite | 1
isinf | infinity | 1
isinf | nan | 0
isnan | nan | 1
isnan | number | 0
add | nan | any | nan
add | inf | -inf | nan
add | infinity | finite | x1
add | -0.0 | -0.0 | -0.0
add | -0.0 | 0.0 | 0.0
add | 0.0 | -0.0 | 0.0
subtract | -0.0 | 0.0 | -0.0
subtract | inf | inf | nan
multiply | infinity | zero | nan
multiply | inf | negative | -inf
multiply | -0.0 | positive | -0.0
divide | infinity | infinity | nan
divide | zero | zero | nan
divide | positive | 0.0 | inf
divide | positive | -0.0 | -inf
divide | negative | 0.0 | -inf
divide | 0.0 | negative | -0.0
divide | positive | -inf | -0.0
atan2 | nan | any | nan
atan2 | any | nan | nan
atan2 | positive | zero | pi/2
atan2 | 0.0 | positive | 0.0
atan2 | 0.0 | 0.0 | 0.0
atan2 | 0.0 | -0.0 | pi
atan2 | 0.0 | negative | pi
atan2 | -0.0 | positive | -0.0
atan2 | -0.0 | 0.0 | -0.0
atan2 | -0.0 | -0.0 | -pi
atan2 | -0.0 | negative | -pi
atan2 | negative | zero | -pi/2
atan2 | positive | inf | 0.0
atan2 | positive | -inf | pi
atan2 | negative | inf | -0.0
atan2 | negative | -inf | -pi
atan2 | inf | finite | pi/2
atan2 | -inf | finite | -pi/2
atan2 | inf | inf | pi/4
atan2 | inf | -inf | 3*pi/4
atan2 | -inf | inf | -pi/4
atan2 | -inf | -inf | -3*pi/4
copysign | any | 0.0 | abs(x1)
copysign | number | -0.0 | -abs(x1)
hypot | infinity | any | inf
hypot | any | infinity | inf
hypot | finite | nan | nan
logaddexp | nan | any | nan
logaddexp | inf | number | inf
logaddexp | -inf | finite | x2
maximum | nan | any | nan
maximum | any | nan | nan
minimum | nan | any | nan
minimum | any | nan | nan
nextafter | 0.0 | 0.0 | 0.0
nextafter | 0.0 | -0.0 | -0.0
nextafter | nan | any | nan
nextafter | any | nan | nan
pow | 1.0 | any | 1.0
pow | any | zero | 1.0
pow | nan | finite | nan
pow | large | inf | inf
pow | large | -inf | 0.0
pow | -1.0 | infinity | 1.0
pow | small | inf | 0.0
pow | small | -inf | inf
pow | inf | positive | inf
pow | inf | negative | 0.0
pow | -inf | odd | -inf
pow | -inf | even | inf
pow | -inf | negative odd | -0.0
pow | -inf | negative even | 0.0
pow | 0.0 | positive | 0.0
pow | 0.0 | negative | inf
pow | -0.0 | odd | -0.0
pow | -0.0 | even | 0.0
pow | -0.0 | negative odd | -inf
pow | -0.0 | negative even | inf
pow | negative | fraction | nan
floor_divide | nan | any | nan
floor_divide | infinity | infinity | nan
floor_divide | zero | zero | nan
floor_divide | 0.0 | positive | 0.0
floor_divide | -0.0 | positive | -0.0
floor_divide | 0.0 | negative | -0.0
floor_divide | -0.0 | negative | 0.0
floor_divide | positive | 0.0 | inf
floor_divide | negative | 0.0 | -inf
floor_divide | positive | inf | 0.0
floor_divide | negative | -inf | 0.0
remainder | nan | any | nan
remainder | any | nan | nan
remainder | infinity | any | nan
remainder | zero | zero | nan
remainder | finite | zero | nan
remainder | 0.0 | positive | 0.0
remainder | -0.0 | positive | 0.0
remainder | 0.0 | negative | -0.0
remainder | -0.0 | negative | -0.0
remainder | positive | inf | x1
remainder | positive | -inf | -inf
remainder | negative | inf | inf
remainder | negative | -inf | x1
equal | nan | any | 0
equal | 0.0 | -0.0 | 1
not_equal | nan | any | 1
less | nan | any | 0
less | -0.0 | 0.0 | 0
less_equal | any | nan | 0
greater | inf | finite | 1
greater_equal | -inf | -inf | 1
logical_and | nan | finite | 1
logical_or | zero | zero | 0
logical_xor | nan | zero | 1
"""

#: Where NumPy 2 deviates from the standard, funcgrad.numpy follows NumPy: the case, NumPy's result, and why.
NUMPYS = """
floor_divide | inf | positive | nan | Python's and NumPy's floor of a quotient whose remainder is NaN; the standard says inf
floor_divide | -inf | positive | nan | the same
floor_divide | positive | -inf | -1.0 | Python's rule, the quotient that fits the remainder; the standard says -0
floor_divide | negative | inf | -1.0 | the same
"""
