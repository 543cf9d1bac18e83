"""Fields on a grid: what an operator is, the data it learns from, and how its predictions are measured."""
