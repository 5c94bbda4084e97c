"""Figures, each beside a bound that was measured in the same run: `python -m tests.bench`."""
