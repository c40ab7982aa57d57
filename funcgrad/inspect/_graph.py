"""Programs as counts and as drawings."""

from __future__ import annotations

from collections import Counter

from ..core.ir import Jaxpr, Literal, Var, subjaxprs

__all__ = ["dot", "primitive_counts"]


def primitive_counts(jaxpr: Jaxpr) -> Counter[str]:
    """How often each primitive stands in a jaxpr, the bodies of loops, branches and calls included, each counted once.

    >>> import numpy as np
    >>> from funcgrad import make_jaxpr
    >>> primitive_counts(make_jaxpr(lambda x: np.sin(x) * np.sin(2.0 * x))(np.ones(3)))
    Counter({'sin': 2, 'mul': 2})
    """
    counts: Counter[str] = Counter()
    for eqn in jaxpr.eqns:
        counts[eqn.primitive.name] += 1
        for body in subjaxprs(eqn.params):
            counts.update(primitive_counts(body))
    return counts


def dot(jaxpr: Jaxpr) -> str:
    """A jaxpr as a graph in Graphviz' language: inputs, equations with the user's line as a tooltip, results; the body of a
    loop, a branch or a call is a box.

    >>> import numpy as np
    >>> from funcgrad import make_jaxpr
    >>> print(dot(make_jaxpr(lambda x: 2.0 * x)(np.ones(3))))  # doctest: +ELLIPSIS
    digraph fn {
      node [shape=box, fontname=monospace];
      n0 [label="f64[3]", shape=ellipse];
      n1 [label="mul 2.0", tooltip="..."];
      n0 -> n1 [label="f64[3]"];
      n2 [label="result 0", shape=ellipse];
      n1 -> n2 [label="f64[3]"];
    }
    """
    lines = ["digraph fn {", "  node [shape=box, fontname=monospace];"]
    _Drawing(lines).draw(jaxpr, "  ")
    return "\n".join([*lines, "}"])


class _Drawing:
    """Nodes and edges, numbered through."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.count = 0
        self.clusters = 0

    def node(self, label: str, pad: str, **attributes: str) -> str:
        name = f"n{self.count}"
        self.count += 1
        more = "".join(f", {k}={v}" for k, v in attributes.items())
        self.lines.append(f"{pad}{name} [label={_quoted(label)}{more}];")
        return name

    def draw(self, jaxpr: Jaxpr, pad: str) -> None:
        places: dict[Var, str] = {}
        for v in [*jaxpr.constvars, *jaxpr.invars]:
            places[v] = self.node(str(v.aval), pad, shape="ellipse")
        for eqn in jaxpr.eqns:
            literals = [str(a.value) for a in eqn.inputs if isinstance(a, Literal)]
            hint = eqn.source.describe() if eqn.source is not None else ""
            name = self.node(" ".join([eqn.primitive.name, *literals]), pad, tooltip=_quoted(hint))
            for a in eqn.inputs:
                if isinstance(a, Var):
                    self.lines.append(f'{pad}{places[a]} -> {name} [label="{a.aval}"];')
            places.update(dict.fromkeys(eqn.outputs, name))
            for body in subjaxprs(eqn.params):
                self.lines.append(f"{pad}subgraph cluster_{self.clusters} {{")
                self.clusters += 1
                self.lines.append(f"{pad}  label={_quoted(f'{eqn.primitive.name} {name}: {body.name}')};")
                self.draw(body, pad + "  ")
                self.lines.append(f"{pad}}}")
        for i, a in enumerate(jaxpr.outs):
            name = self.node(f"result {i}" + (f": {a.value}" if isinstance(a, Literal) else ""), pad, shape="ellipse")
            if isinstance(a, Var):
                self.lines.append(f'{pad}{places[a]} -> {name} [label="{a.aval}"];')


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
