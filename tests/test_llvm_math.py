"""The elementary functions of the LLVM back end: within 2 ulp in float32 and 4 ulp in float64 of the exact result.

float32 is compared with NumPy's and SciPy's float64 functions, float64 with mpmath.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

llvm = pytest.importorskip("llvmlite.binding")
pytest.importorskip("scipy")

from elementary import BINARY, LANES, UNARY, Loop, errors_in_ulp, oracle, worst_error  # noqa: E402

from funcgrad_llvm import machine  # noqa: E402
from funcgrad_llvm.math import FUNCTIONS, definitions, symbol  # noqa: E402


def test_errors_in_ulp():
    """What the measure says of results that are wrong in a known way."""
    one, largest, tiny = np.float32(1), np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal
    inf, nan = np.float32(np.inf), np.float32(np.nan)
    got = np.array([1, np.nextafter(one, 2), np.nextafter(one, 0), tiny, 0, -0.0, inf, nan, nan, 1, inf], np.float32)
    exact = np.array([1, 1, 1, 3 * float(tiny), float(tiny) / 4, 0, float(largest), nan, 1, nan, 1])
    wanted = [0, 1, 0.5, 2, 0.25, np.inf, 1, 0, np.inf, np.inf, 2.0**151]
    np.testing.assert_array_equal(errors_in_ulp(got, exact), wanted)


def assert_same_special(got, wanted, xs):
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted), err_msg=str(xs))
    signs = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(got)[signs], np.signbit(wanted)[signs], err_msg=str(xs))
    np.testing.assert_allclose(
        got, wanted, rtol=4 * np.finfo(got.dtype).eps, atol=np.finfo(got.dtype).smallest_subnormal
    )


@pytest.mark.parametrize("name", UNARY)
def test_float32_is_within_2_ulp(name):
    worst = worst_error(name, range(0, 2**32, 16381))  # 2^18 of them
    assert worst.error <= 2, f"{name}({worst.argument!r}) is {worst.error} ulp off"


@pytest.mark.slow
@pytest.mark.parametrize("name", UNARY)
def test_every_float32_is_within_2_ulp(name):
    worst = worst_error(name)
    assert worst.error <= 2, f"{name}({worst.argument!r}) is {worst.error} ulp off"


def recorded():
    """The rows of the table in docs/accuracy.md: function, largest error, where, or None."""
    page = Path(__file__).parents[1] / "docs/accuracy.md"
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| (?:nowhere|`[^`]*` \(`([^`]*)`\)) ", page.read_text(), re.MULTILINE)
    return [pytest.param(name, float(error), float.fromhex(at) if at else None, id=name) for name, error, at in rows]


@pytest.mark.parametrize("name, error, argument", recorded())
def test_errors_are_as_recorded(name, error, argument):
    """At the argument that the page names, the error is what the page says; where it names none, 0.5."""
    if not llvm.get_host_cpu_features().get("fma"):
        pytest.skip("the page is about fused multiplication and addition")
    if argument is None:
        assert error == 0.5
        return
    x = np.array([argument], np.float32)
    (found,) = errors_in_ulp(Loop(name, "float32")(x), oracle(name)(x.astype(np.float64)))
    assert found == pytest.approx(error, abs=6e-4)


def test_every_function_is_recorded():
    assert [row.id for row in recorded()] == UNARY


#: Where the result is finite and not constant, for float64.
DOMAINS = {
    "acos": (-1, 1), "acosh": (1, 1e300), "asin": (-1, 1), "atanh": (-1, 1), "cosh": (-710, 710), "erf": (-6, 6),
    "erfc": (-6, 26.6), "exp": (-745, 709.7), "exp2": (-1074, 1023.9), "expm1": (-745, 709.7), "log": (0, 1e300),
    "log1p": (-1, 1e300), "logistic": (-745, 745), "rsqrt": (0, 1e300), "sinh": (-710, 710),
}  # fmt: skip


def hard_arguments(name, rng):
    """All magnitudes, the neighbourhood of 1, all of the domain, and next to multiples of pi/2."""
    low, high = DOMAINS.get(name, (-1e300, 1e300))
    sign = rng.choice([-1.0, 1.0], 400)
    spread = sign * 2.0 ** rng.uniform(-1074, np.log2(high), 400)
    middle = sign * 2.0 ** rng.uniform(-8, 5, 400)
    even = rng.uniform(max(low, -1e3), min(high, 1e3), 200)
    near_one = 1 + rng.uniform(-1e-3, 1e-3, 100)
    parts = [spread, middle, even, near_one]
    if name == "acosh":
        parts = [1 + np.abs(p) for p in parts]
    if name in ("sin", "cos", "tan"):
        # The float64 nearest to a multiple of pi/2 is among them (J.-M. Muller, Elementary Functions, section 11.2).
        parts += [rng.integers(1, 2**45, 200) * (np.pi / 2), np.array([6381956970095103.0 * 2.0**797])]
    x = np.concatenate(parts)
    return x[(x > low) & (x < high)]


def exactly(name):
    mpmath = pytest.importorskip("mpmath")
    mp = mpmath.mp
    return {
        "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
        "exp2": lambda x: mp.mpf(2) ** x,
        "logistic": lambda x: 1 / (1 + mp.exp(-x)),
        "pow": mp.power,
        "rsqrt": lambda x: 1 / mp.sqrt(x),
    }.get(name) or getattr(mp, name)


def largest_error(name, got, *xs):
    """In units of the last place of float64."""
    mpmath = pytest.importorskip("mpmath")
    function, worst, where = exactly(name), 0, None
    with mpmath.workdps(60):
        for y, *x in zip(got.tolist(), *(a.tolist() for a in xs)):
            exact = function(*map(mpmath.mpf, x))
            if abs(exact) >= 2 - mpmath.mpf(2) ** -1023 and abs(exact) >= mpmath.mpf(2) ** 1024:
                continue
            error = abs(mpmath.mpf(y) - exact) / mpmath.mpf(float(np.spacing(abs(float(exact)))))
            if error > worst:
                worst, where = error, x
    return float(worst), where


@pytest.mark.parametrize("name", UNARY)
def test_float64_is_within_4_ulp(name):
    x = hard_arguments(name, np.random.default_rng(0))
    worst, where = largest_error(name, Loop(name, "float64")(x), x)
    assert worst <= 4, f"{name}({where!r}) is {worst} ulp off"


@pytest.mark.parametrize("dtype", LANES)
@pytest.mark.parametrize("name", UNARY)
def test_special_arguments(name, dtype):
    info = np.finfo(dtype)
    positive = [0, info.smallest_subnormal, info.smallest_normal, info.eps, 0.5, 1, 2, info.max, np.inf, np.nan]
    x = np.array([*positive, *(-v for v in positive)], dtype)
    with np.errstate(all="ignore"):
        wanted = oracle(name)(x)
    if name in ("sin", "cos", "tan"):  # at `max` NumPy's float32 functions are an ulp or two off themselves
        assert np.isnan(Loop(name, dtype)(x[~np.isfinite(x)])).all()
        x, wanted = x[np.abs(x) < info.max], wanted[np.abs(x) < info.max]
    assert_same_special(Loop(name, dtype)(x), wanted, x)


EDGES = [
    0.0,
    5e-324,
    1e-310,
    0.25,
    0.5,
    1.0,
    1.5,
    2.0,
    2.5,
    3.0,
    1e15 + 0.5,
    2.0**53,
    2.0**53 + 2,
    1e308,
    np.inf,
    np.nan,
]


@pytest.mark.parametrize("dtype", LANES)
@pytest.mark.parametrize("name", sorted(BINARY))
def test_special_pairs(name, dtype):
    with np.errstate(all="ignore"):
        edges = np.array([*EDGES, *(-e for e in EDGES)], dtype)
        x, y = (a.ravel() for a in np.meshgrid(edges, edges))
        wanted = oracle(name)(x, y)
    assert_same_special(Loop(name, dtype)(x, y), wanted, (x, y))


@pytest.mark.parametrize("dtype, bound", [("float32", 2), ("float64", 4)])
def test_pow(dtype, bound):
    rng = np.random.default_rng(0)
    x = np.concatenate([2.0 ** rng.uniform(-100, 100, 600), 1 + rng.uniform(-1e-3, 1e-3, 300)]).astype(dtype)
    largest = 1000 if dtype == "float64" else 120
    y = (rng.uniform(-largest, largest, x.size) / np.log2(x.astype(np.float64))).astype(dtype)
    x = np.append(x, rng.uniform(-5, 0, 100)).astype(dtype)
    y = np.append(y, rng.integers(-40, 40, 100)).astype(dtype)
    got = Loop("pow", dtype)(x, y)
    if dtype == "float32":
        assert errors_in_ulp(got, x.astype(np.float64) ** y.astype(np.float64)).max() <= bound
    else:
        assert largest_error("pow", got, x, y)[0] <= bound


@pytest.mark.parametrize("dtype, bound", [("float32", 2), ("float64", 4)])
def test_atan2(dtype, bound):
    rng = np.random.default_rng(0)
    y = (2.0 ** rng.uniform(-60, 60, 1000) * rng.choice([-1, 1], 1000)).astype(dtype)
    x = (y * 2.0 ** rng.uniform(-30, 30, 1000) * rng.choice([-1, 1], 1000)).astype(dtype)
    got = Loop("atan2", dtype)(y, x)
    if dtype == "float32":
        assert errors_in_ulp(got, np.arctan2(y.astype(np.float64), x.astype(np.float64))).max() <= bound
    else:
        assert largest_error("atan2", got, y, x)[0] <= bound


@pytest.mark.parametrize("dtype", LANES)
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_vectors_and_numbers_agree(name, dtype):
    rng = np.random.default_rng(0)
    xs = [rng.uniform(0.1, 3, 64).astype(dtype) for _ in range(2 if name in BINARY else 1)]
    if name in ("sin", "cos", "tan"):
        xs[0][::7] *= 1e20  # some lanes of a vector are large
    np.testing.assert_array_equal(Loop(name, dtype)(*xs), Loop(name, dtype, lanes=1)(*xs))


@pytest.mark.parametrize("dtype", LANES)
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_loops_consist_of_vector_instructions(name, dtype):
    """No call in the loop but the one for large angles, and no arithmetic on single numbers."""
    if not llvm.get_host_cpu_features().get("fma"):
        pytest.skip("without fused multiplication and addition every such operation is a call")
    assembly = Loop(name, dtype).assembly
    found = re.search(r"^_?loop:.*?(?=\.Lfunc_end|^\s*\.cfi_endproc)", assembly, re.MULTILINE | re.DOTALL)
    assert found, assembly
    loop = found.group()
    assert re.search(r"[yz]mm\d", loop)
    assert not re.search(r"\bv?(add|sub|mul|div|fn?m(add|sub)\d+)s[sd]\b", loop)
    calls = re.findall(r"^\s+(?:call|bl)", loop, re.MULTILINE)
    assert len(calls) == (name in ("sin", "cos", "tan"))


@pytest.mark.parametrize("dtype", LANES)
@pytest.mark.parametrize("name", ["cbrt", "exp", "exp2", "logistic", "pow"])
def test_the_instruction_that_scales_gives_the_same_bits(name, dtype):
    """Subnormal results, overflows and special values among them; a single number is scaled in two steps."""
    if machine.vector_bytes() < 64:
        pytest.skip("only processors with AVX-512 have it")
    rng = np.random.default_rng(0)
    largest = 140 if dtype == "float32" else 1100
    exponents = rng.uniform(-largest, largest, 4096)
    exponents[:6] = np.nan, np.inf, -np.inf, 0, -0.0, 1e-30
    args = [exponents.astype(dtype)] if name != "pow" else [rng.uniform(0.4, 2.5, 4096), exponents]
    args = [np.asarray(a, dtype) for a in args]
    if name == "cbrt":
        with np.errstate(over="ignore", under="ignore"):
            args = [np.exp2(args[0])]
    loops = [Loop(name, dtype, avx512=flag) for flag in (False, True)] + [Loop(name, dtype, 1)]
    assert ["scalef" in loop.assembly for loop in loops] == [False, True, False]
    one, *others = (loop(*args) for loop in loops)
    for other in others:
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(np.signbit(one)[one == 0], np.signbit(other)[one == 0])


def test_definitions_come_once_and_in_one_order():
    names = [symbol("sin", dtype, lanes) for dtype in LANES for lanes in (1, 8)]
    text = definitions([*names, *names], avx512=True)
    assert text == definitions(reversed(names), avx512=True)
    defined = re.findall(r"^(?:define .*|)@(\w+)[ (]", text, re.MULTILINE)
    assert len(defined) == len(set(defined)) and set(names) <= set(defined)


def test_symbols_of_what_there_is():
    assert symbol("exp", np.dtype(np.float32), 4) == "fg_exp_f32_4"
    assert symbol("exp", "int32") is None and symbol("sqrt", "float32") is None


@pytest.mark.skipif(importlib.util.find_spec("mpmath") is None, reason="needs mpmath")
@pytest.mark.slow
def test_coefficients_are_derived():
    import minimax

    source = Path(minimax.__file__).parent.parent / "backends/funcgrad_llvm/math/coefficients.py"
    numbers = re.compile(r"^ +(-?[\d.e-]+),$", re.MULTILINE)
    assert numbers.findall(minimax.derive()) == numbers.findall(source.read_text())
