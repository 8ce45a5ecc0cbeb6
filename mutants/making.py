"""A module with one thing changed, for each thing that can be.

What is changed into what is mutmut's choice, with two of ours. mutmut itself changes
bodies of functions alone, and no decorated ones: tables, defaults of dataclasses and
properties would go untried.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import libcst as cst
from libcst import matchers as m
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation.mutators import mutation_operators

_LONGEST: Final = 100  # of what a name quotes
_SHORTEST: Final = 16

_BLOCKS: Final = cst.BaseCompoundStatement

_PASSED_OVER: Final = (
    m.Annotation()
    | m.Decorator()
    | m.Call(func=m.Name("len") | m.Name("isinstance") | m.Name("cast"))
    | m.AnnAssign(annotation=m.Annotation(m.Name("TypeAlias")))
    | m.Subscript(value=m.Name("Literal"))
    | m.Assign(targets=[m.AssignTarget(m.Name("__slots__"))])
)
"""For type checkers, or for memory alone; or, as mutmut has it, sure to raise."""


class Mutant(NamedTuple):
    """One change."""

    name: str
    """Where, and from what to what: `Breaker.admit: now < ends -> now <= ends`."""

    line: int
    was: cst.CSTNode
    is_now: cst.CSTNode


class Mutants:
    """All mutants of a module."""

    def __init__(self, source: str) -> None:
        wrapper = MetadataWrapper(cst.parse_module(source))
        self._module = wrapper.module
        self._parents = wrapper.resolve(ParentNodeProvider)
        self._positions = wrapper.resolve(PositionProvider)
        self.all = [*self._named(self._find(self._module))]

    def source(self, mutant: Mutant) -> str:
        """Return the text of the module with the change."""
        changed = self._module.visit(_Change(mutant.was, mutant.is_now))
        assert isinstance(changed, cst.Module)
        return str(changed.code)

    def _find(self, node: cst.CSTNode) -> Iterator[tuple[cst.CSTNode, cst.CSTNode]]:
        if m.matches(node, _PASSED_OVER):
            return
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                yield from ((node, other) for other in operator(node))
        yield from ((node, other) for other in _ours(node))
        for child in node.children:
            yield from self._find(child)

    def _named(
        self, pairs: Iterable[tuple[cst.CSTNode, cst.CSTNode]]
    ) -> Iterator[Mutant]:
        seen = Counter[str]()
        for was, is_now in pairs:
            name = f"{self._scope(was)}: {self._change(was, is_now)}"
            seen[name] += 1
            if seen[name] > 1:  # as the second of its kind there
                name = f"{name} #{seen[name]}"
            yield Mutant(name, self._positions[was].start.line, was, is_now)

    def _scope(self, node: cst.CSTNode) -> str:
        names: list[str] = []
        inner: cst.CSTNode | None = node
        while (inner := self._parents.get(inner)) is not None:
            if isinstance(inner, cst.FunctionDef | cst.ClassDef):
                names.insert(0, inner.name.value)
        return ".".join(names) or "(module)"

    def _change(self, was: cst.CSTNode, is_now: cst.CSTNode) -> str:
        """Quote the change with as much around it as makes sense of it."""
        before, after = self._said(was), self._said(is_now)
        around: cst.CSTNode | None = was
        while len(before) < _SHORTEST or isinstance(around, cst.ComparisonTarget):
            around = self._parents.get(around)
            if around is None or isinstance(around, cst.SimpleStatementLine | _BLOCKS):
                break
            if isinstance(around, cst.BaseExpression | cst.BaseSmallStatement):
                if len(self._said(around)) > _LONGEST:
                    break
                changed = around.visit(_Change(was, is_now))
                before, after = self._said(around), self._said(changed)
        return f"{before} -> {after}"

    def _said(self, node: object) -> str:
        assert isinstance(node, cst.CSTNode)
        if isinstance(node, cst.If | cst.While):
            word = "if" if isinstance(node, cst.If) else "while"
            return f"{word} {self._said(node.test)}"
        said = " ".join(self._module.code_for_node(node).split())
        return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."


def _ours(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Negate a condition, drop a statement: what mutmut does not do."""
    if isinstance(node, cst.If | cst.While):
        negated = cst.UnaryOperation(
            cst.Not(),
            node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()]),
        )
        yield node.with_changes(test=negated)
    if m.matches(node, m.Expr(m.Call() | m.Await()) | m.Del()):
        yield cst.Pass()


class _Change(cst.CSTTransformer):  # type: ignore[misc]  # it stands elsewhere
    def __init__(self, was: cst.CSTNode, is_now: cst.CSTNode) -> None:
        self._was = was
        self._is_now = is_now

    def on_visit(self, node: cst.CSTNode) -> bool:
        return node is not self._was

    def on_leave(
        self, original_node: cst.CSTNode, updated_node: cst.CSTNode
    ) -> cst.CSTNode:
        return self._is_now if original_node is self._was else updated_node
