"""Darcy flow, -∇·(a ∇u) = f on the unit square with u = 0 on its boundary: scheme, solvers, solvers on a GPU."""
