"""What the standard has no function for, by the NumPy back end: for arrays that lie in host memory.

Arrays that lie on another device are refused: that they should travel to the host and back is for the user to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from funcgrad.errors import BackendError
from funcgrad.extend import get_backend

__all__ = ["HOSTED", "hosted"]

#: Factorisations, special functions, and what later versions of the standard have.
HOSTED = (
    *("lu", "eig", "nextafter"),
    *("erfc", "erfcx", "erfinv", "ndtri", "log_ndtr", "logit", "i0", "i0e", "i1", "i1e"),
    *("gamma", "gammaln", "digamma", "zeta", "riemann_zeta", "beta", "betaln"),
    *("gammainc", "gammaincc", "gamma_density", "betainc", "beta_density"),
)

#: ``kDLCPU`` of DLPack's device types.
_HOST = 1


def hosted(backend: Any, name: str) -> Callable[..., Any]:
    """The operation ``name`` of ``backend`` through NumPy. Raises BackendError for arrays on another device."""

    def run(*args: Any, **params: Any) -> Any:
        for x in args:
            if isinstance(x, backend.array_types) and int(x.__dlpack_device__()[0]) != _HOST:
                raise BackendError(
                    f"the back end {backend.name!r} has no {name!r} for arrays on the device {x.device}: the array API "
                    f"standard has no such function, and NumPy's takes arrays in host memory; move them there first "
                    f"with to_device"
                )
        results = get_backend("numpy").ops[name](*map(backend.to_numpy, args), **params)
        return list(map(backend.asarray, results)) if isinstance(results, (list, tuple)) else backend.asarray(results)

    return run
