"""Which processors the workers of the pool may use: all that the caller may use, but the one that it is on.

Schedulers of virtual machines like to wake a thread on the processor of the thread that woke it, where it waits for its
turn while another processor has nothing to do. As measured this lasts for ten milliseconds, in which two threads are slower
than one. So the workers are kept from the caller's processor as long as there are enough others for all of them; when the
caller was moved, that is said anew. While the caller sleeps they may run there too.

Only Linux has sets of processors.
"""

from __future__ import annotations

import sys

__all__ = ["MOVE", "text"]

#: Cycles of a job for each worker, for which the workers are told that the caller was moved: that costs 4,000 each.
MOVE = 16_000
#: The bits of the C library's sets of processors. They are in the order of the words that the set is made of.
_BITS = 1024

_TOLD = f"""
@avoided = internal global i32 -1

declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @pthread_setaffinity_np(i64, i64, ptr)

; Say it anew to all workers: there is a new one.
define internal void @forget_processor() {{
  store i32 -1, ptr @avoided
  ret void
}}

define internal void @tell(ptr %set) {{
entry:
  %workers = load i64, ptr @workers
  br label %more
more:
  %i = phi i64 [ 0, %entry ], [ %next, %tell ]
  %some = icmp slt i64 %i, %workers
  br i1 %some, label %tell, label %end
tell:
  %slot = getelementptr [MAX x i64], ptr @threads, i64 0, i64 %i
  %thread = load i64, ptr %slot
  call i32 @pthread_setaffinity_np(i64 %thread, i64 {_BITS // 8}, ptr %set)
  %next = add i64 %i, 1
  br label %more
end:
  ret void
}}

; Let the workers run where the caller may, who is about to sleep.
define internal void @make_room() {{
entry:
  %set = alloca i{_BITS}
  %failed = call i32 @sched_getaffinity(i32 0, i64 {_BITS // 8}, ptr %set)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %tell, label %end
tell:
  call void @forget_processor()
  call void @tell(ptr %set)
  br label %end
end:
  ret void
}}

; Keep the workers from the processor of the caller, if there are enough others for all of them.
define internal void @keep_apart(i64 %cycles) {{
entry:
  %set = alloca i{_BITS}
  %here = call i32 @sched_getcpu()
  %avoided = load i32, ptr @avoided
  %moved = icmp ne i32 %here, %avoided
  %workers = load i64, ptr @workers
  %least = mul i64 %workers, {MOVE}
  %large = icmp sge i64 %cycles, %least
  %worth = and i1 %moved, %large
  br i1 %worth, label %look, label %end
look:
  %failed = call i32 @sched_getaffinity(i32 0, i64 {_BITS // 8}, ptr %set)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %count, label %end
count:
  %all = load i{_BITS}, ptr %set
  %number = zext i32 %here to i{_BITS}
  %own = shl i{_BITS} 1, %number
  %kept = xor i{_BITS} %own, -1
  %others = and i{_BITS} %all, %kept
  %bits = call i{_BITS} @llvm.ctpop.i{_BITS}(i{_BITS} %others)
  %free = trunc i{_BITS} %bits to i64
  %any = icmp ne i64 %free, 0
  br i1 %any, label %choose, label %end
choose:
  store i32 %here, ptr @avoided
  %enough = icmp sge i64 %free, %workers
  %allowed = select i1 %enough, i{_BITS} %others, i{_BITS} %all
  store i{_BITS} %allowed, ptr %set
  call void @tell(ptr %set)
  br label %end
end:
  ret void
}}
"""

_UNTOLD = """
define internal void @forget_processor() {
  ret void
}
define internal void @keep_apart(i64 %cycles) {
  ret void
}
define internal void @make_room() {
  ret void
}
"""


def text() -> str:
    """The functions `keep_apart`, which a caller calls before a job, `make_room`, before it sleeps, and `forget_processor`,
    where a worker is started."""
    return _TOLD if sys.platform == "linux" and sys.byteorder == "little" else _UNTOLD
