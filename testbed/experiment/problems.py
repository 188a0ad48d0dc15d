"""Collecting what is wrong with a file, so that one look at the screen fixes all of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Never

from testbed.errors import InputError

SHOWN = 10
"""Problems reported at once; more would not fit on a screen."""
IN_FULL = 4
"""Problems reported with all that is known of them."""


class InputProblems(InputError):
    """Raised when an experiment file has several problems; ``problems`` holds each, with its place.

    The message and place are those of the first, so that whoever knows only `InputError` shows something true.
    """

    def __init__(self, problems: list[InputError]) -> None:
        first = problems[0]
        super().__init__(
            first.message, wanted=first.wanted, found=first.found, where=first.where, remedy=first.remedy
        )
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """A few problems in full, many in two lines each, so that they fit on a screen; then how many are left."""
        brief = len(self.problems) > IN_FULL
        lines = [_brief(problem) if brief else str(problem) for problem in self.problems[:SHOWN]]
        left = len(self.problems) - SHOWN
        if left > 0:
            lines.append(f"and {left} more")
        return "\n".join(lines)


def _brief(problem: InputError) -> str:
    """The message, and the most useful of what goes with it."""
    line = f"{problem.where}: {problem.message}"
    hint = problem.remedy or (problem.wanted and f"wanted: {problem.wanted}")
    return f"{line}\n  {hint}" if hint else line


def raise_all(problems: list[InputError]) -> None:
    """Raise what was found: nothing, the one problem, or all of them together."""
    unique = list({str(p): p for p in problems}.values())
    if unique:
        _raise(unique)


def _raise(problems: list[InputError]) -> Never:
    raise problems[0] if len(problems) == 1 else InputProblems(problems)


def did_you_mean(word: object, known: Iterable[str]) -> str | None:
    """A remedy that names the closest known word, or None if nothing is near."""
    text = str(word)
    folded = {k.casefold(): k for k in known}
    near = difflib.get_close_matches(text.casefold(), folded, n=1, cutoff=0.6)
    return f"did you mean {folded[near[0]]!r}?" if near else None
