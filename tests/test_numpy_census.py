"""Every public callable of NumPy 2: supported by ``funcgrad.numpy``, or left out for a reason given here."""

import inspect
import types

import numpy as np
import pytest

import funcgrad.numpy as fnp

IN_PLACE = "writes into its argument; "
FILES = "reads or writes files or text"
PRINTING = "is about printing"
DTYPES = "is machinery of dtypes and memory: traced values have a dtype, but no memory"
DATES = "is about dates and times, which have no derivative and no primitive"
TEXT = "is a scalar type of text, bytes, objects, dates or records"
ITERATOR = "is an iterator that Python drives element by element"
SETTINGS = "is a setting of NumPy itself: use NumPy's"
SUBCLASS = "makes or is a subclass of ndarray, of which there are none here"
EXTENDED = "has an extended precision that no other back end has"
SYSTEM = "is about the installation of NumPy"

#: What is not supported, and why.
LEFT_OUT = {
    # They change an array; the functional form stands beside the reason.
    "copyto": IN_PLACE + "fnp.where(mask, values, x)",
    "place": IN_PLACE + "x.at[mask].set(values)",
    "put": IN_PLACE + "x.at[i].set(values)",
    "putmask": IN_PLACE + "fnp.where(mask, values, x)",
    **dict.fromkeys(
        ["fromfile", "fromregex", "fromstring", "genfromtxt", "load", "loadtxt", "save", "savetxt", "savez",
         "savez_compressed", "memmap"],
        FILES,
    ),
    **dict.fromkeys(
        ["array2string", "array_repr", "array_str", "base_repr", "binary_repr", "format_float_positional",
         "format_float_scientific", "get_printoptions", "printoptions", "set_printoptions", "info"],
        PRINTING,
    ),
    **dict.fromkeys(
        ["asfortranarray", "frombuffer", "isfortran", "may_share_memory", "mintypecode", "require", "shares_memory",
         "typename", "ufunc"],
        DTYPES,
    ),
    **dict.fromkeys(
        ["busday_count", "busday_offset", "busdaycalendar", "datetime64", "datetime_as_string", "datetime_data",
         "is_busday", "isnat", "timedelta64"],
        DATES,
    ),
    **dict.fromkeys(["bytes_", "character", "flexible", "object_", "record", "str_", "void"], TEXT),
    **dict.fromkeys(["broadcast", "flatiter", "ndenumerate", "ndindex", "nditer", "nested_iters"], ITERATOR),
    **dict.fromkeys(
        ["errstate", "getbufsize", "geterr", "geterrcall", "setbufsize", "seterr", "seterrcall"], SETTINGS
    ),
    **dict.fromkeys(["asmatrix", "bmat", "matrix", "recarray", "poly1d"], SUBCLASS),
    **dict.fromkeys(
        ["clongdouble", "complex256", "complex192", "float128", "float96", "longdouble"], EXTENDED
    ),
    **dict.fromkeys(["get_include", "show_config", "show_runtime", "test"], SYSTEM),
    "fromiter": "takes elements from a Python iterator: fnp.array(list(iterator))",
    "frompyfunc": "makes a ufunc of Python objects: fnp.vectorize maps a function",
    # Removed from NumPy in a version that is allowed here, or about to be.
    "in1d": "is deprecated: fnp.isin",
    "row_stack": "is deprecated: fnp.vstack",
    "trapz": "is deprecated: fnp.trapezoid",
}  # fmt: skip

PUBLIC = sorted(
    name
    for name in {*np.__all__, *(n for n in dir(np) if not n.startswith("_"))} - {"core"}
    if callable(getattr(np, name, None)) and not isinstance(getattr(np, name), types.ModuleType)
    and name != "__array_namespace_info__"
)  # fmt: skip
SUPPORTED = [name for name in PUBLIC if name in fnp.__all__]


@pytest.mark.parametrize("name", PUBLIC)
def test_supported_or_left_out_with_a_reason(name):
    assert (name in fnp.__all__) != (name in LEFT_OUT), (
        f"np.{name} must be in funcgrad.numpy or, with a reason, in LEFT_OUT, and not in both"
    )
    if name in fnp.__all__:
        assert callable(getattr(fnp, name))


def test_the_number_of_functions():
    functions = [name for name in SUPPORTED if not isinstance(getattr(np, name), type)]
    assert len(functions) >= 320


def test_what_is_exported_exists_and_is_documented():
    assert len(set(fnp.__all__)) == len(fnp.__all__)
    for name in fnp.__all__:
        value = getattr(fnp, name)
        if callable(value):
            assert inspect.getdoc(value), f"fnp.{name} has no docstring"


#: Arguments of NumPy's that speak of memory layout, subclasses, other libraries' arrays, or of the signature of ufuncs.
LAYOUT = {"like", "subok", "order", "device", "casting", "signature", "copy", "out", "dtype", "kwargs", "args", "where"}


def parameters(function, *kinds):
    """The names of the parameters of these kinds; None for a function that does not tell."""
    try:
        return {p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds}
    except ValueError:
        return None


#: Arguments that some functions lack, and why.
LACKING = {
    "array": {"ndmax": "is of nested sequences of objects"},
    "einsum_path": {"einsum_call": "is NumPy's own"},
}


@pytest.mark.parametrize("name", [n for n in SUPPORTED if not isinstance(getattr(np, n), (type, np.ufunc))])
def test_the_arguments_have_numpys_names(name):
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    theirs = parameters(getattr(np, name), *named)
    ours = parameters(getattr(fnp, name), inspect.Parameter.POSITIONAL_ONLY, *named)
    if theirs is not None and ours is not None:
        lacking = theirs - ours - LAYOUT - set(LACKING.get(name, ()))
        assert not lacking, f"fnp.{name} lacks NumPy's arguments {sorted(lacking)}"
