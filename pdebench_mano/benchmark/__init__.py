"""Benchmarks: suites of cases, run and resumed; the published records; what operators there are and what they cost."""
