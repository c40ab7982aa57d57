"""funcgrad: composable transformations of plain Python functions over plain arrays.

    import funcgrad as fg
    import funcgrad.numpy as fnp

``fg.grad``, ``fg.vmap``, ``fg.jit`` and the others take a function and return one; they nest in any order. Arrays go in
and come out as ``numpy.ndarray``. The names and arguments are those of JAX.
"""

import importlib
from typing import Any

from . import errors, extend, lax, nn, numpy, optim, random, scipy, testing, train, tree
from .api.custom import checkpoint, checkpoint_policies, closure_convert, custom_jvp, custom_vjp, remat
from .api.derivatives import (
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linear_transpose,
    linearize,
    value_and_grad,
    vjp,
)
from .api.mapping import vmap
from .api.placement import block_until_ready, device_get, device_put
from .api.ravel import ravel_pytree
from .api.source import to_source
from .api.staging import ShapeDtypeStruct, eval_shape, jit, make_jaxpr
from .callbacks import debug, pure_callback
from .core.backend import backends, use_backend
from .core.config import config
from .core.types import float0
from .numpy._at import at
from .serialization import load, save

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # What looks at programs and machines is imported when it is asked for.
    if name in ("doctor", "inspect"):
        module = importlib.import_module(".inspect", __name__)
        return module if name == "inspect" else module.doctor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ShapeDtypeStruct",
    "at",
    "backends",
    "block_until_ready",
    "checkpoint",
    "checkpoint_policies",
    "closure_convert",
    "config",
    "custom_jvp",
    "custom_vjp",
    "debug",
    "device_get",
    "device_put",
    "doctor",
    "errors",
    "eval_shape",
    "extend",
    "float0",
    "grad",
    "hessian",
    "hvp",
    "inspect",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "lax",
    "linear_transpose",
    "linearize",
    "load",
    "make_jaxpr",
    "nn",
    "numpy",
    "optim",
    "pure_callback",
    "random",
    "ravel_pytree",
    "remat",
    "save",
    "scipy",
    "testing",
    "to_source",
    "train",
    "tree",
    "use_backend",
    "value_and_grad",
    "vjp",
    "vmap",
]
