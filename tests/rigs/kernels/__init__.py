"""Kernels in jobs, and the conformance tests that others run on kernels."""
