"""The ``testbed`` command: one small module a verb."""

from testbed.cli.main import main

__all__ = ["main"]
