"""Work that the threads of the pool share: a native function does a chunk of it, and finds what it needs in a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from . import pool
from .ir import Writer

if TYPE_CHECKING:
    from .lower import Lowerer

__all__ = ["chunked", "pieces", "turns"]

#: From this many cycles on work is worth several threads: 30 microseconds.
_WORTH_THREADS = 80_000
#: Chunks a thread, so that what a late one leaves is done by others, if each has so many cycles.
_CHUNKS, _WORTH_A_CHUNK = 4, 100_000


def pieces(threads: int, cycles: int, scratch: int) -> int:
    """Into how many chunks work is cut: one a thread if each needs `scratch` bytes of its own."""
    if threads == 1 or cycles < _WORTH_THREADS:
        return 1
    return threads if scratch else max(threads, min(_CHUNKS * threads, cycles // _WORTH_A_CHUNK))


@contextmanager
def chunked(
    lowerer: Lowerer, pointers: Sequence[str], extent: int, size: int, chunks: int, cycles: int, scratch: int = 0
) -> Iterator[tuple[list[str], str, str, str]]:
    """What is written within is the function of a chunk: the pointers as it has them, the address of its scratch memory, and
    from where to where it goes. All chunks have `size` of the `extent` but the last one, which has the rest.

    The function is one thread's work. It takes no memory of the arena.
    """
    memory = lowerer.scratch(scratch * chunks).pointer if scratch else "null"
    outer, threads = lowerer.writer, lowerer.threads
    chunk = lowerer.writer = Writer(["ptr %table", "i64 %chunk"])
    lowerer.threads = 1
    inner = []
    for i in range(len(pointers) + 1):
        place = chunk.emit(f"getelementptr ptr, ptr %table, i64 {i}")
        inner.append(chunk.emit(f"load ptr, ptr {place}"))
    begin = chunk.emit(f"mul i64 %chunk, {size}")
    is_last = chunk.emit(f"icmp eq i64 %chunk, {chunks - 1}")
    following = chunk.emit(f"add i64 {begin}, {size}")
    end = chunk.emit(f"select i1 {is_last}, i64 {extent}, i64 {following}")
    shift = chunk.emit(f"mul i64 %chunk, {scratch}")
    own = chunk.emit(f"getelementptr i8, ptr {inner.pop()}, i64 {shift}")
    yield inner, own, begin, end
    chunk.do("ret void")
    lowerer.writer, lowerer.threads = outer, threads
    table = outer.alloca("ptr", len(pointers) + 1)
    for i, p in enumerate([*pointers, memory]):
        outer.do(f"store ptr {p}, ptr {outer.emit(f'getelementptr ptr, ptr {table}, i64 {i}')}")
    lowerer.symbols["parallel_for"] = pool.address()
    numbers = [("i64", str(n)) for n in (chunks, cycles)]
    outer.call("parallel_for", ("ptr", f"@{lowerer.function(chunk)}"), ("ptr", table), *numbers)


@contextmanager
def turns(
    lowerer: Lowerer, pointers: Sequence[str], count: int, cycles: int, scratch: int = 0
) -> Iterator[tuple[list[str], str, str]]:
    """A loop of `count` turns, of which none needs another one, in chunks if that is worth it: the pointers, the address of
    scratch memory that only one turn uses at a time, and the number of the turn."""
    wanted = min(pieces(lowerer.threads, cycles, scratch), count)
    with ExitStack() as nest:
        if wanted > 1:
            size = -(-count // wanted)
            cut = chunked(lowerer, pointers, count, size, -(-count // size), cycles, scratch)
            pointers, own, begin, end = nest.enter_context(cut)
            index = nest.enter_context(lowerer.writer.loop(end, begin=begin))
        else:
            own = lowerer.scratch(scratch).pointer if scratch else "null"
            index = nest.enter_context(lowerer.writer.loop(count))
        yield list(pointers), own, index
