"""The back end, over any :class:`.device.Device`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from funcgrad.compiler.fusion import MOVES, REDUCTIONS, kernel
from funcgrad.core.backend import Backend
from funcgrad.core.ir import Eqn, Jaxpr
from funcgrad.primitives.elementwise import ELEMENTWISE

from .calls import calls
from .device import Device
from .draws import draws
from .group import can_write, write_group
from .operations import EXPRESSIONS
from .ops import launch_group, table
from .program import Program, compile_program
from .recording import Recorder

__all__ = ["CudaBackend"]


class CudaBackend(Backend):
    """Kernels for NVIDIA's GPUs, run on ``device``."""

    compiles = True
    #: Rewrites of its own: none.
    rules: Mapping[str, Any] = MappingProxyType({})
    fusable = frozenset([*(n for n in EXPRESSIONS if n in ELEMENTWISE), "convert", *MOVES, *REDUCTIONS])

    def __init__(self, name: str, on: Device) -> None:
        self.name, self.on = name, on
        self.device = name
        self.array_types = (on.array_type,)
        self.ops = table(on)
        self.calls = {**draws(on), **calls(on)}
        self.ops["pure_callback"] = self._pure_callback
        self.ops["debug_callback"] = self._debug_callback

    @cached_property
    def recorded(self) -> CudaBackend:
        """This back end on a device that writes down what it is asked for, from which programs are made."""
        return CudaBackend(f"{self.name}, recorded", Recorder(self.on))

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        """An array of the device; one that is there already, and of the dtype, is returned as it is."""
        if isinstance(x, self.array_types):
            return x if dtype is None or x.dtype == dtype else self.ops["convert"](x, dtype=np.dtype(dtype))
        return self.on.put(np.asarray(x, dtype))

    def to_numpy(self, x: Any) -> Any:
        """A NumPy array; waits until the elements are computed. Raises what programs have found wrong until then."""
        if not isinstance(x, self.array_types):
            return np.array(x)
        found = self.on.get(x)
        self.on.look(waited=True)
        return found

    def copy(self, x: Any) -> Any:
        """A new array with the same elements."""
        return self.ops["copy"](self.asarray(x))

    def mark(self) -> Any:
        """A moment of the device's own time, between launches."""
        return self.on.mark()

    def moments(self, marks: Sequence[Any]) -> list[int]:
        """When each mark was passed, in ns after the first; waits for the last."""
        return self.on.moments(marks)

    def synchronise(self) -> None:
        """Wait until all launches are done; raises what programs have found wrong."""
        self.on.synchronise()
        self.on.look(waited=True)

    def fusion(self, eqn: Eqn) -> Callable[..., Any] | None:
        """The generated kernel of a group as a callable of its operands; None where an equation has no expression."""
        body, space, axes = eqn.params["jaxpr"], eqn.params["space"], eqn.params["axes"]
        if not can_write(body):
            return None
        written, device, results = write_group(body, space, axes), self.on, [a.aval for a in body.outs]
        dtypes = [v.aval.dtype for v in body.invars]

        def run(*args: Any) -> list[Any]:
            ins = [device.contiguous(self.asarray(x, dtype)) for x, dtype in zip(args, dtypes)]
            outs = [device.empty(a.shape, a.dtype) for a in results]
            launch_group(device, written, outs, ins, written.size)
            return outs

        run.text = written.text  # type: ignore[attr-defined]
        return run

    def worth(self, eqn: Eqn) -> bool:
        """Whether a group becomes a kernel."""
        return kernel(eqn, self) is not None

    def compile(self, jaxpr: Jaxpr) -> Program:
        """The program for a jaxpr; the same one for the same jaxpr."""
        return compile_program(jaxpr, self)

    def _pure_callback(
        self, *args: Any, callback: Callable[..., Any], avals: Sequence[Any], **params: Any
    ) -> list[Any]:
        found = []
        for result, aval in zip(callback(*map(self.to_numpy, args)), avals, strict=True):
            array = np.asarray(self.to_numpy(result), aval.dtype)
            if array.shape != aval.shape:
                raise ValueError(
                    f"the function given to pure_callback returned an array of shape {array.shape}; "
                    f"it promised {aval.shape}"
                )
            found.append(self.asarray(array))
        return found

    def _debug_callback(self, *args: Any, callback: Callable[..., Any], **params: Any) -> list[Any]:
        callback(*map(self.to_numpy, args))
        return []
