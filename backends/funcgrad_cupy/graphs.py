"""CUDA graphs of launches and products that follow each other, by the driver's own functions, called by ctypes.

A graph is a chain of nodes, each a kernel with a copy of its arguments, or a product that cuBLASLt was seen to start (a child
graph). It is made once and launched as one; where arrays have moved, the nodes that have their addresses are given their
arguments anew, which holds from the next launch on. CuPy can capture graphs, but not change their nodes.
Functions, versions and structs are those of ``cuda.h`` of CUDA 12 and 13.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .code import Call

__all__ = ["CudaGraph", "load_driver"]

_NON_BLOCKING, _RELAXED = 1, 2


class _KernelNode(ctypes.Structure):
    """CUDA_KERNEL_NODE_PARAMS_v2."""

    _fields_ = (
        ("function", ctypes.c_void_p), ("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint), ("parameters", ctypes.c_void_p), ("extra", ctypes.c_void_p),
        ("kernel", ctypes.c_void_p), ("context", ctypes.c_void_p),
    )  # fmt: skip


@cache
def load_driver() -> Any:
    """The driver's library."""
    return ctypes.CDLL("libcuda.so.1")


class CudaGraph:
    """``calls`` one after the other, with their arguments as they are at ``parameters`` now.

    ``multiply`` starts a prepared product: it is given the product, the table of its arguments and a stream.
    """

    def __init__(
        self, driver: Any, calls: Sequence[Call], parameters: Sequence[int], multiply: Callable[[Any, int, int], None]
    ) -> None:
        self._driver, self._calls, self._multiply = driver, calls, multiply
        graph = self._made("cuGraphCreate", ctypes.c_uint(0))
        self._nodes: list[ctypes.c_void_p] = []
        try:
            for i, place in enumerate(parameters):
                self._nodes.append(self._added(graph, i, place))
            self._ready = self._made("cuGraphInstantiateWithFlags", graph, ctypes.c_ulonglong(0))
        finally:
            self._call("cuGraphDestroy", graph)
        # A graph that is under way when it is destroyed is destroyed when it has ended.
        weakref.finalize(self, driver.cuGraphExecDestroy, self._ready)

    def _call(self, name: str, *args: Any) -> None:
        status = getattr(self._driver, name)(*args)
        if status:
            raise RuntimeError(f"{name} failed with the status {status} of the CUDA driver")

    def _made(self, name: str, *args: Any) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        self._call(name, ctypes.byref(made), *args)
        return made

    def _kernel(self, call: Call, parameters: int) -> _KernelNode:
        return _KernelNode(call.function.ptr, call.grid, call.block, call.shared, parameters)

    def _product(self, call: Call, parameters: int) -> ctypes.c_void_p:
        """A graph of what the library launches for a product."""
        stream = self._made("cuStreamCreate", ctypes.c_uint(_NON_BLOCKING))
        try:
            self._call("cuStreamBeginCapture_v2", stream, ctypes.c_int(_RELAXED))
            self._multiply(call.function, parameters, stream.value or 0)
            graph = ctypes.c_void_p()
            self._call("cuStreamEndCapture", stream, ctypes.byref(graph))
        finally:
            self._call("cuStreamDestroy_v2", stream)
        return graph

    def _added(self, graph: ctypes.c_void_p, i: int, parameters: int) -> ctypes.c_void_p:
        """The node of a call, behind the one before it."""
        call = self._calls[i]
        before = (ctypes.c_void_p * 1)(self._nodes[-1] if i else None)
        behind = graph, before if i else None, ctypes.c_size_t(1 if i else 0)
        if call.grid is not None:
            return self._made("cuGraphAddKernelNode_v2", *behind, ctypes.byref(self._kernel(call, parameters)))
        child = self._product(call, parameters)
        node = self._made("cuGraphAddChildGraphNode", *behind, child)
        self._call("cuGraphDestroy", child)  # the node has a copy
        return node

    def update(self, i: int, parameters: int) -> None:
        """From the next launch on call ``i`` has the arguments that are at ``parameters`` now."""
        call, node = self._calls[i], self._nodes[i]
        if call.grid is not None:
            params = ctypes.byref(self._kernel(call, parameters))
            self._call("cuGraphExecKernelNodeSetParams_v2", self._ready, node, params)
        else:
            child = self._product(call, parameters)
            self._call("cuGraphExecChildGraphNodeSetParams", self._ready, node, child)
            self._call("cuGraphDestroy", child)

    def launch(self, stream: int) -> None:
        """Run all calls, in their order, on a stream."""
        self._call("cuGraphLaunch", self._ready, ctypes.c_void_p(stream))
