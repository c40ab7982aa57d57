"""The compiler: from a jaxpr to readable Python source, and to a callable.

``simplify`` takes a jaxpr to a smaller one of the same meaning, ``emit`` writes it as Python for a back end,
``program`` compiles that, and ``to_source`` makes a module of it that runs without funcgrad.
"""
