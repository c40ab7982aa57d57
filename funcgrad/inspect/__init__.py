"""Seeing: what a program is, what it costs, where its time goes, and what machine it runs on."""

from ._doctor import Doctor, doctor
from ._explain import Explanation, explain
from ._graph import dot, primitive_counts
from ._machine import Roofline, roofline
from ._profile import Profile, profile
from ._residuals import Residual, Residuals, saved_residuals
from ._stepwise import Step

__all__ = [
    "Doctor",
    "Explanation",
    "Profile",
    "Residual",
    "Residuals",
    "Roofline",
    "Step",
    "doctor",
    "dot",
    "explain",
    "primitive_counts",
    "profile",
    "roofline",
    "saved_residuals",
]
