"""The one error tree of Roambed.

    RoambedError
    +-- InputError          what the user wrote cannot be run (exit 2)
    +-- EnvironmentProblem  this machine cannot do what was asked, as it stands (exit 3)
    |   +-- CapacityError   it asks for more CPU or memory than there is
    +-- EmulationError      a link, limit or container could not be made as asked (exit 4)
    |   +-- NotAppliedError what was set is not what the kernel reads back
    +-- RunError            a run began and could not end as it should (exit 1)
        +-- NodeError       a named node died, ran out of memory or hangs
        +-- WireError       a message that breaks the protocol

Every error says what was wanted, what was found, where, and what to do about it. The command line prints
exactly that, without a traceback, and exits with the class's ``exit_code``.
"""

from __future__ import annotations


class RoambedError(Exception):
    """Root of all errors that Roambed raises on purpose.

    Args:
        message: One sentence: what is wrong.
        wanted: What was asked for or would be valid.
        found: What is there instead.
        where: The place: ``file:line``, a node, a link.
        remedy: What the user can do about it.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        wanted: str | None = None,
        found: str | None = None,
        where: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.wanted = wanted
        self.found = found
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        """All parts, one a line, as they go on screen and into ``summary.json``."""
        lines = [f"{self.where}: {self.message}" if self.where else self.message]
        for label, text in (("wanted", self.wanted), ("found", self.found), ("remedy", self.remedy)):
            if text:
                lines.append(f"  {label + ':':8}{text}")
        return "\n".join(lines)


class InputError(RoambedError):
    """Raised when an experiment file, a trace or an argument cannot be used."""

    exit_code = 2


class EnvironmentProblem(RoambedError):
    """Raised when the machine lacks something: root, an engine, the image, a kernel feature."""

    exit_code = 3


class CapacityError(EnvironmentProblem):
    """Raised when an experiment asks for more CPU or memory than the machine has."""

    exit_code = 2


class EmulationError(RoambedError):
    """Raised when a container, link or limit could not be made as asked."""

    exit_code = 4


class NotAppliedError(EmulationError):
    """Raised when a setting that was applied reads back as something else."""


class RunError(RoambedError):
    """Raised when a run that had begun cannot go on; what was measured is kept."""

    exit_code = 1


class NodeError(RunError):
    """Raised when a node died, ran out of memory or stopped answering."""


class WireError(RunError):
    """Raised when a message does not follow the protocol."""
