"""What a function is: a Python callable that declares what it takes, what it gives, and what it needs for that.

A function is stateless: it is handed all that it works on, by digest or by value, and hands back all that is to be
kept. Whoever wants one of their own writes it into a file (docs/serverless-functions.md)::

    from nodes.platform.functions import MIB, Tensors, function

    @function(
        inputs={"weights": Tensors(), "share": float},
        outputs={"weights": Tensors(like="weights"), "zeroed": int},
        memory=96 * MIB,
    )
    def prune(weights, share): ...

No torch here, and no processes: `instance` runs functions, `instances` keeps the processes that they run in.
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from nodes.errors import InputError
from nodes.learn import warming

MIB = 1 << 20
TIME_LIMIT = 60.0
"""Seconds that an invocation may take, where its function does not say."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_REQUIRED: Any = object()
_NO_PLAIN = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
"""Checks for callables that return something else than what is in their ``return``."""

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Tensors:
    """Named arrays, which travel by the digest of their content.

    Attributes:
        named: Type and shape of each by name (``{"w": ("float32", (10, None))}``; None: any length); None: any names.
        like: Of an output: the input whose names, types and shapes it has.
        many: Of an input: any number of such groups, by a name each (the models to be averaged, by owner).
        optional: Whether it may be left out.
    """

    named: Mapping[str, tuple[str, Shape]] | None = None
    like: str = ""
    many: bool = False
    optional: bool = False

    def words(self) -> str:
        """As a person reads it."""
        if self.like:
            return f"tensors like {self.like}"
        if self.named is None:
            return "tensors by name" if self.many else "tensors"
        return ", ".join(f"{name}: {dtype}{_words(shape)}" for name, (dtype, shape) in self.named.items())


@dataclass(frozen=True)
class Value:
    """A plain value of a type that msgspec knows; what has a default may be left out."""

    type: Any
    default: Any = _REQUIRED

    @property
    def optional(self) -> bool:
        """Whether it may be left out."""
        return self.default is not _REQUIRED

    def words(self) -> str:
        """As a person reads it."""
        return str(getattr(self.type, "__name__", self.type))


Port = Tensors | Value


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """A function's declaration in words and numbers: what others need to know before they invoke it.

    ``memory`` is the most that its process may have resident, bytes, Python and libraries included; ``time_limit`` in
    seconds of the experiment.
    """

    name: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    memory: int
    torch: bool
    time_limit: float
    streams: bool


@dataclass(frozen=True)
class Function:
    """A declared function; calling it calls what it was made of.

    Attributes:
        call: Takes every input by its name, ``stream`` where it streams, and where it is paced ``pacer``
            (`nodes.learn.pacing`), which keeps its steps to the unit's speed; returns its outputs by name.
        imports: Modules to be imported before the first invocation, so that this counts as cold start.
        where: ``file:line`` of the callable.
    """

    name: str
    call: Callable[..., Mapping[str, Any]]
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    memory: int
    torch: bool
    time_limit: float
    imports: tuple[str, ...]
    streams: bool
    paced: bool
    where: str

    def __call__(self, *args: Any, **named: Any) -> Mapping[str, Any]:
        """Call it as the plain function that it is."""
        return self.call(*args, **named)

    @property
    def interface(self) -> Interface:
        """The declaration as plain data."""
        return Interface(
            name=self.name,
            inputs={name: port.words() for name, port in self.inputs.items()},
            outputs={name: port.words() for name, port in self.outputs.items()},
            memory=self.memory, torch=self.torch, time_limit=self.time_limit, streams=self.streams,
        )  # fmt: skip

    def prepare(self) -> None:
        """Import what it needs, so that the first invocation finds it there."""
        for module in self.imports:
            importlib.import_module(module)
        if self.torch:
            warming.first_step()
        warming.settle()


def function(
    *,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    memory: int,
    name: str = "",
    torch: bool = False,
    time_limit: float = TIME_LIMIT,
    imports: tuple[str, ...] = (),
    streams: bool = False,
    paced: bool = False,
) -> Callable[[Callable[..., Mapping[str, Any]]], Function]:
    """Declare a function; ports are `Tensors`, `Value`, or simply a type. See `Function` and `Interface`.

    Raises:
        InputError: The declaration contradicts itself, or the callable.
    """

    def declare(call: Callable[..., Mapping[str, Any]]) -> Function:
        code = getattr(call, "__code__", None)
        where = f"{code.co_filename}:{code.co_firstlineno}" if code else ""
        made = Function(
            name=name or getattr(call, "__name__", "").replace("_", "-"), call=call,
            inputs=_ports(inputs, "inputs", where), outputs=_ports(outputs, "outputs", where),
            memory=memory, torch=torch, time_limit=time_limit, imports=imports, streams=streams, paced=paced,
            where=where,
        )  # fmt: skip
        _check(made)
        return made

    return declare


def _ports(given: object, what: str, where: str) -> dict[str, Port]:
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise InputError(
            f"the {what} of a function are declared by name", where=where, found=repr(given),
            wanted='such as {"weights": Tensors(), "share": float}',
        )  # fmt: skip
    ports: dict[str, Port] = {}
    for name, port in given.items():
        made = port if isinstance(port, Tensors | Value) else Value(port)
        if isinstance(made, Value):
            try:
                msgspec.json.schema(made.type)  # it knows what it could not check
            except TypeError:
                raise InputError(
                    f"{name} is declared as what is no type of a value", where=where, found=repr(made.type),
                    wanted="Tensors(...), Value(...), or a type such as int, float, str, dict[str, float]",
                ) from None  # fmt: skip
        ports[name] = made
    return ports


def _check(made: Function) -> None:
    def refuse(message: str, wanted: str, found: object) -> InputError:
        return InputError(f"function {made.name}: {message}", where=made.where, wanted=wanted, found=str(found))

    if not _NAME.fullmatch(made.name):
        raise refuse("that is no name for it", "small letters, digits and hyphens", repr(made.name))
    if type(made.memory) is not int or made.memory <= 0:
        raise refuse("memory", "a number of bytes above 0", made.memory)
    if not isinstance(made.time_limit, int | float) or not 0 < made.time_limit < math.inf:
        raise refuse("time limit", "seconds above 0", made.time_limit)
    for name, port in made.outputs.items():
        if isinstance(port, Tensors) and port.many:
            raise refuse(f"output {name} may not be many", "one group of tensors", port.words())
        if isinstance(port, Tensors) and port.like:
            model = made.inputs.get(port.like)
            if not isinstance(model, Tensors) or model.many:
                raise refuse(f"output {name} is like no input", "the name of an input that is Tensors", port.like)
    given = {*made.inputs, *(("stream",) if made.streams else ()), *(("pacer",) if made.paced else ())}
    try:
        parameters = inspect.signature(made.call).parameters.values()
    except (TypeError, ValueError):
        raise refuse("what is declared is no function", "a callable", made.call) from None
    if any(check(made.call) for check in _NO_PLAIN):
        raise refuse("what is declared is no plain function", "a def that returns its outputs", "async, or a generator")
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    by_place = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
    if by_place:
        raise refuse("it takes by position what it is given by name", "no / among its parameters", ", ".join(by_place))
    wanted = {p.name for p in by_name if p.default is p.empty}
    if wanted - given:
        raise refuse("it takes what it does not declare", ", ".join(sorted(given)), ", ".join(sorted(wanted - given)))
    if not any(p.kind is p.VAR_KEYWORD for p in parameters) and given - {p.name for p in by_name}:
        odd = ", ".join(sorted(given - {p.name for p in by_name}))
        raise refuse("it declares inputs that it does not take", "a parameter for each", odd)


def _words(shape: Shape) -> str:
    return "[" + ", ".join("any" if n is None else str(n) for n in shape) + "]"
