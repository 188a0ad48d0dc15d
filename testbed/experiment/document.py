"""A YAML file as plain data that still knows its lines.

YAML is read as version 1.2 reads it: only ``true`` and ``false`` are booleans, so ``no`` and ``on`` are names like
any other, and keys are always text. Mappings with the same key twice are refused, as are tags and merge keys,
which an experiment has no use for.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from testbed.errors import InputError
from testbed.experiment.problems import raise_all

Step = str | int
Steps = tuple[Step, ...]

MAX_BYTES = 1 << 20
"""A larger file is not an experiment."""
MAX_NODES = 100_000
"""Values after aliases are followed; a few lines of nested aliases would fill the memory otherwise."""


@dataclass
class Document:
    """A file's content and the place of each of its values.

    Attributes:
        path: The file. data: Its content as dicts, lists, strings, numbers, booleans and None.
        places: Where each value was written: ``file:line`` or ``--set key=value``, by path in ``data``.
    """

    path: Path
    data: dict[str, Any]
    places: dict[Steps, str] = field(default_factory=dict)

    def where(self, path: Steps) -> str:
        """The place of the value, or of the nearest enclosing one that was written."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return str(self.path)

    def problem(self, path: Steps, message: str, **details: str | None) -> InputError:
        """An `InputError` placed at that value."""
        return InputError(message, where=self.where(path), **details)

    def rendered(self) -> str:
        """The content as YAML again, in the order it was written."""
        return yaml.dump(self.data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def read(path: str | Path) -> Document:
    """Read a file whose content is a mapping.

    Raises:
        InputError: It cannot be read, is no YAML, or is no mapping.
    """
    path = Path(path)
    text = _text(path)
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _syntax_error(path, text, error) from None
    except RecursionError:
        raise InputError("this is nested too deeply to be an experiment", where=f"{path}:1") from None
    if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
        raise InputError(
            "the file is empty",
            wanted="an experiment: sites, cloud, devices, links, workload",
            where=f"{path}:1",
            remedy="start from topologies/smoke.yaml",
        )
    if not isinstance(root, yaml.MappingNode):
        raise InputError(
            "the file is not a mapping",
            wanted="keys such as 'sites:' and 'devices:' at the top",
            found=_kind(root),
            where=f"{path}:{root.start_mark.line + 1}",
            remedy="start from topologies/smoke.yaml",
        )
    reader = _Reader(path)
    data = reader.value(root, ())
    raise_all(reader.problems)
    return Document(path, data, reader.places)


def parse_value(text: str, where: str) -> Any:
    """A single value in YAML, as in ``--set key=value``.

    Raises:
        InputError: It is no YAML.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        problem = getattr(error, "problem", None)
        raise InputError(
            "the value is not YAML", found=text, where=where, remedy=problem or "put quotes around it"
        ) from None
    if root is None:
        return None
    reader = _Reader(Path(where), fixed=where)
    value = reader.value(root, ())
    raise_all(reader.problems)
    return value


class _Loader(yaml.SafeLoader):
    """Splits text into YAML nodes, with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (PyYAML's way)


class _Dumper(yaml.SafeDumper):
    """Writes YAML that both YAML 1.1 and our reader read back as it was."""

    yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeDumper.yaml_implicit_resolvers.items()}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True


_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_CORE = (
    ("null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", re.compile(rf"(?:{_INT.pattern})$"), list("-+0123456789")),
    ("float", re.compile(rf"(?:{_FLOAT.pattern})$"), list("-+0123456789.")),
)
for _name, _pattern, _first in _CORE:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, _first)
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, _first)


class _Reader:
    """Turns YAML nodes into plain data and remembers lines."""

    def __init__(self, path: Path, fixed: str | None = None) -> None:
        self.path = path
        self.fixed = fixed
        self.places: dict[Steps, str] = {}
        self.problems: list[InputError] = []
        self._count = 0
        self._open: set[int] = set()

    def value(self, node: yaml.Node, path: Steps) -> Any:
        self.places.setdefault(path, self._place(node))
        self._count += 1
        if self._count > MAX_NODES or id(node) in self._open:
            what = "contains itself" if id(node) in self._open else "grows beyond any experiment through aliases"
            raise InputError(f"this value {what}", where=self._place(node), remedy="write it without '*' aliases")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
            return self._scalar(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Steps) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(key_node, "a key must be a word", found=_kind(key_node))
                continue
            key = str(key_node.value)
            if key == "<<" and key_node.style is None:
                self._report(key_node, "merge keys ('<<') are not read", remedy="write the keys out")
                continue
            if key in result:
                self._report(
                    key_node,
                    f"{key!r} is there twice",
                    found=f"first at {self.places[*path, key]}",
                    remedy="give one of them another name" if path else "join the two sections",
                )
                continue
            self.places[*path, key] = self._place(key_node)
            result[key] = self.value(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.Node) -> Any:
        text = str(node.value)
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if _INT.fullmatch(text) and len(text) < 400:
                return int(text)
            case "int" | "float" if _FLOAT.fullmatch(text):
                return float(text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf")
                             .replace(".nan", "nan").replace(".NaN", "nan").replace(".NAN", "nan"))  # fmt: skip
            case tag:
                self._report(node, f"the tag {tag!r} is not read here", remedy="leave the tag out")
                return text

    def _place(self, node: yaml.Node) -> str:
        return self.fixed or f"{self.path}:{node.start_mark.line + 1}"

    def _report(self, node: yaml.Node, message: str, **details: str | None) -> None:
        self.problems.append(InputError(message, where=self._place(node), **details))


def _text(path: Path) -> str:
    remedy = None
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise InputError("the file is too large for an experiment", wanted="1 MiB at most", where=str(path))
        return raw.decode("utf-8-sig")
    except FileNotFoundError:
        message, remedy = "there is no such file", _neighbours(path)
    except IsADirectoryError:
        message, remedy = "this is a directory, not an experiment file", _content(path)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(
            "the file is not UTF-8 text",
            found=f"byte {raw[error.start]:#04x}",
            where=f"{path}:{line}",
            remedy="save it as UTF-8",
        ) from None
    except (OSError, ValueError) as error:
        message = f"the file cannot be read ({getattr(error, 'strerror', None) or error})"
    raise InputError(message, wanted="an experiment file (YAML)", where=str(path), remedy=remedy)


def _neighbours(path: Path) -> str | None:
    try:
        names = [p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml")]
    except OSError:
        return f"there is no directory {path.parent}"
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else None


def _content(path: Path) -> str | None:
    names = sorted(str(p) for p in path.glob("*.yaml"))[:5]
    return f"name a file, such as {', '.join(names)}" if names else None


def _syntax_error(path: Path, text: str, error: yaml.YAMLError) -> InputError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        line = mark.line + 1
        if mark.index >= len(text.rstrip()) and getattr(error, "context_mark", None):
            line = error.context_mark.line + 1  # type: ignore[attr-defined]  # what was opened and never closed
    else:
        position = getattr(error, "position", 0)
        line = text[: position if isinstance(position, int) else 0].count("\n") + 1
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    lines = text.splitlines()
    found = lines[line - 1].strip() if line <= len(lines) else "the end of the file"
    if "\t" in (lines[line - 1] if line <= len(lines) else ""):
        remedy = "indent with spaces: YAML takes no tabs"
    elif "document" in str(problem) or "document" in str(getattr(error, "context", "")):
        remedy = "one experiment a file: split it at '---'"
    else:
        remedy = "check colons, quotes, brackets and indentation here and on the line above"
    return InputError(f"this is not YAML: {problem}", found=found[:80], where=f"{path}:{line}", remedy=remedy)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return f"the text {str(node.value)[:60]!r}"
