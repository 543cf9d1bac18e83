"""Operators by name: the registry, presets of equal size, the contract that all keep, and the way to neuraloperator."""
