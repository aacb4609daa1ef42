"""The mutants of a module: cosmic-ray's operators, and one that removes statements."""

from collections.abc import Iterator
from difflib import ndiff
from itertools import count
from typing import Any

from attrs import frozen
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator
from parso.python.tree import Keyword

_OPERATORS = (
    "AddNot",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceContinueWithBreak",
    "ReplaceBreakWithContinue",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_USub",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_Lt_GtE",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_LtE_Gt",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_Gt_LtE",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_GtE_Lt",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBinaryOperator_Mul_Add",
    "ReplaceBinaryOperator_Div_Mul",
    "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceBinaryOperator_Mod_Mul",
    "ReplaceBinaryOperator_Pow_Mul",
    "ExceptionReplacer",
    "NumberReplacer",
    "ZeroIterationForLoop",
)
"""One or two replacements of each operator: cosmic-ray has ten of each comparison, of which most
say the same. Not `|`, which is mostly in annotations, whose mutants can't even be imported."""


@frozen
class Mutant:
    """A changed module."""

    source: str
    line: int
    """Of the first changed line, counted from 1."""
    before: str
    after: str
    """The changed lines, without indentation."""


class RemoveStatement(Operator):  # type: ignore[misc]
    """Puts `pass` in place of a raise, a call, a return, an update or a deletion."""

    _KINDS = ("raise_stmt", "atom_expr", "return_stmt", "del_stmt", "yield_expr")

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Where a simple statement is one of these."""
        if node.type != "simple_stmt":
            return
        statement = node.children[0]
        updates = statement.type == "expr_stmt" and statement.children[1].type == "operator"
        augmented = updates and statement.children[1].value != "="
        if statement.type in self._KINDS or augmented or statement.type == "continue_stmt":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The same line with `pass`."""
        first = node.children[0].get_first_leaf()
        node.children[0] = Keyword("pass", first.start_pos, first.prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[Any, ...]:
        """None: cosmic-ray's own tests read these."""
        return ()


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module's source, one at a time."""
    operators = [get_operator(f"core/{name}")() for name in _OPERATORS]
    seen = {source}
    for operator in (*operators, RemoveStatement()):
        for occurrence in count():
            changed = mutate_code(source, operator, occurrence)
            if changed is None:
                break
            if changed not in seen:
                seen.add(changed)
                yield _mutant(source, changed)


def _mutant(source: str, changed: str) -> Mutant:
    before, after = source.splitlines(), changed.splitlines()
    line = next(n for n, pair in enumerate(zip(before, after, strict=False), 1) if len({*pair}) > 1)
    difference = list(ndiff(before[line - 1 :], after[line - 1 :])) if before != after else []
    removed = [text[2:].strip() for text in difference if text.startswith("- ")]
    added = [text[2:].strip() for text in difference if text.startswith("+ ")]
    return Mutant(changed, line, "\n".join(removed), "\n".join(added))
