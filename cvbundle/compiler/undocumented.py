"""The source of a spec's classes without what documents their fields."""

import ast
import io
import tokenize
from typing import TypeGuard

_MODULE, _WORDS = "cvbundle.spec.about", "about"
_RUN_TIME = "local"
"""The argument of `about` that the trainer uses."""
_DROPPED = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.ENDMARKER)


def without_words(source: bytes, tree: ast.Module) -> bytes:
    """A module's source in which `about(...)` documents nothing.

    A field's `metadata=about("Where runs go.", None, local="CVBUNDLE_OUTPUT_DIR")` becomes
    `metadata=about("", None, local="CVBUNDLE_OUTPUT_DIR")`, and the field is on one line, since a
    formatter breaks lines by the length of the words. Every other byte stays.
    """
    nodes = list(ast.walk(tree))
    imported = (node for node in nodes if isinstance(node, ast.ImportFrom))
    if not any(node.module == _MODULE and _names(node, _WORDS) for node in imported):
        return source
    fields = [node for node in nodes if isinstance(node, ast.AnnAssign)]
    for field in sorted(fields, key=lambda field: field.lineno, reverse=True):
        documented = [node for node in ast.walk(field) if _is_call(node, _WORDS)]
        if documented:
            (call,) = documented
            first, last = _span(source, field)
            begin, end = _span(source, call)
            bare = source[first:begin] + _bare(source, call) + source[end:last]
            source = source[:first] + _on_one_line(bare.decode()).encode() + source[last:]
    return source


def _bare(source: bytes, call: ast.Call) -> bytes:
    """A call of `about` with the arguments that the trainer uses."""
    kept = [_span(source, each) for each in call.keywords if each.arg == _RUN_TIME]
    arguments = [b'""', b"None", *(source[begin:end] for begin, end in kept)]
    return f"{_WORDS}(".encode() + b", ".join(arguments) + b")"


def _names(node: ast.ImportFrom, name: str) -> bool:
    return any(alias.name == name for alias in node.names)


def _is_call(node: ast.AST, name: str) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _span(source: bytes, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
    """The first byte of a node, and the one after its last."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = source.splitlines(keepends=True)
    return (
        sum(map(len, lines[: node.lineno - 1])) + node.col_offset,
        sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset,
    )


def _on_one_line(statement: str) -> str:
    """A statement without line breaks, comments and the trailing commas of calls."""
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(statement).readline)
        if token.type not in _DROPPED
    ]
    text = ""
    calls: list[bool] = []
    """Of each open bracket whether it is a call's: a comma before its end means nothing."""
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else token
        if token.string == "," and calls and calls[-1] and tokens[index + 1].string == ")":
            continue
        is_inside = text.endswith(("(", "[", "{")) or token.string in (")", "]", "}")
        if before.end != token.start and index and not is_inside:
            text += " "
        if token.string in ("(", "[", "{"):
            calls.append(token.string == "(" and before.type == tokenize.NAME)
        elif token.string in (")", "]", "}"):
            calls.pop()
        text += token.string
    return text
