"""Transformations of functions on pytrees: what users call."""
