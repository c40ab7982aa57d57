"""Products that a scan computes step by step, as one product of all steps.

A product of a slice of ``xs`` with what the loop does not change is computed before the loop, for all steps at once; and
where a carry is only ever added to,

    c_{t+1} = c_t + a_t^T b_t        hence    c_T = c_0 + sum_t a_t^T b_t = c_0 + A^T B,

the factors are stacked, and the sum over the steps becomes a part of the contraction, after the loop. So are computed the
input's share in a recurrent network, and the derivatives in its weights. One large product runs at the speed of the
processor; many small ones, each of them adding to a matrix in memory, do not. Sums are added up in another order.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core.ir import Atom, Eqn, Jaxpr, Var, map_subjaxprs
from ..core.types import Aval
from ..primitives import add, dot_general, reduce_sum

__all__ = ["split_products"]

#: What may be kept in memory for all steps, in bytes.
_MEMORY = 1 << 28


def split_products(jaxpr: Jaxpr) -> Jaxpr:
    """The same program with products taken out of its scans, in bodies of control flow too."""
    found = jaxpr.memo.get("products split")
    if found is None:
        found = jaxpr
        if any(e.primitive.control for e in jaxpr.eqns):
            eqns: list[Eqn] = []
            for eqn in jaxpr.eqns:
                if eqn.primitive.control:
                    eqn = eqn.replace(params=map_subjaxprs(split_products, eqn.params))
                eqns += _Split(eqn).eqns if eqn.primitive.name == "scan" and eqn.params["length"] > 1 else [eqn]
            found = Jaxpr(jaxpr.invars, eqns, jaxpr.outs, jaxpr.constvars, jaxpr.consts, jaxpr.name)
        jaxpr.memo["products split"] = found
    return found


def _bytes(aval: Aval) -> int:
    return aval.size * aval.dtype.itemsize


def _shifted(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + 1 for a in axes)


def _outer_product(term: Eqn, made: dict[Var, Eqn]) -> Eqn:
    """A product of two broadcasts, each along the axes of the other, as the product without contraction that it is."""
    if term.primitive.name != "mul":
        return term
    factors = [made.get(a) if isinstance(a, Var) else None for a in term.inputs]
    spread = [e for e in factors if e is not None and e.primitive.name == "broadcast_in_dim" and e.inputs[0].aval.shape]
    if len(spread) != 2:
        return term
    x, y = sorted(spread, key=lambda e: tuple(e.params["dims"]))
    shapes = (*x.inputs[0].aval.shape, *y.inputs[0].aval.shape)
    axes = (*x.params["dims"], *y.params["dims"])
    if axes != tuple(range(term.outputs[0].aval.ndim)) or shapes != term.outputs[0].aval.shape:
        return term
    params = {"dimension_numbers": (((), ()), ((), ()))}
    return Eqn(dot_general, [x.inputs[0], y.inputs[0]], term.outputs, params, term.source)


class _Split:
    """One scan: the equations before it, the scan that is left, and those after it."""

    def __init__(self, scan: Eqn) -> None:
        self.scan, self.body = scan, scan.params["jaxpr"]
        self.n, self.k, self.length = (scan.params[p] for p in ("num_consts", "num_carry", "length"))
        self.uses: dict[Var, int] = {}
        for a in [*(a for e in self.body.eqns for a in e.inputs), *self.body.outs]:
            if isinstance(a, Var):
                self.uses[a] = self.uses.get(a, 0) + 1
        #: The arrays of all steps, by the variable of a step.
        self.stacked: dict[Var, Atom] = dict(zip(self.body.invars[self.n + self.k :], scan.inputs[self.n + self.k :]))
        self.before: list[Eqn] = []
        self.after: list[Eqn] = []
        self.new_ys: list[Var] = []
        gone = self._take_before() | self._take_after()
        if gone:
            self._write(gone)
            self.eqns = [*self.before, self.scan, *self.after]
        else:
            self.eqns = [scan]

    def _of_all_steps(self, aval: Aval) -> Aval:
        return Aval((self.length, *aval.shape), aval.dtype)

    def _take_before(self) -> set[Eqn]:
        consts = dict(zip(self.body.invars[: self.n], self.scan.inputs[: self.n]))
        gone: set[Eqn] = set()
        for eqn in self.body.eqns:
            if eqn.primitive.name != "dot_general":
                continue
            x, w = eqn.inputs
            (xc, wc), (xb, _) = eqn.params["dimension_numbers"]
            (out,) = eqn.outputs
            whole = self._of_all_steps(out.aval)
            if x not in self.stacked or w not in consts or xb or _bytes(whole) > _MEMORY:
                continue
            stacked = self.stacked[out] = Var(whole)
            params = {"dimension_numbers": ((_shifted(xc), wc), ((), ()))}
            self.before.append(Eqn(dot_general, [self.stacked[x], consts[w]], [stacked], params, eqn.source))
            gone.add(eqn)
        return gone

    def _take_after(self) -> set[Eqn]:
        body, first = self.body, self.n
        made = {v: e for e in body.eqns for v in e.outputs}
        gone: set[Eqn] = set()
        self.summed: dict[int, Eqn] = {}
        sums: list[tuple[int, Eqn, Eqn]] = []
        for i in range(self.k):
            carry, out = body.invars[first + i], body.outs[i]
            total = made.get(out) if isinstance(out, Var) else None
            if total is None or total.primitive.name != "add" or self.uses[total.outputs[0]] != 1:
                continue
            if carry not in total.inputs or self.uses.get(carry) != 1 or carry.aval.dtype.kind != "f":
                continue
            (part,) = [a for a in total.inputs if a is not carry]
            term = made.get(part) if isinstance(part, Var) else None
            if term is not None and self.uses[term.outputs[0]] == 1 and part.aval.shape == carry.aval.shape:
                sums.append((i, total, term))
        # A sum over axes is worth it if what it sums is stacked anyway.
        for i, total, made_by in sorted(sums, key=lambda s: s[2].primitive.name == "reduce_sum"):
            term = _outer_product(made_by, made)
            if (term.primitive.name == "dot_general" and self._product_pays(term)) or (
                term.primitive.name == "reduce_sum" and term.inputs[0] in self.stacked
            ):
                for a in term.inputs:
                    self._stack(a)
                self.summed[i] = term
                gone |= {total, made_by}
        return gone

    def _product_pays(self, term: Eqn) -> bool:
        if any(term.params["dimension_numbers"][1]):
            return False
        fixed = set(self.body.invars[: self.n])
        if any(not isinstance(a, Var) or a in fixed for a in term.inputs):
            return False
        new = sum(_bytes(a.aval) for a in term.inputs if a not in self.stacked)
        return new <= 2 * _bytes(term.outputs[0].aval) and self.length * new <= _MEMORY

    def _stack(self, a: Atom) -> None:
        """Have the loop give the values of all steps of a variable."""
        if isinstance(a, Var) and a not in self.stacked:
            self.stacked[a] = Var(self._of_all_steps(a.aval))
            self.new_ys.append(a)

    def _write(self, gone: set[Eqn]) -> None:
        n, k, body, scan = self.n, self.k, self.body, self.scan
        hoisted = [e.outputs[0] for e in body.eqns if e in gone and e.outputs[0] in self.stacked]
        hoisted = [v for v in hoisted if v not in self.new_ys]
        left = [i for i in range(k) if i not in self.summed]
        invars = [*body.invars[:n], *(body.invars[n + i] for i in left), *body.invars[n + k :], *hoisted]
        outs = [*(body.outs[i] for i in left), *body.outs[k:], *self.new_ys]
        inner = Jaxpr(invars, [e for e in body.eqns if e not in gone], outs, name=body.name)
        inputs = [*scan.inputs[:n], *(scan.inputs[n + i] for i in left), *scan.inputs[n + k :]]
        inputs += [self.stacked[v] for v in hoisted]
        outputs = [*(scan.outputs[i] for i in left), *scan.outputs[k:]]
        outputs += [v for v in (self.stacked[y] for y in self.new_ys) if isinstance(v, Var)]
        self.scan = scan.replace(
            inputs=inputs, outputs=outputs, params=scan.params | {"jaxpr": inner, "num_carry": len(left)}
        )
        for i, term in self.summed.items():
            total = Var(term.outputs[0].aval)
            factors = [self.stacked[a] for a in term.inputs if isinstance(a, Var)]
            if term.primitive.name == "dot_general":
                (xc, yc), _ = term.params["dimension_numbers"]
                numbers = (((0, *_shifted(xc)), (0, *_shifted(yc))), ((), ()))
                self.after.append(Eqn(dot_general, factors, [total], {"dimension_numbers": numbers}, term.source))
            else:
                axes = (0, *_shifted(term.params["axes"]))
                self.after.append(Eqn(reduce_sum, factors, [total], {"axes": axes}, term.source))
            self.after.append(Eqn(add, [scan.inputs[n + i], total], [scan.outputs[i]], {}, term.source))
