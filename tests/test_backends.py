"""Back ends: the conformance suite, a third party's found through its entry point, and what is said when one is missing."""

import subprocess
import sys
import textwrap
from typing import ClassVar

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.core import backend as registry
from funcgrad.errors import BackendError
from funcgrad.extend import Backend, get_backend
from funcgrad.testing import check_backend


def test_the_numpy_back_end_conforms():
    check_backend("numpy")


class Interpreted(Backend):
    """A back end that has a table of operations and nothing else: programs are interpreted."""

    name = "interpreted"
    ops: ClassVar = dict(get_backend("numpy").ops)


@pytest.fixture
def interpreted():
    backend = Interpreted()
    registry.register_backend(backend)
    yield backend
    registry._registry.pop(backend.name)


def test_a_table_of_operations_is_enough(interpreted):
    check_backend(interpreted)


def test_conformance_finds_a_wrong_operation(interpreted):
    interpreted.ops = interpreted.ops | {"sin": np.cos}
    with pytest.raises(AssertionError, match="back end interpreted, sin of float32"):
        check_backend(interpreted)


def test_conformance_finds_a_wrong_dtype(interpreted):
    interpreted.ops = interpreted.ops | {"exp": lambda x: np.exp(x.astype("float64"))}
    with pytest.raises(AssertionError, match="exp of float32: a result is f64"):
        check_backend(interpreted)


def test_a_missing_operation_is_named(interpreted):
    interpreted.ops = {k: v for k, v in interpreted.ops.items() if k != "tanh"}
    with fg.use_backend("interpreted"), pytest.raises(BackendError, match="'interpreted' has no 'tanh'"):
        fg.jit(fnp.tanh)(np.ones(3))


def test_an_unknown_back_end_lists_the_known_ones():
    with (
        pytest.raises(BackendError, match=r"^there is no back end 'nunpy'; there are: .*numpy"),
        fg.use_backend("nunpy"),
    ):
        pass


def test_the_back_end_is_put_back_after_an_error():
    with pytest.raises(KeyError), fg.use_backend("numpy"):
        raise KeyError
    assert registry.current_backend().name == "numpy"


def test_a_foreign_array_is_refused():
    class Foreign:
        shape = (3,)
        dtype = np.dtype("float64")

    with pytest.raises(BackendError, match="Foreign belongs to no known back end"):
        fg.jit(lambda x: x + 1)(Foreign())


def test_a_plug_in_is_found_through_its_entry_point(tmp_path):
    """A distribution on the path that declares an entry point, as pip would install it."""
    (tmp_path / "tracing_numpy.py").write_text(
        textwrap.dedent(
            """
            from funcgrad.extend import Backend, get_backend

            class Counting(Backend):
                name = "counting"
                ops = dict(get_backend("numpy").ops)

            backend = Counting()
            """
        )
    )
    info = tmp_path / "tracing_numpy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tracing-numpy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[funcgrad.backends]\ncounting = tracing_numpy:backend\n")
    code = textwrap.dedent(
        """
        import numpy as np, funcgrad as fg, funcgrad.numpy as fnp
        assert "counting" in fg.backends(), fg.backends()
        with fg.use_backend("counting") as backend:
            assert backend.name == "counting"
            print(fg.jit(fg.grad(lambda x: fnp.sum(x**2)))(np.arange(3.0)))
        """
    )
    path = [str(tmp_path), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}\n{code}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[0. 2. 4.]"


# Named calls ----------------------------------------------------------------------------------------------------------


@fg.jit
def squash(x, scale):
    return scale * fnp.tanh(x)


@pytest.fixture(params=["interpreted", "compiled", "llvm"])
def with_kernel(request):
    """A back end with a kernel for ``squash`` of matrices, and the shapes it was called with."""
    if request.param == "llvm":
        pytest.importorskip("llvmlite")
    shapes = []

    def kernel(x, scale):
        shapes.append(np.shape(x))
        return [np.asarray(scale * np.tanh(x))]

    base = Backend if request.param == "interpreted" else type(get_backend(request.param.replace("compiled", "numpy")))

    class WithKernel(base):
        name = f"with_kernel_{request.param}"
        ops: ClassVar = dict(get_backend("numpy").ops)
        calls: ClassVar = {"squash": lambda body: kernel if body.in_avals[0].ndim == 2 else None}

    backend = WithKernel()
    registry.register_backend(backend)
    with fg.use_backend(backend.name):
        yield shapes
    registry._registry.pop(backend.name)


X = np.linspace(-2.0, 2.0, 6).reshape(2, 3)


def test_a_kernel_runs_in_place_of_a_named_call(with_kernel):
    def outer(x):
        y = fg.lax.fori_loop(0, 2, lambda _, y: squash(y, 2.0) + 1.0, x)
        return squash(fnp.sin(y), fnp.asarray(3.0)) - 1.0

    y = X
    for _ in range(2):
        y = 2 * np.tanh(y) + 1
    want = 3 * np.tanh(np.sin(y)) - 1
    for run in (outer, fg.jit(outer)):
        np.testing.assert_allclose(run(X), want, rtol=1e-14)
        assert with_kernel == [(2, 3)] * 3
        with_kernel.clear()
    np.testing.assert_allclose(squash(X, 2.0), 2 * np.tanh(X), rtol=1e-14)
    assert with_kernel == [(2, 3)]


def test_where_a_back_end_has_no_kernel_for_the_operands_the_body_runs(with_kernel):
    np.testing.assert_allclose(squash(X[0], 2.0), 2 * np.tanh(X[0]), rtol=1e-14)
    np.testing.assert_allclose(fg.jit(lambda x: -squash(x, 2.0))(X[0]), -2 * np.tanh(X[0]), rtol=1e-14)
    assert with_kernel == []


def test_derivatives_and_vmap_see_the_body_of_a_named_call(with_kernel):
    want = 2 * (1 - np.tanh(X) ** 2)
    for wrap in (lambda f: f, fg.jit):
        np.testing.assert_allclose(wrap(fg.grad(lambda x: squash(x, 2.0).sum()))(X), want, rtol=1e-14)
        np.testing.assert_allclose(wrap(fg.vmap(lambda x: squash(x, 2.0)))(X), 2 * np.tanh(X), rtol=1e-14)
    assert with_kernel == []


def test_stages_that_the_back_end_has_not_are_not_offered(interpreted):
    with fg.use_backend("interpreted"):
        lowered = fg.jit(fnp.sin).lower(1.0)
    with pytest.raises(fg.errors.OperandTypeError, match="no stage 'source' on this back end; there is 'jaxpr'\n"):
        lowered.as_text()
    with pytest.raises(fg.errors.OperandTypeError, match="there are 'jaxpr', 'simplified', 'fused', 'source'\n"):
        fg.jit(fnp.sin).lower(1.0).as_text("llvm")
