"""Benchmarks: podway against what it replaces, paired in one run. ``make bench`` runs them all.

Numbers depend on the machine, so none of this decides a test; `report` keeps the last results in
docs/benchmarks.md together with the machine that they were taken on.
"""
