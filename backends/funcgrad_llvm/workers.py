"""The threads of the pool in LLVM's language: no C compiler may be asked for. `pool.py` compiles and starts them.

They are made of the threads, mutexes and condition variables of the C library.

**How a job is handed out.** `ticket` holds the number of the job in its upper half, and in its lower half how many of its
chunks nobody has taken yet. A thread takes the last of them by a compare-and-swap of the whole, which fails if the job is
another one by now; and as a job with a chunk that nobody has taken is not over, what was read of it before (`function`,
`context`) is true if the swap succeeds. A worker that comes late therefore never runs a chunk of a later job by mistake,
and nobody waits for workers that sleep on.

**How a thread waits.** It watches for `SPIN` pauses, some hundred microseconds, then it sleeps. A worker counts itself in
`sleepers` before it looks at `ticket` for the last time, and the caller writes `ticket` before it reads `sleepers`, both
sequentially consistent: one of them sees the other. The same holds of `remaining` and `waiting`, with the roles exchanged.

**Who is woken.** Workers that watch begin within a microsecond; to wake one that sleeps costs the caller ten, and it
begins fifty later. So a job says how much work it is, and those that sleep are woken for `WAKE` of it: of one job, or of
all that went by while they slept (`missed`). No job is lost by that, for its caller does what nobody else takes.

A child process after `fork` has none of the threads: the state is made anew, and its first job starts others.

Windows has no such C library: there every job is done by its caller.
"""

from __future__ import annotations

import platform
import sys

from . import processors

__all__ = ["MAX_THREADS", "text"]

#: Pauses before a thread that waits goes to sleep: 150 microseconds of a Zen 4.
SPIN = 10_000
#: Cycles of work for which threads are woken.
WAKE = 250_000
#: The size of the table of threads, and the largest of a mutex or a condition variable among the C libraries.
MAX_THREADS, _OPAQUE_BYTES = 256, 64

_STATE = f"""
@ticket = internal global i64 0, align 64
@remaining = internal global i64 0, align 64
@sleepers = internal global i32 0, align 64
@waiting = internal global i32 0
@stop = internal global i32 0
@function = internal global ptr null, align 64
@context = internal global ptr null
@busy = internal global i32 0, align 64
@missed = internal global i64 0
@workers = internal global i64 0
@wanted = internal global i64 0
@threads = internal global [{MAX_THREADS} x i64] zeroinitializer
@wake_mutex = internal global [{_OPAQUE_BYTES} x i8] zeroinitializer, align 64
@wake = internal global [{_OPAQUE_BYTES} x i8] zeroinitializer, align 64
@done_mutex = internal global [{_OPAQUE_BYTES} x i8] zeroinitializer, align 64
@done = internal global [{_OPAQUE_BYTES} x i8] zeroinitializer, align 64
"""

_INLINE = """
define internal void @run_inline(ptr %function, ptr %context, i64 %chunks) {
entry:
  %any = icmp sgt i64 %chunks, 0
  br i1 %any, label %body, label %end
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  call void %function(ptr %context, i64 %i)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %chunks
  br i1 %more, label %body, label %end
end:
  ret void
}
"""

_WORKERS = """
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_broadcast(ptr)

; Take chunks of a job until there are none or it is another job's turn.
define internal void @work(i64 %job) {
entry:
  br label %look
look:
  %seen = load atomic i64, ptr @ticket seq_cst, align 8
  %current = lshr i64 %seen, 32
  %same = icmp eq i64 %current, %job
  br i1 %same, label %choose, label %end
choose:
  %left = and i64 %seen, 4294967295
  %some = icmp ne i64 %left, 0
  br i1 %some, label %take, label %end
take:
  %function = load atomic ptr, ptr @function monotonic, align 8
  %context = load atomic ptr, ptr @context monotonic, align 8
  %chunk = sub i64 %left, 1
  %following = sub i64 %seen, 1
  %pair = cmpxchg ptr @ticket, i64 %seen, i64 %following seq_cst seq_cst
  %taken = extractvalue { i64, i1 } %pair, 1
  br i1 %taken, label %run, label %look
run:
  call void %function(ptr %context, i64 %chunk)
  %before = atomicrmw sub ptr @remaining, i64 1 seq_cst
  %last = icmp eq i64 %before, 1
  br i1 %last, label %finish, label %look
finish:
  %someone = load atomic i32, ptr @waiting seq_cst, align 4
  %waits = icmp ne i32 %someone, 0
  br i1 %waits, label %notify, label %end
notify:
  call i32 @pthread_mutex_lock(ptr @done_mutex)
  call i32 @pthread_cond_signal(ptr @done)
  call i32 @pthread_mutex_unlock(ptr @done_mutex)
  br label %end
end:
  ret void
}

define internal ptr @worker(ptr %first) {
entry:
  %start = ptrtoint ptr %first to i64
  br label %watch
watch:
  %known = phi i64 [ %start, %entry ], [ %known, %pause ], [ %known, %woken ], [ %job, %working ]
  %count = phi i32 [ 0, %entry ], [ %counted, %pause ], [ 0, %woken ], [ 0, %working ]
  %seen = load atomic i64, ptr @ticket seq_cst, align 8
  %job = lshr i64 %seen, 32
  %new = icmp ne i64 %job, %known
  br i1 %new, label %called, label %idle
called:
  %halt = load atomic i32, ptr @stop seq_cst, align 4
  %halted = icmp ne i32 %halt, 0
  br i1 %halted, label %end, label %working
working:
  call void @work(i64 %job)
  br label %watch
idle:
  %patient = icmp ult i32 %count, SPIN
  br i1 %patient, label %pause, label %sleep
pause:
  PAUSE
  %counted = add i32 %count, 1
  br label %watch
sleep:
  call i32 @pthread_mutex_lock(ptr @wake_mutex)
  %s0 = atomicrmw add ptr @sleepers, i32 1 seq_cst
  br label %check
check:
  %again = load atomic i64, ptr @ticket seq_cst, align 8
  %now = lshr i64 %again, 32
  %nothing = icmp eq i64 %now, %known
  br i1 %nothing, label %wait, label %woken
wait:
  call i32 @pthread_cond_wait(ptr @wake, ptr @wake_mutex)
  br label %check
woken:
  %s1 = atomicrmw sub ptr @sleepers, i32 1 seq_cst
  call i32 @pthread_mutex_unlock(ptr @wake_mutex)
  br label %watch
end:
  ret ptr null
}

; Start the threads that are wanted and not there yet. Where the system gives no more, there are fewer.
define internal void @start() {
entry:
  %ticket = load atomic i64, ptr @ticket seq_cst, align 8
  %job = lshr i64 %ticket, 32
  %first = inttoptr i64 %job to ptr
  %wanted = load i64, ptr @wanted
  br label %more
more:
  %n = load i64, ptr @workers
  %fewer = icmp slt i64 %n, %wanted
  br i1 %fewer, label %create, label %end
create:
  %slot = getelementptr [MAX x i64], ptr @threads, i64 0, i64 %n
  %failed = call i32 @pthread_create(ptr %slot, ptr null, ptr @worker, ptr %first)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %created, label %give_up
created:
  %next = add i64 %n, 1
  store i64 %next, ptr @workers
  call void @forget_processor()
  br label %more
give_up:
  store i64 %n, ptr @wanted
  br label %end
end:
  ret void
}

; Let the next job begin: before this, nobody can take a chunk of it. Its number.
define internal i64 @publish(i64 %chunks) {
  %ticket = load atomic i64, ptr @ticket seq_cst, align 8
  %job = lshr i64 %ticket, 32
  %next = add i64 %job, 1
  %wrapped = and i64 %next, 4294967295
  %upper = shl i64 %wrapped, 32
  %new = or i64 %upper, %chunks
  store atomic i64 %new, ptr @ticket seq_cst, align 8
  ret i64 %wrapped
}

define void @parallel_for(ptr %function, ptr %context, i64 %chunks, i64 %cycles) {
entry:
  %wanted = load i64, ptr @wanted
  %some = icmp sgt i64 %wanted, 0
  %several = icmp sgt i64 %chunks, 1
  %countable = icmp slt i64 %chunks, 4294967296
  %worth = and i1 %some, %several
  %shared = and i1 %worth, %countable
  br i1 %shared, label %claim, label %alone
claim:
  %pair = cmpxchg ptr @busy, i32 0, i32 1 acquire monotonic
  %free = extractvalue { i32, i1 } %pair, 1
  br i1 %free, label %prepare, label %alone
alone:
  call void @run_inline(ptr %function, ptr %context, i64 %chunks)
  ret void
prepare:
  call void @start()
  call void @keep_apart(i64 %cycles)
  store atomic ptr %function, ptr @function monotonic, align 8
  store atomic ptr %context, ptr @context monotonic, align 8
  store atomic i64 %chunks, ptr @remaining seq_cst, align 8
  %job = call i64 @publish(i64 %chunks)
  %asleep = load atomic i32, ptr @sleepers seq_cst, align 4
  %any = icmp ne i32 %asleep, 0
  br i1 %any, label %weigh, label %help
weigh:
  %before = load i64, ptr @missed
  %missed = call i64 @llvm.sadd.sat.i64(i64 %before, i64 %cycles)
  %enough = icmp sge i64 %missed, WAKE
  %kept = select i1 %enough, i64 0, i64 %missed
  store i64 %kept, ptr @missed
  br i1 %enough, label %rouse, label %help
rouse:
  call i32 @pthread_mutex_lock(ptr @wake_mutex)
  %two = icmp eq i64 %chunks, 2
  br i1 %two, label %one, label %all
one:
  call i32 @pthread_cond_signal(ptr @wake)
  br label %roused
all:
  call i32 @pthread_cond_broadcast(ptr @wake)
  br label %roused
roused:
  call i32 @pthread_mutex_unlock(ptr @wake_mutex)
  br label %help
help:
  call void @work(i64 %job)
  br label %watch
watch:
  %count = phi i32 [ 0, %help ], [ %counted, %pause ]
  %left = load atomic i64, ptr @remaining seq_cst, align 8
  %over = icmp eq i64 %left, 0
  br i1 %over, label %release, label %patience
patience:
  %patient = icmp ult i32 %count, SPIN
  br i1 %patient, label %pause, label %sleep
pause:
  PAUSE
  %counted = add i32 %count, 1
  br label %watch
sleep:
  call void @make_room()
  call i32 @pthread_mutex_lock(ptr @done_mutex)
  store atomic i32 1, ptr @waiting seq_cst, align 4
  br label %check
check:
  %rest = load atomic i64, ptr @remaining seq_cst, align 8
  %finished = icmp eq i64 %rest, 0
  br i1 %finished, label %woken, label %wait
wait:
  call i32 @pthread_cond_wait(ptr @done, ptr @done_mutex)
  br label %check
woken:
  store atomic i32 0, ptr @waiting seq_cst, align 4
  call i32 @pthread_mutex_unlock(ptr @done_mutex)
  br label %release
release:
  store atomic i32 0, ptr @busy release, align 4
  ret void
}

; Called once, and in the child after a fork: no thread, no job, nobody waits.
define void @reset(i64 %wanted) {
  store i32 0, ptr @sleepers
  store i32 0, ptr @waiting
  store i32 0, ptr @stop
  store i64 0, ptr @workers
  store i64 %wanted, ptr @wanted
  call i32 @pthread_mutex_init(ptr @wake_mutex, ptr null)
  call i32 @pthread_mutex_init(ptr @done_mutex, ptr null)
  call i32 @pthread_cond_init(ptr @wake, ptr null)
  call i32 @pthread_cond_init(ptr @done, ptr null)
  store atomic i32 0, ptr @busy release, align 4
  ret void
}

; Have at least so many workers, from the next job on.
define void @want(i64 %wanted) {
  %before = atomicrmw max ptr @wanted, i64 %wanted seq_cst
  ret void
}

; End all threads and wait for them. Later jobs are done by their callers.
define void @shut_down() {
entry:
  store i64 0, ptr @wanted
  store atomic i32 1, ptr @stop seq_cst, align 4
  call i64 @publish(i64 0)
  call i32 @pthread_mutex_lock(ptr @wake_mutex)
  call i32 @pthread_cond_broadcast(ptr @wake)
  call i32 @pthread_mutex_unlock(ptr @wake_mutex)
  br label %more
more:
  %n = load i64, ptr @workers
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %join, label %end
join:
  %i = sub i64 %n, 1
  store i64 %i, ptr @workers
  %slot = getelementptr [MAX x i64], ptr @threads, i64 0, i64 %i
  %thread = load i64, ptr %slot
  call i32 @pthread_join(i64 %thread, ptr null)
  br label %more
end:
  ret void
}
"""

_ALONE = """
define void @parallel_for(ptr %function, ptr %context, i64 %chunks, i64 %cycles) {
  call void @run_inline(ptr %function, ptr %context, i64 %chunks)
  ret void
}
define void @reset(i64 %wanted) {
  ret void
}
define void @want(i64 %wanted) {
  ret void
}
define void @shut_down() {
  ret void
}
"""


def _pause() -> str:
    """The instruction that says: this is a loop that waits."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return "call void @llvm.x86.sse2.pause()"
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "call void @llvm.aarch64.hint(i32 1)"  # yield
    return "fence seq_cst"


def text() -> str:
    """The module: `parallel_for`, and `reset`, `want` and `shut_down`, which `pool.py` calls."""
    if sys.platform == "win32":
        return _INLINE + _ALONE
    numbers = {"PAUSE": _pause(), "SPIN": str(SPIN), "WAKE": str(WAKE), "MAX": str(MAX_THREADS)}
    workers = _WORKERS + processors.text()
    for name, value in numbers.items():
        workers = workers.replace(name, value)
    return _STATE + _INLINE + workers
