from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.errors import InputError
from nodes.learn import datasets, texts
from nodes.policies.designs import WORDS

WORD = [a + b + c for a in "bcdfg" for b in "aeiou" for c in "klmnp"]


def library(base: Path, each: int = 200) -> Path:
    """A small standard library: modules and packages with docstrings of made-up words."""
    for label, package in enumerate(texts.PACKAGES):
        draw = random.Random(label)
        body = [f'"""The {package.strip("_")} module {label} does."""', "import nothing_that_exists"]
        for i in range(each):
            said = " ".join(draw.choices(WORD, k=8))
            body.append(f'def f{i}():\n    """{said.capitalize()}."""\n')
        if label % 2:
            path = base / f"{package}.py"
        else:
            path = base / package / "__init__.py"
            (base / package / "tests").mkdir(parents=True)
            (base / package / "tests" / "test_it.py").write_text('"""Never read, never read, never read."""\nx = = 1')
        path.write_text("\n".join(body))
    return base


def prose(base: Path, each: int = 200, more: str = "") -> Path:
    """The same with docstrings of 64 words; ``more`` stands before each in a second one."""
    for label, package in enumerate(texts.PROSE):
        draw = random.Random(label)
        body = []
        for i in range(each):
            said = " ".join(draw.choices(WORD, k=64))
            body.append(f'def f{i}():\n    """{said}"""\n')
            if more:
                body.append(f'def g{i}():\n    """{more} {said}"""\n')
        (base / f"{package}.py").write_text("\n".join(body))
    return base


def stretches(rows: np.ndarray[Any, Any]) -> set[bytes]:
    """All runs of eight words: of words drawn at random two texts have none in common."""
    return {row[i : i + 8].tobytes() for row in rows for i in range(row.shape[0] - 7)}


def sms(base: Path, lines: int = 100, name: str = "SMSSpamCollection") -> Path:
    path = base / name
    labels = ["spam", "ham", "ham", "ham"] * lines
    path.write_text("".join(f"{labels[n]}\tHello {WORD[n]}, call 0800{n}!\n" for n in range(lines)))
    return path


def test_words_and_numbers() -> None:
    assert texts.words_of("Don't CALL 08712345678 for £5_000!") == (
        "don", "t", "call", "000000", "for", "£", "0", "000", "!",
    )  # fmt: skip
    assert texts.words_of("¿…— \n") == ()


def test_the_vocabulary_is_of_the_most_frequent_words() -> None:
    numbers = texts.vocabulary([("b", "a", "c"), ("b", "a"), ("b",)])
    assert numbers == {"b": 2, "a": 3, "c": 4}
    many = texts.vocabulary([tuple(f"w{n:05}" for n in range(3000)), ("often", "often")])
    assert len(many) == WORDS - 2
    assert (many["often"], many["w00000"], max(many.values())) == (2, 3, WORDS - 1)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=70), min_size=1, max_size=20), st.randoms())
@settings(max_examples=50, deadline=None)
def test_encoding_keeps_what_it_knows_in_order(said: list[list[str]], draw: random.Random) -> None:
    words = [tuple(text) for text in said]
    numbers = texts.vocabulary(words[: len(words) // 2])
    shuffled = words[: len(words) // 2]
    draw.shuffle(shuffled)
    assert texts.vocabulary(shuffled) == numbers  # whatever the order of the texts
    back = {n: word for word, n in numbers.items()}
    encoded = texts.encode(words, numbers, 32)
    assert encoded.shape == (len(words), 32)
    for row, text in zip(encoded, words, strict=True):
        kept = text[:32]
        assert all(n == texts.FILLING for n in row[len(kept) :])
        for n, word in zip(row, kept, strict=False):
            assert back.get(int(n)) == word or (n == texts.UNKNOWN and word not in numbers)


def test_docstrings_of_the_running_python() -> None:
    data, again = datasets.load("docstrings"), datasets.load("docstrings", seed=9)
    assert data.digest() == again.digest()  # it is what it is, whatever the experiment's seed
    assert data.train_x.dtype == np.int16
    assert (data.train_x.min(), data.train_x.max()) == (0, WORDS - 1)
    assert (data.mean, data.std, data.classes) == ((), (), 12)
    assert Counter(data.train_y.tolist()).most_common(1)[0][1] < 0.2 * len(data.train_y)
    known = (data.test_x > texts.UNKNOWN).sum() / (data.test_x > texts.FILLING).sum()
    assert known > 0.75


def test_a_docstring_counts_once_and_does_not_name_its_package(tmp_path: Path) -> None:
    base = library(tmp_path)
    data = texts.of_library(base)
    assert len(data.train_y) == 1800
    rows = {bytes(row) for row in np.concatenate([data.train_x, data.test_x])}
    # All words are known, so two equal rows would be two equal texts.
    assert len(rows) == 2250
    path = base / "tarfile" / "__init__.py" if (base / "tarfile").is_dir() else base / "tarfile.py"
    more = '\ndef g():\n    """Nowhere said, urllib, ever before."""\n'
    path.write_text(path.read_text().replace("module", "mailbox module") + more)
    other = base / "xml.py" if (base / "xml.py").is_file() else base / "xml" / "__init__.py"
    other.write_text(other.read_text() + '\ndef g():\n    """Nowhere said, before!"""\n')
    found = list(texts._docstrings(path))
    assert not [word for text in found for word in text if word in ("mailbox", "urllib", "tarfile")]
    assert len(found) == len(set(found))


def test_a_library_with_too_little(tmp_path: Path) -> None:
    for base, remedy in ((tmp_path / "nowhere", "source of its library"), (library(tmp_path, 150), "another data set")):
        with pytest.raises(InputError, match="too few docstrings") as caught:
            texts.of_library(base)
        assert caught.value.where == str(base)
        assert remedy in str(caught.value.remedy)


def test_passages_of_the_running_python() -> None:
    data, again = datasets.load("passages"), datasets.load("passages", seed=9)
    assert data.digest() == again.digest()
    assert (data.train_x.shape, data.test_x.shape, data.classes) == ((11_200, 32), (1600, 32), len(texts.PROSE))
    assert data.train_x.min() >= texts.UNKNOWN  # no passage is shorter
    assert Counter(data.train_y.tolist()).most_common(1)[0][1] < 0.4 * len(data.train_y)
    assert set(data.test_y.tolist()) == set(range(data.classes))
    assert (data.test_x > texts.UNKNOWN).mean() > 0.8


def test_passages_overlap_and_docstrings_are_held_out_whole(tmp_path: Path) -> None:
    data = texts.passages_of(prose(tmp_path))
    assert (len(data.train_y), len(data.test_y)) == (11_200, 1600)
    assert len({row.tobytes() for row in data.train_x}) == 11_200
    assert len(stretches(data.train_x)) < 11_200 * 25 / 4
    assert not stretches(data.train_x) & stretches(data.test_x)


def test_no_passage_is_tested_with_that_was_trained_with_at_another_place(tmp_path: Path) -> None:
    """A held out docstring may be another one but for its first word: then only passages with that word are new."""
    data = texts.passages_of(prose(tmp_path, each=300, more="before"))
    known = stretches(data.train_x)
    again = [row for row in data.test_x if row[-8:].tobytes() in known]
    assert again
    assert len({row[0] for row in again}) == 1


def test_a_library_with_too_few_passages(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too few passages to train with") as caught:
        texts.passages_of(prose(tmp_path, each=20))
    assert (caught.value.where, caught.value.wanted) == (str(tmp_path), "at least 11200")


def test_a_library_that_does_not_parse(tmp_path: Path) -> None:
    path = library(tmp_path) / "_pydecimal.py"
    for content in (b"def (:\n", b"\0", b"# coding: nonsense\n"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read") as caught:
            texts.of_library(tmp_path)
        assert caught.value.where == str(path)


@pytest.mark.parametrize("name", ["SMSSpamCollection", "sms_spam.tsv"])
def test_sms_as_published(tmp_path: Path, name: str) -> None:
    sms(tmp_path, name=name)
    data = datasets.load("sms", tmp_path)
    assert (len(data.train_y), len(data.test_y), data.classes, data.notes) == (79, 21, 2, ())
    assert data.train_y.sum() + data.test_y.sum() == 25
    hello = np.bincount(data.train_x[:, 0]).argmax()
    assert (data.train_x[:, 0] == hello).all()
    assert hello in range(2, 6)  # among the most frequent


def test_messages_that_are_none_are_skipped_and_counted(tmp_path: Path) -> None:
    path = sms(tmp_path)
    lines = path.read_text().splitlines()
    lines[3], lines[40] = "ham without a tab", "eggs\thello"
    path.write_text("\n\n".join(lines))
    data = datasets.load("sms", tmp_path)
    assert len(data.train_y) + len(data.test_y) == 98
    assert "2 malformed rows were skipped" in data.notes[0]
    assert f"{path}:7 " in data.notes[0]


def test_files_that_are_no_messages(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SMS Spam Collection is missing") as caught:
        datasets.load("sms", tmp_path)
    assert caught.value.where == str(tmp_path / "SMSSpamCollection")
    path = sms(tmp_path)
    whole = path.read_bytes()
    for content, where in (
        (b"", str(path)), (b"\n \n", str(path)), (whole.replace(b"\t", b" "), f"{path}:1"),
        (whole + b"ham\t\xff\n", f"{path}:101"), (b"\0" * 2000, f"{path}:1"),
    ):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged") as caught:
            datasets.load("sms", tmp_path)
        assert caught.value.where == where
        assert caught.value.remedy
