"""The elementary functions of the LLVM back end: within 2 ulp in float32 and 4 ulp in float64 of the exact result.

float32 is compared with NumPy's and SciPy's float64 functions, float64 with mpmath.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re

import numpy as np
import pytest

llvm = pytest.importorskip("llvmlite.binding")

from funcgrad_llvm.math import FUNCTIONS, definitions, symbol  # noqa: E402

BINARY = {"atan2", "pow"}
UNARY = sorted(set(FUNCTIONS) - BINARY)
LANES = {"float32": 16, "float64": 8}
TYPES = {"float32": "float", "float64": "double"}
NUMPY_NAMES = {
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan", "atanh": "arctanh",
    "atan2": "arctan2", "pow": "power",
}  # fmt: skip


class Loop:
    """A compiled loop over arrays of a multiple of the number of lanes; `lanes = 1` is the scalar function."""

    def __init__(self, name: str, dtype: str, lanes: int | None = None) -> None:
        self.dtype, self.lanes = np.dtype(dtype), lanes or LANES[dtype]
        self.operands = 2 if name in BINARY else 1
        function, scalar = symbol(name, dtype, self.lanes), TYPES[dtype]
        assert function is not None
        vector = scalar if self.lanes == 1 else f"<{self.lanes} x {scalar}>"
        size = self.dtype.itemsize
        loads = [
            f"  %a{i} = getelementptr {scalar}, ptr %in{i}, i64 %i\n  %x{i} = load {vector}, ptr %a{i}, align {size}"
            for i in range(self.operands)
        ]
        text = "\n".join([
            definitions([function]),
            f"define void @loop(ptr %out, i64 %n, {', '.join(f'ptr %in{i}' for i in range(self.operands))}) {{",
            "entry:", "  br label %body", "body:", "  %i = phi i64 [ 0, %entry ], [ %next, %body ]", *loads,
            f"  %y = call {vector} @{function}({', '.join(f'{vector} %x{i}' for i in range(self.operands))})",
            f"  %o = getelementptr {scalar}, ptr %out, i64 %i", f"  store {vector} %y, ptr %o, align {size}",
            f"  %next = add i64 %i, {self.lanes}", "  %more = icmp slt i64 %next, %n",
            "  br i1 %more, label %body, label %end", "end:", "  ret void", "}",
        ])  # fmt: skip
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        module = llvm.parse_assembly(text)
        module.verify()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), opt=2, reloc="pic", codemodel="jitdefault", jit=True
        )
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
        builder.getModulePassManager().run(module, builder)
        self.assembly = machine.emit_assembly(module)
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()
        pointers = [ctypes.c_void_p] * self.operands
        signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, *pointers)
        self.call = signature(self.engine.get_function_address("loop"))

    def __call__(self, *xs):
        n = np.size(xs[0])
        padded = [np.resize(np.asarray(x, self.dtype), -(-n // self.lanes) * self.lanes) for x in xs]
        out = np.empty_like(padded[0])
        self.call(out.ctypes.data, out.size, *(x.ctypes.data for x in padded))
        return out[:n]


def oracle(name):
    """NumPy's or SciPy's function."""
    if name == "rsqrt":
        return lambda x: 1 / np.sqrt(x)
    if name in ("erf", "erfc", "logistic"):
        special = pytest.importorskip("scipy.special")
        return getattr(special, {"logistic": "expit"}.get(name, name))
    return getattr(np, NUMPY_NAMES.get(name, name))


def errors_in_ulp(y, exact):
    """Distance of float32 results from float64 ones, in units of the last place of float32; 0 where both are the same
    special number or the right overflow, infinity where one is special."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        ulp = np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, np.float32(2.0**127)))).astype(np.float64)
        # Overflow begins half an ulp above the largest number: nearby, either is right to within an ulp.
        got = np.where(np.isinf(y), np.copysign(np.float64(2.0**128), y), y.astype(np.float64))
        wanted = np.where(np.abs(exact) > 2.0**128, np.copysign(2.0**128, exact), exact)
        distance = np.abs(got - wanted) / ulp
        return np.where(np.isnan(exact) == np.isnan(y), np.where(np.isnan(exact), 0, distance), np.inf)


def assert_same_special(got, wanted, xs):
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted), err_msg=str(xs))
    signs = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(got)[signs], np.signbit(wanted)[signs], err_msg=str(xs))
    np.testing.assert_allclose(
        got, wanted, rtol=4 * np.finfo(got.dtype).eps, atol=np.finfo(got.dtype).smallest_subnormal
    )


@pytest.mark.parametrize("name", UNARY)
def test_float32_is_within_2_ulp(name):
    patterns = np.arange(0, 2**32, 16381, dtype=np.uint64).astype(np.uint32)  # 2^18 of them
    x = patterns.view(np.float32)
    with np.errstate(all="ignore"):
        exact = oracle(name)(x.astype(np.float64))
    errors = errors_in_ulp(Loop(name, "float32")(x), exact)
    worst = np.argmax(errors)
    assert errors[worst] <= 2, f"{name}({x[worst]!r}) is {errors[worst]} ulp off"


@pytest.mark.slow
@pytest.mark.parametrize("name", UNARY)
def test_every_float32_is_within_2_ulp(name):
    loop, reference = Loop(name, "float32"), oracle(name)
    for start in range(0, 2**32, 2**24):
        x = np.arange(start, start + 2**24, dtype=np.uint64).astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            exact = reference(x.astype(np.float64))
        errors = errors_in_ulp(loop(x), exact)
        worst = np.argmax(errors)
        assert errors[worst] <= 2, f"{name}({x[worst]!r}) is {errors[worst]} ulp off"


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


def test_definitions_come_once_and_in_one_order():
    names = [symbol("sin", dtype, lanes) for dtype in LANES for lanes in (1, 8)]
    text = definitions([*names, *names])
    assert text == definitions(reversed(names))
    defined = re.findall(r"^(?:define .*|)@(\w+)[ (]", text, re.MULTILINE)
    assert len(defined) == len(set(defined)) and set(names) <= set(defined)


def test_symbols_of_what_there_is():
    assert symbol("exp", np.dtype(np.float32), 4) == "fg_exp_f32_4"
    assert symbol("exp", "int32") is None and symbol("sqrt", "float32") is None


@pytest.mark.skipif(importlib.util.find_spec("mpmath") is None, reason="needs mpmath")
@pytest.mark.slow
def test_coefficients_are_derived():
    from pathlib import Path

    import minimax

    source = Path(minimax.__file__).parent.parent / "backends/funcgrad_llvm/math/coefficients.py"
    numbers = re.compile(r"^ +(-?[\d.e-]+),$", re.MULTILINE)
    assert numbers.findall(minimax.derive()) == numbers.findall(source.read_text())
