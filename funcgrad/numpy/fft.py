"""``funcgrad.numpy.fft``: the discrete Fourier transform, with NumPy's names, arguments, dtypes and errors.

    y_k = f sum_j x_j exp(-+ 2 pi i jk / n)

``n`` cuts the axis or fills it with zeros before the transform. ``norm`` says which direction has the factor f: by
default, and for ``"backward"``, the inverse has 1/n; for ``"forward"`` the other one; for ``"ortho"`` both have
1/sqrt(n). Transforms of several axes are transforms of one after the other. All are linear in the array; a derivative
is again a transform. Single precision stays single (float32 and complex64 give complex64).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import primitives as p
from ..core.errors import OperandTypeError
from ..core.types import is_array_like
from ._promote import asarray, check_device, convert_to, eager, normalize_axis, operand, refuse_out
from ._shape import roll

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

_SWAPPED = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


# One axis -------------------------------------------------------------------------------------------------------------


def _swapped(norm: Any) -> str:
    """The ``norm`` of the other direction."""
    if norm not in _SWAPPED:
        raise ValueError(f'Invalid norm value {norm}; should be "backward", "ortho" or "forward".')
    return _SWAPPED[norm]


def _transform(kind: str, a: Any, n: Any, axis: Any, norm: Any) -> Any:
    """The transform of an array along one axis: cut or filled to its length, transformed, and scaled."""
    a = asarray(operand(kind, a, "the array"))
    axis = normalize_axis(axis, a.ndim)
    if n is None:
        n = 2 * (a.shape[axis] - 1) if kind == "irfft" else a.shape[axis]
    if n < 1:
        raise ValueError(f"Invalid number of FFT data points ({n}) specified.")
    norm = _swapped(_swapped(norm))
    if kind in ("ifft", "irfft"):
        norm = _swapped(norm)
    real_dtype = np.result_type(_real(a.dtype), 1.0)
    wide = np.result_type(real_dtype, np.float32)
    if kind == "rfft":
        if a.dtype.kind == "c":
            raise OperandTypeError(f"rfft takes an array of real dtype, not {a.dtype}; use fft")
        x = convert_to(a, wide)
    else:
        x = convert_to(a, np.result_type(wide, np.complex64))
    x = _resized(x, n // 2 + 1 if kind == "irfft" else n, axis)
    y = p.fft_(x, kind=kind, n=n, axis=axis)
    if norm != "backward":
        # In half precision NumPy rounds the factor too.
        factor = np.reciprocal(n if norm == "forward" else np.sqrt(n, dtype=real_dtype), dtype=real_dtype)
        y = p.mul(y, y.dtype.type(factor))
    return convert_to(y, real_dtype) if kind == "irfft" else y


def _real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def _resized(x: Any, n: int, axis: int) -> Any:
    """``x`` cut, or filled with zeros, to the length ``n`` along an axis."""
    change = n - x.shape[axis]
    if not change:
        return x
    return p.pad(x, x.dtype.type(0), config=tuple((0, change if i == axis else 0, 0) for i in range(x.ndim)))


@eager(np.fft.fft)
def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> Any:
    """As :func:`numpy.fft.fft`: complex of the shape of ``a``, with ``n`` along ``axis``.

    Raises ValueError for n < 1 and for another ``norm``, AxisError for an axis that is none.

    >>> import numpy as np, funcgrad as fg
    >>> import funcgrad.numpy as fnp
    >>> power = lambda x: fnp.sum(fnp.abs(fnp.fft.fft(x)) ** 2)
    >>> fg.grad(power)(np.array([1.0, 2.0, 3.0, 4.0]))
    array([ 8., 16., 24., 32.])
    """
    refuse_out("fft", out)
    return _transform("fft", a, n, axis, norm)


@eager(np.fft.ifft)
def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> Any:
    """As :func:`numpy.fft.ifft`: the inverse of :func:`fft`."""
    refuse_out("ifft", out)
    return _transform("ifft", a, n, axis, norm)


@eager(np.fft.rfft)
def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> Any:
    """As :func:`numpy.fft.rfft`: the n // 2 + 1 frequencies that tell all of a real array; TypeError for a complex one."""
    refuse_out("rfft", out)
    return _transform("rfft", a, n, axis, norm)


@eager(np.fft.irfft)
def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> Any:
    """As :func:`numpy.fft.irfft`: the inverse of :func:`rfft`, real of the length ``n``, by default 2 (m - 1).

    The imaginary part of the first frequency, and of the last of an even ``n``, is ignored.
    """
    refuse_out("irfft", out)
    return _transform("irfft", a, n, axis, norm)


@eager(np.fft.hfft)
def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> Any:
    """As :func:`numpy.fft.hfft`: the real transform of a signal of Hermitian symmetry, given by its first half."""
    refuse_out("hfft", out)
    return _transform("irfft", _conjugate(asarray(operand("hfft", a, "the array"))), n, axis, _swapped(norm))


@eager(np.fft.ihfft)
def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: Any = None) -> Any:
    """As :func:`numpy.fft.ihfft`: the inverse of :func:`hfft`."""
    refuse_out("ihfft", out)
    return _conjugate(_transform("rfft", a, n, axis, _swapped(norm)))


def _conjugate(x: Any) -> Any:
    return p.conj(x) if x.dtype.kind == "c" else x


# Several axes ---------------------------------------------------------------------------------------------------------


def _lengths(a: Any, s: Any, axes: Any, inverse_real: bool = False) -> tuple[list[int], Sequence[int]]:
    """The lengths and axes of a transform of several axes, by NumPy's rules."""
    shapeless = s is None
    if axes is None:
        if not shapeless:
            warnings.warn(
                "`axes` should not be `None` if `s` is not `None` (Deprecated in NumPy 2.0)",
                DeprecationWarning,
                stacklevel=4,
            )
        axes = range(-len(a.shape if shapeless else s), 0)
    lengths = [a.shape[normalize_axis(i, a.ndim)] for i in axes] if shapeless else list(s)
    if len(lengths) != len(axes):
        raise ValueError("Shape and axes have different lengths.")
    if inverse_real and shapeless:
        lengths[-1] = (a.shape[axes[-1]] - 1) * 2
    if None in lengths:
        warnings.warn("`s` holds `None` (Deprecated in NumPy 2.0); give the length", DeprecationWarning, stacklevel=4)
    return [a.shape[i] if n == -1 else n for n, i in zip(lengths, axes)], axes


def _transform_all(kind: str, a: Any, s: Any, axes: Any, norm: Any, real: str | None = None) -> Any:
    """Transforms of ``kind`` along all axes, the last axis first; ``real``: what is done along that instead."""
    a = asarray(operand(real or kind, a, "the array"))
    lengths, axes = _lengths(a, s, axes, inverse_real=real == "irfft")
    steps = list(zip(lengths, axes))
    if real == "rfft":
        a = _transform(real, a, *steps.pop(), norm)
    last = steps.pop() if real == "irfft" else None
    # A backward transform of real result takes its axes from the first, NumPy's others from the last.
    for n, axis in steps if real == "irfft" else reversed(steps):
        a = _transform(kind, a, n, axis, norm)
    return a if last is None else _transform("irfft", a, *last, norm)


def _several(name: str, kind: str, real: str | None, default: Any, what: str) -> Callable[..., Any]:
    """A transform of several axes, by default ``default``."""

    def function(a: Any, s: Any = None, axes: Any = default, norm: str | None = None, out: Any = None) -> Any:
        refuse_out(name, out)
        return _transform_all(kind, a, s, axes, norm, real)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"As :func:`numpy.fft.{name}`: {what}, with the lengths ``s`` along ``axes``."
    return eager(getattr(np.fft, name))(function)


fftn = _several("fftn", "fft", None, None, ":func:`fft` along several axes")
ifftn = _several("ifftn", "ifft", None, None, "the inverse of :func:`fftn`")
rfftn = _several("rfftn", "fft", "rfft", None, ":func:`rfft` along the last axis and :func:`fft` along the others")
irfftn = _several("irfftn", "ifft", "irfft", None, "the inverse of :func:`rfftn`")
fft2 = _several("fft2", "fft", None, (-2, -1), ":func:`fft` along two axes")
ifft2 = _several("ifft2", "ifft", None, (-2, -1), "the inverse of :func:`fft2`")
rfft2 = _several(
    "rfft2", "fft", "rfft", (-2, -1), ":func:`rfft` along the last of two axes and :func:`fft` along the first"
)
irfft2 = _several("irfft2", "ifft", "irfft", (-2, -1), "the inverse of :func:`rfft2`")


# Frequencies ----------------------------------------------------------------------------------------------------------


def _plain(frequencies: Callable[..., Any]) -> Callable[..., Any]:
    """NumPy's function, with the ``dtype`` that the array API standard has since 2024.12."""

    def function(n: int, d: Any = 1.0, device: Any = None, *, dtype: Any = None) -> Any:
        check_device(frequencies.__name__, device)
        result = frequencies(n, d)
        return result if dtype is None else result.astype(dtype)

    function.__name__ = frequencies.__name__
    return function


@eager(_plain(np.fft.fftfreq))
def fftfreq(n: int, d: Any = 1.0, device: Any = None, *, dtype: Any = None) -> Any:
    """As :func:`numpy.fft.fftfreq`: the frequency of each element of a transform of ``n`` samples ``d`` apart."""
    check_device("fftfreq", device)
    _check_count(n)
    cycles = np.concatenate([np.arange((n - 1) // 2 + 1), np.arange(-(n // 2), 0)])
    return _frequencies("fftfreq", cycles, n, d, dtype)


@eager(_plain(np.fft.rfftfreq))
def rfftfreq(n: int, d: Any = 1.0, device: Any = None, *, dtype: Any = None) -> Any:
    """As :func:`numpy.fft.rfftfreq`: the frequency of each element of :func:`rfft`."""
    check_device("rfftfreq", device)
    _check_count(n)
    return _frequencies("rfftfreq", np.arange(n // 2 + 1), n, d, dtype)


def _frequencies(name: str, cycles: Any, n: int, d: Any, dtype: Any) -> Any:
    result = asarray(cycles) * (1.0 / (n * _spacing(name, d)))
    return result if dtype is None else convert_to(result, np.dtype(dtype))


def _check_count(n: Any) -> None:
    if not isinstance(n, (int, np.integer)):
        raise ValueError("n should be an integer")


def _spacing(name: str, d: Any) -> Any:
    if not is_array_like(d):
        raise OperandTypeError(f"{name}: the spacing d is {d!r}; it is a number")
    return d


@eager(np.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Any:
    """As :func:`numpy.fft.fftshift`: the zero frequency in the middle."""
    return _shift(x, axes, 1)


@eager(np.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Any:
    """As :func:`numpy.fft.ifftshift`: the inverse of :func:`fftshift`."""
    return _shift(x, axes, -1)


def _shift(x: Any, axes: Any, sign: int) -> Any:
    x = asarray(x)
    if axes is None:
        axes = tuple(range(x.ndim))
    elif isinstance(axes, (int, np.integer)):
        axes = (axes,)
    return roll(x, tuple(sign * (x.shape[i] // 2) for i in axes), tuple(axes))
