"""The thread pool of the LLVM back end: each chunk is done once, whoever asks, however often."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("llvmlite.binding")

from funcgrad import config
from funcgrad_llvm import pool
from funcgrad_llvm.machine import Library

#: `count` adds 1 to the chunk's element; `nested` has the elements of its row counted by another job; `often` starts
#: jobs one after another; `meet` returns when all chunks have been begun, which one thread alone cannot do; `who` writes
#: down which thread does a chunk.
TEXT = """
declare void @parallel_for(ptr, ptr, i64, i64)

define void @count(ptr %context, i64 %chunk) {
  %element = getelementptr i64, ptr %context, i64 %chunk
  %old = load i64, ptr %element
  %new = add i64 %old, 1
  store i64 %new, ptr %element
  ret void
}

define void @nested(ptr %context, i64 %chunk) {
  %start = mul i64 %chunk, 16
  %row = getelementptr i64, ptr %context, i64 %start
  call void @parallel_for(ptr @count, ptr %row, i64 16, i64 20000)
  ret void
}

define void @meet(ptr %context, i64 %chunk) {
entry:
  %before = atomicrmw add ptr %context, i64 1 seq_cst
  %wanted.at = getelementptr i64, ptr %context, i64 1
  %wanted = load i64, ptr %wanted.at
  br label %watch
watch:
  %begun = load atomic i64, ptr %context seq_cst, align 8
  %all = icmp sge i64 %begun, %wanted
  br i1 %all, label %end, label %watch
end:
  ret void
}

declare i64 @pthread_self()
declare i32 @usleep(i32)

; The caller, whose number is given, waits for another thread to have begun, which is stopped for 20 ms.
define void @stop(ptr %context, i64 %chunk) {
entry:
  %self = call i64 @pthread_self()
  %begun.at = getelementptr i64, ptr %context, i64 1
  %caller = load i64, ptr %context
  %own = icmp eq i64 %self, %caller
  br i1 %own, label %watch, label %other
other:
  store atomic i64 1, ptr %begun.at seq_cst, align 8
  call i32 @usleep(i32 20000)
  ret void
watch:
  %begun = load atomic i64, ptr %begun.at seq_cst, align 8
  %both = icmp ne i64 %begun, 0
  br i1 %both, label %end, label %watch
end:
  ret void
}

define void @who(ptr %context, i64 %chunk) {
  %self = call i64 @pthread_self()
  %element = getelementptr i64, ptr %context, i64 %chunk
  store i64 %self, ptr %element
  ret void
}

define void @often(ptr %function, ptr %context, i64 %chunks, i64 %times) {
entry:
  br label %body
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  call void @parallel_for(ptr %function, ptr %context, i64 %chunks, i64 20000)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %times
  br i1 %more, label %body, label %end
end:
  ret void
}
"""


@pytest.fixture(scope="module")
def native():
    """The functions above, by name."""
    library = Library(TEXT, {"parallel_for": pool.address()})
    addresses = {name: library.address(name) for name in ("count", "nested", "meet", "often")}
    often = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)(addresses["often"])
    yield {**addresses, "often": often, "library": library}


@pytest.mark.parametrize("chunks", [0, 1, 2, 3, 64, 1000])
def test_each_chunk_is_done_once(native, chunks):
    counts = np.zeros(chunks + 1, np.int64)
    pool.parallel_for(native["count"], counts.ctypes.data, chunks, 20_000)
    np.testing.assert_array_equal(counts, [1] * chunks + [0])


def test_many_jobs_one_after_another(native):
    counts = np.zeros(7, np.int64)
    native["often"](native["count"], counts.ctypes.data, counts.size, 20_000)
    assert (counts == 20_000).all()


def test_jobs_within_jobs(native):
    counts = np.zeros((32, 16), np.int64)
    native["often"](native["nested"], counts.ctypes.data, 32, 200)
    assert (counts == 200).all()


def test_several_python_threads_at_once(native):
    counts = np.zeros((6, 9), np.int64)

    def work(row):
        native["often"](native["count"], row.ctypes.data, row.size, 5_000)

    threads = [threading.Thread(target=work, args=(row,)) for row in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (counts == 5_000).all()


CHILD = """
import ctypes, os, sys, time
import numpy as np
sys.path.insert(0, {folder!r})
import test_llvm_pool as t
from funcgrad_llvm import pool
from funcgrad_llvm.machine import Library
library = t.Library(t.TEXT, {{"parallel_for": pool.address()}})
def meet(threads, cycles=2**40):
    state = np.array([0, threads], np.int64)
    pool.parallel_for(library.address("meet"), state.ctypes.data, threads, cycles)
    assert state[0] == threads
{body}
print("done")
"""


def run(body: str, threads: str = "4") -> subprocess.CompletedProcess:
    """A fresh interpreter, since the number of threads is chosen once."""
    code = CHILD.format(folder=os.path.dirname(__file__), body=body)
    environment = {**os.environ, "FUNCGRAD_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)


needs_threads = pytest.mark.skipif(sys.platform == "win32", reason="on Windows jobs are done by their callers")


@needs_threads
def test_as_many_threads_as_asked_for_work_at_the_same_time():
    result = run("assert pool.num_threads() == 4\nmeet(4)\ntime.sleep(0.05)\nmeet(4)\nmeet(3)")
    assert result.stdout == "done\n", result.stderr


@needs_threads
def test_threads_that_sleep_are_woken_for_enough_work():
    """Of the chunks of a small job nobody is woken for, all are done by the caller; small jobs add up."""
    result = run(
        "from funcgrad_llvm.workers import WAKE\n"
        "meet(4)\n"
        "time.sleep(0.2)\n"
        "state = np.zeros(4, np.int64)\n"
        "pool.parallel_for(library.address('who'), state.ctypes.data, 4, WAKE // 2)\n"
        "assert len(set(state)) == 1\n"
        "meet(4, WAKE // 2 + 1)"
    )
    assert result.stdout == "done\n", result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs sets of processors")
@pytest.mark.parametrize("workers", [1, 5])
def test_workers_leave_the_processor_of_the_caller_to_it_if_there_are_enough_others(workers):
    """A caller that was moved says so, but not for a job that is small for so many workers, nor where it may use one only."""
    result = run(
        "from funcgrad_llvm.processors import MOVE\n"
        "tasks = lambda: set(map(int, os.listdir('/proc/self/task')))\n"
        "every, before = os.sched_getaffinity(0), tasks()\n"
        f"meet({workers + 1})\n"
        "workers = tasks() - before\n"
        f"assert len(workers) == {workers}\n"
        "def allowed(cycles):\n"
        "    state = np.zeros(2, np.int64)\n"
        "    pool.parallel_for(library.address('who'), state.ctypes.data, 2, cycles)\n"
        "    (found,) = {frozenset(os.sched_getaffinity(task)) for task in workers}\n"
        "    return found\n"
        "large = MOVE * len(workers)\n"
        "enough = len(every) > len(workers)\n"
        "for here in sorted(every):\n"
        "    os.sched_setaffinity(0, every)\n"
        "    known = allowed(large)\n"
        "    assert known <= every and len(known) == len(every) - enough\n"
        "    os.sched_setaffinity(0, {here})\n"
        "    assert allowed(large) == known\n"
        "    for _ in range(100):\n"  # it may be moved on at any time
        "        os.sched_setaffinity(0, {here})\n"
        "        os.sched_setaffinity(0, every)\n"
        "        assert allowed(large - 1) == known\n"
        "        known = allowed(large)\n"
        "        if known == (every - {here} if enough else every): break\n"
        "    else: raise AssertionError(known)",
        threads=str(workers + 1),
    )
    assert result.stdout == "done\n", result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs sets of processors")
def test_workers_may_use_the_processor_of_a_caller_that_sleeps():
    result = run(
        "import threading\n"
        "before = set(os.listdir('/proc/self/task'))\n"
        "meet(2)\n"
        "(worker,) = set(os.listdir('/proc/self/task')) - before\n"
        "allowed = lambda: os.sched_getaffinity(int(worker))\n"
        "every = os.sched_getaffinity(0)\n"
        "assert len(allowed()) == max(len(every) - 1, 1)\n"
        "state = np.array([threading.get_ident(), 0], np.int64)\n"
        "pool.parallel_for(library.address('stop'), state.ctypes.data, 2, 2**40)\n"
        "assert allowed() == every\n"
        "meet(2)\n"
        "assert len(allowed()) == max(len(every) - 1, 1)",
        threads="2",
    )
    assert result.stdout == "done\n", result.stderr


@needs_threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_of_its_own():
    result = run(
        "meet(4)\n"
        "pid = os.fork()\n"
        "meet(4)\n"
        "if pid == 0: os._exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7"
    )
    assert result.stdout == "done\n", result.stderr


def test_the_interpreter_ends_while_workers_watch_and_while_they_sleep():
    for pause in ("", "time.sleep(0.05)"):
        result = run(f"meet(4)\n{pause}" if sys.platform != "win32" else "")
        assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr


def test_one_thread_needs_no_other():
    result = run("meet(1)\nassert pool.num_threads() == 1", threads="1")
    assert result.stdout == "done\n", result.stderr


@needs_threads
def test_more_threads_are_there_when_more_are_asked_for():
    result = run(
        "meet(2)\n"
        "import funcgrad\n"
        "with funcgrad.config(num_threads=5):\n"
        "    assert pool.num_threads() == 5\n"
        "    pool.address()\n"
        "    meet(5)\n"
        "assert pool.num_threads() == 2",
        threads="2",
    )
    assert result.stdout == "done\n", result.stderr


def test_the_number_of_threads_is_the_setting():
    with config(num_threads=3):
        assert pool.num_threads() == 3
    with pytest.raises(ValueError, match="num_threads is a whole number, 1 or more, not 0"), config(num_threads=0):
        pass


@pytest.mark.slow
@needs_threads
def test_stress():
    """More threads than processors, jobs of every size, pauses in between: no chunk is lost, none is done twice."""
    body = """
import threading
often = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)(library.address("often"))
count, nested = (library.address(n) for n in ("count", "nested"))
def work(seed):
    rng = np.random.default_rng(seed)
    for _ in range(300):
        chunks, times = int(rng.integers(1, 40)), int(rng.integers(1, 200))
        counts = np.zeros((chunks, 16), np.int64)
        often(nested, counts.ctypes.data, chunks, times)
        assert (counts == times).all()
        if rng.random() < 0.2:
            time.sleep(rng.random() * 1e-3)
    ok.append(seed)
ok = []
threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
for t in threads: t.start()
for t in threads: t.join()
assert len(ok) == 3
"""
    result = run(body, threads="7")
    assert result.stdout == "done\n", result.stderr
