"""The foundation: the import, small functions, long programs, new shapes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from cases import SMALLER, Case, Maker, Target, running
from libraries import Function, Library
from timing import Thunk

# ---- import ----------------------------------------------------------------------------------------------------------


def importing(library: Library) -> Thunk:
    """The statements before and under the clock; what comes with `import jax` anyway is asked of the others too."""
    if library.name == "numpy":
        return lambda: ("", "import numpy")
    return lambda: ("import numpy", f"import {library.package}, {library.namespace}")


# ---- a small multilayer perceptron, float32 --------------------------------------------------------------------------


def mlp_parameters() -> dict[str, np.ndarray]:
    """8-16-1, as a dict of float32 arrays."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (8, 16), "b1": (16,), "w2": (16, 1), "b2": (1,)}
    return {name: rng.normal(0.0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def mlp_batch(size: int) -> tuple[np.ndarray, np.ndarray]:
    """`size` inputs of 8 numbers and their targets, float32."""
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(size, 8)).astype(np.float32)
    return inputs, np.sin(inputs[:, :1])


def mlp_loss(xp: Any) -> Function:
    """The mean squared error of tanh(x w1 + b1) w2 + b2; a new function object at each call."""

    def loss(parameters: dict[str, Any], inputs: Any, targets: Any) -> Any:
        hidden = xp.tanh(inputs @ parameters["w1"] + parameters["b1"])
        error = hidden @ parameters["w2"] + parameters["b2"] - targets
        return xp.mean(error * error)

    return loss


def mlp_gradient_by_hand(
    parameters: dict[str, np.ndarray], inputs: np.ndarray, targets: np.ndarray
) -> dict[str, np.ndarray]:
    """The gradient of `mlp_loss`, as one would write it in NumPy."""
    hidden = np.tanh(inputs @ parameters["w1"] + parameters["b1"])
    error = hidden @ parameters["w2"] + parameters["b2"] - targets
    d_error = error * np.float32(2.0 / error.size)
    d_hidden = (d_error @ parameters["w2"].T) * (1 - hidden * hidden)
    return {
        "w1": inputs.T @ d_hidden,
        "b1": d_hidden.sum(0),
        "w2": hidden.T @ d_error,
        "b2": d_error.sum(0),
    }


def mlp_jitted(library: Library) -> Thunk:
    gradient = library.jit(library.grad(mlp_loss(library.xp)))
    return running(library, gradient, mlp_parameters(), *mlp_batch(32))


def mlp_eager(library: Library) -> Thunk:
    return running(library, library.grad(mlp_loss(library.xp)), mlp_parameters(), *mlp_batch(32))


def mlp_by_hand(library: Library) -> Thunk:
    return running(library, mlp_gradient_by_hand, mlp_parameters(), *mlp_batch(32))


def new_shapes() -> Maker:
    """A maker that compiles a training step once per library; each of its thunks brings a new batch size."""
    steps: dict[str, Function] = {}
    sizes: dict[str, Any] = {}

    def make(library: Library) -> Thunk:
        if library.name not in steps:
            evaluate = library.value_and_grad(mlp_loss(library.xp))

            def step(parameters: dict[str, Any], inputs: Any, targets: Any) -> Any:
                value, gradient = evaluate(parameters, inputs, targets)
                return {name: parameters[name] - 0.1 * gradient[name] for name in parameters}, value

            steps[library.name] = library.jit(step)
            sizes[library.name] = itertools.count(33)
            running(library, steps[library.name], mlp_parameters(), *mlp_batch(32))()
        size = next(sizes[library.name])
        return running(library, steps[library.name], mlp_parameters(), *mlp_batch(size))

    return make


# ---- the Rosenbrock function, float64 --------------------------------------------------------------------------------


ROSENBROCK_POINT = np.array([-1.2, 1.0, 0.5, -0.7, 1.3])


def rosenbrock(xp: Any) -> Function:
    """sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2; a new function object at each call."""

    def function(x: Any) -> Any:
        return xp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    return function


def rosenbrock_gradient_by_hand(x: np.ndarray) -> np.ndarray:
    """The gradient of `rosenbrock`, as one would write it in NumPy."""
    left = x[:-1]
    valley = 200.0 * (x[1:] - left * left)
    gradient = np.zeros_like(x)
    gradient[1:] = valley
    gradient[:-1] -= 2.0 * (valley * left + 1.0 - left)
    return gradient


def rosenbrock_jitted(library: Library) -> Thunk:
    return running(library, library.jit(library.grad(rosenbrock(library.xp))), ROSENBROCK_POINT)


def rosenbrock_eager(library: Library) -> Thunk:
    return running(library, library.grad(rosenbrock(library.xp)), ROSENBROCK_POINT)


def rosenbrock_by_hand(library: Library) -> Thunk:
    return running(library, rosenbrock_gradient_by_hand, ROSENBROCK_POINT)


# ---- long programs ---------------------------------------------------------------------------------------------------


def unrolled(steps: int) -> tuple[Maker, Maker]:
    """A Python loop of `steps` turns, jit(grad) by its scalar weight: makers to compile it, and to call it."""
    state = np.linspace(0.1, 1.0, 10, dtype=np.float32)
    weight = np.array(0.5, np.float32)
    compiled: dict[str, Function] = {}

    def gradient(library: Library) -> Function:
        sin, total = library.xp.sin, library.xp.sum

        def loss(w: Any, x: Any) -> Any:
            for _ in range(steps):
                x = x + 0.01 * sin(x) * w
            return total(x)

        return library.jit(library.grad(loss))

    def compile(library: Library) -> Thunk:
        compiled[library.name] = gradient(library)
        return running(library, compiled[library.name], weight, state)

    def call(library: Library) -> Thunk:
        if library.name not in compiled:
            compile(library)
        return running(library, compiled[library.name], weight, state)

    return compile, call


def alternating(xp: Any, equations: int) -> Function:
    """A function that traces to a chain of `equations` equations; a new function object at each call."""

    def function(x: Any, y: Any) -> Any:
        sin = xp.sin
        for _ in range(equations // 2):
            x = sin(x) * y
        return x

    return function


def long_program(equations: int) -> Maker:
    """A maker that jits `alternating` afresh."""

    def make(library: Library) -> Thunk:
        x = np.linspace(0.1, 1.0, 8)
        return running(library, library.jit(alternating(library.xp, equations)), x, x + 0.5)

    return make


def long_graph(equations: int) -> Maker:
    """A maker that differentiates `alternating` without jit."""

    def make(library: Library) -> Thunk:
        chain = alternating(library.xp, equations)
        total = library.xp.sum
        gradient = library.grad(lambda y, x: total(chain(x, y)))
        x = np.linspace(0.1, 1.0, 8)
        return running(library, gradient, x + 0.5, x)

    return make


def long_graph_by_hand(equations: int) -> Maker:
    """The gradient that `long_graph` takes, written in NumPy: a loop there and a loop back."""

    def gradient(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        states = [x]
        sines = []
        for _ in range(equations // 2):
            sines.append(np.sin(states[-1]))
            states.append(sines[-1] * y)
        total = np.zeros_like(y)
        cotangent = np.ones_like(y)
        for state, sine in zip(reversed(states[:-1]), reversed(sines), strict=True):
            total += cotangent * sine
            cotangent = cotangent * y * np.cos(state)
        return total

    def make(library: Library) -> Thunk:
        x = np.linspace(0.1, 1.0, 8)
        return running(library, gradient, x + 0.5, x)

    return make


def cases(tiny: bool) -> tuple[Case, ...]:
    """The rows of the suite; `tiny` shrinks the long programs."""
    loop_100_compile, loop_100_call = unrolled(4 if tiny else 100)
    loop_400_compile, loop_400_call = unrolled(8 if tiny else 400)
    equations, graph = (20, 40) if tiny else (10_000, 100_000)
    step = new_shapes()
    return (
        Case(
            "import",
            "import, over `import numpy` (column numpy: that itself)",
            "import",
            Target(0.08),
            dict.fromkeys(("funcgrad", "jax", "torch", "autograd", "numpy"), importing),
            rtol=None,
        ),
        Case(
            "mlp-call",
            "jit(grad(MLP 8-16-1)), batch 32, float32: call",
            "call",
            Target(0.5, "jax"),
            {
                "funcgrad": mlp_jitted,
                "jax": mlp_jitted,
                "torch": mlp_eager,
                "autograd": mlp_eager,
                "numpy": mlp_by_hand,
            },
            rtol=1e-4,
        ),
        Case(
            "mlp-compile",
            "the same: trace + compile + first call",
            "first",
            Target(0.1, "jax"),
            {"funcgrad": mlp_jitted, "jax": mlp_jitted},
            rtol=1e-4,
        ),
        Case(
            "rosenbrock-jit",
            "jit(grad(rosenbrock)), n = 5, float64: call",
            "call",
            Target(1.5, "numpy"),
            {"funcgrad": rosenbrock_jitted, "jax": rosenbrock_jitted, "numpy": rosenbrock_by_hand},
        ),
        Case(
            "rosenbrock-eager",
            "grad(rosenbrock) un-jitted, n = 5, float64: call",
            "call",
            Target(1.0, "autograd"),
            dict.fromkeys(("funcgrad", "jax", "torch", "autograd"), rosenbrock_eager) | {"numpy": rosenbrock_by_hand},
        ),
        Case(
            "loop-100-compile",
            "100 steps of x + 0.01*sin(x)*w, jit(grad): trace + compile + first call",
            "first",
            Target(None),
            {"funcgrad": loop_100_compile, "jax": loop_100_compile},
            rtol=1e-3,
        ),
        Case(
            "loop-100-call",
            "the same 100 steps: call",
            "call",
            Target(None),
            {"funcgrad": loop_100_call, "jax": loop_100_call},
            rtol=1e-3,
        ),
        Case(
            "loop-400-compile",
            "400 steps of the same: trace + compile + first call (JAX with --slow)",
            "first",
            Target(0.5),
            {"funcgrad": loop_400_compile, "jax": loop_400_compile},
            slow=frozenset({"jax"}),
            rtol=1e-3,
        ),
        Case(
            "loop-400-call",
            "the same 400 steps: call (JAX with --slow)",
            "call",
            Target(0.25, "jax"),
            {"funcgrad": loop_400_call, "jax": loop_400_call},
            slow=frozenset({"jax"}),
            rtol=1e-3,
        ),
        Case(
            "equations-10000",
            "jit of 10,000 equations: trace + compile + first call, against 1,000",
            "first",
            Target(13.0, SMALLER),
            {"funcgrad": long_program(equations), "jax": long_program(equations)},
            smaller=long_program(equations // 10),
            slow=frozenset({"jax"}),
            rtol=1e-6,
        ),
        Case(
            "graph-100000",
            "grad of 100,000 equations un-jitted, the recursion limit untouched",
            "call",
            Target(None),
            dict.fromkeys(("funcgrad", "jax", "torch", "autograd"), long_graph(graph))
            | {"numpy": long_graph_by_hand(graph)},
            slow=frozenset({"jax"}),
            rtol=1e-6,
        ),
        Case(
            "new-shape",
            "jitted MLP training step: first call at a new batch size",
            "first",
            Target(0.01),
            {"funcgrad": step, "jax": step},
            rtol=1e-4,
        ),
    )
