"""Notebooks from their sources: each ``NN_name.py`` (jupytext's percent format) is executed and kept as ``NN_name.ipynb``.

    python notebooks/build.py                  # all of them
    python notebooks/build.py 01 03            # those whose names begin so
    python notebooks/build.py --check [01 ...] # execute, and compare with what is kept; write nothing

An assertion that fails in a cell fails both. Built twice, a notebook is the same to the byte: no times, no identifiers of a
kernel, streams in one piece. ``--check`` compares the cells, all text, and which pictures there are, but not their pixels,
which depend on matplotlib's version. The output of a cell tagged ``volatile`` (timings) is not kept.

Needs the extra ``notebooks``.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(source):
    """The notebook of a source, executed where it lies, with this checkout's packages and one thread of BLAS."""
    notebook = jupytext.read(source, fmt="py:percent")
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", record_timing=False, resources={"metadata": {"path": str(HERE)}}
    ).execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i:02}"
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = [] if "volatile" in tags else [_kept(o) for o in _joined(cell.outputs)]
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=4) + "\n"


def _joined(outputs):
    """Without the arbitrary places where a kernel cuts a stream."""
    result = []
    for output in outputs:
        last = result[-1] if result else None
        if last and output.output_type == "stream" == last.output_type and last.name == output.name:
            last.text += output.text
        else:
            result.append(output)
    return result


def _kept(output):
    if output.output_type == "stream" and output.name == "stderr":
        raise ValueError(f"a cell writes to standard error: {output.text}")
    if "image/png" in output.get("data", {}):
        output.data.pop("text/plain", None)
        output.metadata = nbformat.NotebookNode()
    return output


def _comparable(text):
    """What must be equal on every machine."""
    return [
        (
            cell.source,
            [
                (
                    o.get("text"),
                    {kind: None if kind.startswith("image/") else v for kind, v in o.get("data", {}).items()},
                )
                for o in cell.get("outputs", [])
            ],
        )
        for cell in nbformat.reads(text, as_version=4).cells
    ]


def _difference(kept, built):
    """One line on the first cell that differs, None if there is none."""
    before, after = _comparable(kept), _comparable(built)
    if len(before) != len(after):
        return f"{len(after)} cells, and {len(before)} are kept"
    for i, (old, new) in enumerate(zip(before, after)):
        if old != new:
            what = "source" if old[0] != new[0] else "output"
            return f"the {what} of cell {i} differs\n  kept:  {old[what == 'output']}\n  built: {new[what == 'output']}"
    return None


def _build(source, check):
    """(name, what went wrong or None, seconds)."""
    started, target, problem = time.monotonic(), source.with_suffix(".ipynb"), None
    try:
        text = execute(source)
    except (CellExecutionError, ValueError) as error:
        problem = str(error)
    else:
        if not check:
            target.write_text(text, "utf-8")
        elif not target.exists():
            problem = "there is no .ipynb; build it"
        else:
            problem = _difference(target.read_text("utf-8"), text)
    return source.name, problem, time.monotonic() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="beginnings of names; all by default")
    parser.add_argument("--check", action="store_true", help="compare with what is kept, write nothing")
    arguments = parser.parse_args()
    sources = sorted(HERE.glob("[0-9][0-9]_*.py"))
    unknown = [n for n in arguments.names if not any(s.name.startswith(n) for s in sources)]
    if unknown:
        parser.error(f"no notebook begins with {', '.join(unknown)}")
    sources = [s for s in sources if not arguments.names or s.name.startswith(tuple(arguments.names))]

    # Kernels inherit this: the checkout's packages, and no threads that wait for each other.
    paths = [str(HERE.parent), str(HERE.parent / "backends"), os.environ.get("PYTHONPATH", "")]
    os.environ |= {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
    }
    failed = 0
    with ThreadPoolExecutor(2) as pool:
        for name, problem, seconds in pool.map(lambda s: _build(s, arguments.check), sources):
            print(f"{name:45} {seconds:5.1f} s  {'ok' if problem is None else 'FAILED'}", flush=True)
            if problem is not None:
                failed += 1
                print(problem, file=sys.stderr)
    print(f"{len(sources) - failed} of {len(sources)} notebooks are {'as kept' if arguments.check else 'built'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
