"""Evaluation: errors at any resolution, beside references that need no training, and the record that remembers them."""
