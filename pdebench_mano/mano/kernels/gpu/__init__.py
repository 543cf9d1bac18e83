"""Triton kernels: window attention, and the layers fused around it."""
