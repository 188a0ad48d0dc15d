from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import InputError
from testbed.experiment.document import Document, parse_value, read


def fault(path):
    with pytest.raises(InputError) as caught:
        read(path)
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "message", "remedy"),
    [
        ("", 1, "empty", "topologies/smoke.yaml"),
        ("# nothing\n", 1, "empty", "topologies/smoke.yaml"),
        ("---\n", 1, "empty", "topologies/smoke.yaml"),
        ("\n- a\n- b\n", 2, "not a mapping", "topologies/smoke.yaml"),
        ("just words\n", 1, "not a mapping", "topologies/smoke.yaml"),
        ("x: 0\na: [1,\nb: 2\n", 2, "not YAML", "brackets"),
        ("a: 1\n\tb: 2\n", 2, "not YAML", "no tabs"),
        ("a: 1\n---\nb: 2\n", 2, "not YAML", "one experiment a file"),
        ("a: *b\n", 1, "not YAML", "check"),
        ("a: \x07\n", 1, "not YAML", "check"),
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is there twice", "join"),
        ("d:\n  x: 1\n  x: 2\n", 3, "'x' is there twice", "another name"),
        ("a: !!python/object/apply:os.system [x]\n", 1, "", None),
        ("a: !!python/name:os.system x\n", 1, "tag", "leave the tag out"),
        ("a: &a {b: 1}\nc: {<<: *a}\n", 2, "merge keys", "write the keys out"),
        ("? [a, b]\n: 1\n", 1, "a key must be a word", None),
        ("a: &a\n  b: *a\n", 1, "contains itself", "alias"),
        ("[" * 5000, 1, "nested too deeply", None),
    ],
)
def test_refused_with_its_line(write, text, line, message, remedy):
    path = write(text=text)
    if text.startswith("a: !!python/object/apply"):  # a sequence with a tag: data stays plain, nothing is called
        assert read(path).data == {"a": ["x"]}
        return
    error = fault(path)
    assert error.where == f"{path}:{line}"
    assert message in error.message
    assert (remedy or "") in (error.remedy or "")


def test_aliases_cannot_fill_the_memory(write):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "grows beyond" in fault(write(text="\n".join(lines))).message


def test_missing_file_names_the_one_that_was_meant(write, tmp_path):
    write(name="smoke.yaml")
    error = fault(tmp_path / "smok.yaml")
    assert error.where == str(tmp_path / "smok.yaml")
    assert "no such file" in error.message
    assert f"did you mean {tmp_path / 'smoke.yaml'}?" == error.remedy


def test_missing_directory(tmp_path):
    assert "there is no directory" in (fault(tmp_path / "nowhere" / "a.yaml").remedy or "")


def test_directory_instead_of_a_file(write, tmp_path):
    path = write()
    error = fault(tmp_path)
    assert "directory" in error.message
    assert str(path) in (error.remedy or "")


def test_not_utf8(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: x\n# Zürich\n".encode("latin-1"))
    error = fault(path)
    assert error.where == f"{path}:2"
    assert error.remedy == "save it as UTF-8"


def test_too_large(tmp_path):
    path = tmp_path / "big.yaml"
    path.write_bytes(b"# " + b"x" * (1 << 20))
    assert "too large" in fault(path).message


def test_a_path_that_no_file_can_have():
    assert "cannot be read" in fault("a\0b.yaml").message


def test_words_of_yaml_1_1_are_names(write):
    """``no`` is Norway, not False; neither are times or old octals numbers."""
    document = read(write(text="no: {at: on}\nyes: off\ny: 1:30\nn: 0o7\n1: 2023-01-01\n"))
    assert document.data == {"no": {"at": "on"}, "yes": "off", "y": "1:30", "n": "0o7", "1": "2023-01-01"}


def test_numbers_and_booleans(write):
    document = read(write(text="[a, b]: x\n".replace("[a, b]", "a") + "b: [1, -2, 1.5, 1e-3, true, ~, '1', .5, 010]\n"))
    assert document.data == {"a": "x", "b": [1, -2, 1.5, 0.001, True, None, "1", 0.5, 10]}


def test_byte_order_mark(tmp_path):
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: x\n")
    assert read(path).data == {"name": "x"}


def test_places(write):
    path = write(text="a:\n  b:\n    - 1\n    - c: 2\nd: &x {e: 1}\nf: *x\n")
    document = read(path)
    lines = {steps: int(document.where(steps).rpartition(":")[2]) for steps in document.places}
    assert lines["a",] == 1
    assert lines["a", "b"] == 2
    assert lines["a", "b", 0] == 3
    assert lines["a", "b", 1, "c"] == 4
    assert document.where(("a", "b", 1, "c", "deeper", 7)) == f"{path}:4"  # the nearest enclosing one


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(
                ["no", "on", "1e3", "1e-3", "0x1", "1:30", "010", "~", "null", "", "true", "20Mbit", "0.1%", "<<", "="]
            ) | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=5,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_rendered_reads_back(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("rendered") / "x.yaml"
    path.write_text(Document(path, data).rendered(), encoding="utf-8")
    assert read(path).data == data


def test_rendered_is_the_same_to_yaml_1_1(tmp_path):
    data = {"no": ["on", "1:30", "1e3", "0x1"], "y": 1e-3}
    assert yaml.safe_load(Document(tmp_path, data).rendered()) == data


def test_values_of_overrides():
    assert parse_value("[a, {b: 1}]", "x") == ["a", {"b": 1}]
    assert parse_value("", "x") is None
    assert parse_value("no", "x") == "no"
    with pytest.raises(InputError) as caught:
        parse_value("[a", "--set k=...")
    assert caught.value.where == "--set k=..."
