"""Benchmarks of the project against a plain baseline, both timed in one run."""
