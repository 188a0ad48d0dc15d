"""What the benchmarks that go through a grid of cells have in common: command, bring-ups, memory, page, figures.

A benchmark says what is its own in a `benchmarks.grid.command.Grid`: its cells, how one is measured, its page.
"""
