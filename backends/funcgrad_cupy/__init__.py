"""Kernels for NVIDIA's GPUs, and their compiler. The back end on top of them is still to come."""
