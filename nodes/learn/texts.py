"""Texts to classify, as numbers of words.

A text is its first 32 words in small letters; a shorter one is filled up. A number is so many zeros, and a few signs
count as words. The vocabulary is the 1,022 most frequent words of the training part, besides the filling (0) and
whatever else there is (1).
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nodes.errors import InputError
from nodes.learn import keyed
from nodes.learn.reading import Labels, Read, either, existing, hold_out, rows, text_lines
from nodes.policies.designs import WORDS
from nodes.policies.samples import FORMS

Words = tuple[str, ...]
Labelled = tuple[Words, int]

FILLING, UNKNOWN = 0, 1

PACKAGES = (
    "asyncio", "_pydecimal", "email", "http", "importlib", "logging", "mailbox", "multiprocessing", "tarfile",
    "unittest", "urllib", "xml",
)  # fmt: skip
"""Where docstrings are from, in the order of their classes: what every Python from 3.11 on ships enough of."""
PROSE = ("asyncio", "_pydecimal", "turtle", "xml")
"""Where passages are from: packages with many words in docstrings, on matters far apart."""
_NAMED = frozenset(package.strip("_") for package in (*PACKAGES, *PROSE)) | {"decimal"}
"""What would tell the package; left out of the texts."""
_LEAST_WORDS = 4
"""A docstring of fewer says nothing about where it is from."""

_WORD = re.compile(r"[a-z]+|[0-9]+|[!?$£€]")
_LONGEST = 6


def words_of(text: str) -> Words:
    """Words of a text, numbers by their length."""
    return tuple(
        "0" * min(len(word), _LONGEST) if word[0].isdigit() else word for word in _WORD.findall(text.lower())
    )


def vocabulary(texts: Iterable[Words]) -> dict[str, int]:
    """Word to number, the most frequent first; of words as frequent the first in the alphabet."""
    counts = Counter(word for text in texts for word in text)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: UNKNOWN + 1 + rank for rank, word in enumerate(ranked[: WORDS - UNKNOWN - 1])}


def encode(texts: Sequence[Words], numbers: dict[str, int], length: int) -> npt.NDArray[np.int16]:
    """Texts as numbers of words, N x length."""
    encoded = np.full((len(texts), length), FILLING, dtype=np.int16)
    for row, text in zip(encoded, texts, strict=True):
        kept = text[:length]
        row[: len(kept)] = [numbers.get(word, UNKNOWN) for word in kept]
    return encoded


def docstrings(directory: Path | None, seed: int) -> Read:
    """Docstrings of this Python's standard library: which of `PACKAGES` is it from.

    They are read from its source, of which nothing is run. Names of the packages are left out of the texts, and texts
    that are in two packages, or twice in one, count for none or once.
    """
    return _of_this_python()


@cache
def _of_this_python() -> Read:
    return of_library(Path(sysconfig.get_path("stdlib")))


def of_library(library: Path) -> Read:
    """The same, of a library that stands in a directory."""
    form = FORMS["docstrings"]
    unique = _of_one_package(_labelled(library, PACKAGES))
    _enough("docstrings", library, form.train + form.test, len(unique))
    train, test = hold_out(len(unique), "docstrings")
    return _encoded(unique, train[: form.train], test[: form.test], form.shape[0])


def passages(directory: Path | None, seed: int) -> Read:
    """Passages of 32 words from docstrings that have as many: which of `PROSE` is it from.

    A passage begins at every word, so a word is in up to 32 of them. A fifth of the docstrings is held out as a whole;
    of theirs no passage is tested with that stands anywhere in the others.
    """
    return _passages_of_this_python()


@cache
def _passages_of_this_python() -> Read:
    return passages_of(Path(sysconfig.get_path("stdlib")))


def passages_of(library: Path) -> Read:
    """The same, of a library that stands in a directory."""
    form = FORMS["passages"]
    length = form.shape[0]
    whole = [one for one in _of_one_package(_labelled(library, PROSE)) if len(one[0]) >= length]
    ours, held = ([whole[i] for i in part] for part in hold_out(len(whole), "passages"))
    pieces = list(_cut(ours, length))
    known = {text for text, _ in pieces}
    train = _shuffled(_of_one_package(pieces), "passages/train")
    test = _shuffled(_of_one_package(one for one in _cut(held, length) if one[0] not in known), "passages/test")
    _enough("passages to train with", library, form.train, len(train))
    _enough("passages to test with", library, form.test, len(test))
    both = [*train[: form.train], *test[: form.test]]
    return _encoded(both, np.arange(form.train), np.arange(form.train, len(both)), length)


def _cut(texts: Iterable[Labelled], length: int) -> Iterator[Labelled]:
    """All passages of so many words."""
    for text, label in texts:
        for begin in range(len(text) - length + 1):
            yield text[begin : begin + length], label


def _shuffled(texts: Sequence[Labelled], name: str) -> list[Labelled]:
    return [texts[i] for i in keyed.permutation(len(texts), 0, "", name)]


def _of_one_package(texts: Iterable[Labelled]) -> list[Labelled]:
    """Each text once, and none that is of two packages."""
    packages: dict[Words, set[int]] = {}
    for text, label in texts:
        packages.setdefault(text, set()).add(label)
    return [(text, label) for text, (label, *more) in packages.items() if not more]


def _enough(what: str, library: Path, wanted: int, found: int) -> None:
    if found < wanted:
        raise InputError(
            f"this Python's standard library has too few {what}", where=str(library), wanted=f"at least {wanted}",
            found=str(found), remedy="use a Python that came with the source of its library, or another data set",
        )  # fmt: skip


def _labelled(library: Path, packages: Iterable[str]) -> Iterator[Labelled]:
    """All docstrings of packages, with their places in the list."""
    for label, package in enumerate(packages):
        for path in _sources(library, package):
            for text in _docstrings(path):
                yield text, label


def _sources(library: Path, package: str) -> list[Path]:
    module = library / f"{package}.py"
    if module.is_file():
        return [module]
    found = (path for path in (library / package).rglob("*.py") if not {"test", "tests"} & set(path.parts))
    return sorted(found, key=lambda path: path.relative_to(library).parts)


def _docstrings(path: Path) -> Iterator[Words]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            "a file of this Python's standard library cannot be read", where=str(path), found=str(error),
            remedy="install Python again, or use another data set",
        ) from None  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = tuple(word for word in words_of(ast.get_docstring(node) or "") if word not in _NAMED)
            if len(text) >= _LEAST_WORDS:
                yield text


def sms(directory: Path | None, seed: int) -> Read:
    """The SMS Spam Collection (Almeida, Hidalgo and Yamakami, 2011): 0 is ham, 1 is spam."""
    base = existing("sms", directory, "sms")
    names = ("SMSSpamCollection", "sms_spam.tsv")
    path = next((path for name in names if (path := either(base, name, ".xz"))), None)
    if path is None:
        raise InputError(
            "the file of the SMS Spam Collection is missing", where=str(base / names[0]),
            remedy="unpack smsspamcollection.zip there",
        )  # fmt: skip
    read, notes = rows(path, text_lines(path), _message)
    train, test = hold_out(len(read), "sms")
    return _encoded(read, train, test, FORMS["sms"].shape[0])._replace(notes=notes)


def _message(line: str) -> Labelled:
    label, tab, text = line.partition("\t")
    if label not in ("ham", "spam") or not tab:
        raise ValueError(f"not 'ham' or 'spam', a tab and a message: {line[:20]}")
    return words_of(text), int(label == "spam")


def _encoded(texts: Sequence[Labelled], train: Labels, test: Labels, length: int) -> Read:
    words = [text for text, _ in texts]
    y = np.array([label for _, label in texts], dtype=np.int64)
    numbers = vocabulary(words[i] for i in train)
    x = encode(words, numbers, length)
    return Read(x[train], y[train], x[test], y[test])
