"""Conditions on the columns of a table, from text, for pyarrow.

    clip_similarity_vitb32 > 0.3 and nsfw_score_opennsfw2 < 0.1
    width >= 200 and 0.5 <= width / height <= 2
    not (watermark_score > 0.5 or num_faces > 0)
    word_count in [4, 5, 6]

The language is a small part of Python's expressions: columns, numbers and texts,
`+ - * /`, comparisons, `in` and `not in` a list, `and`, `or`, `not`. Nothing is called
and no attribute is read. A comparison with an empty cell is not true, nor is its `not`;
NaN counts as empty.
"""

import ast
import difflib
import functools
import operator
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: pc.add,
    ast.Sub: pc.subtract,
    ast.Mult: pc.multiply,
    ast.Div: pc.divide,
    ast.And: operator.and_,
    ast.Or: operator.or_,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_EMPTY = pc.scalar(None)


def parse_condition(text: str, schema: pa.Schema) -> pc.Expression:
    """Returns a condition as an expression that `pyarrow.Table.filter` takes.

    Raises:
        ValueError: it is no condition, or does not fit the schema's columns.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        expression = _translate(tree, schema)
        # Wrong types show now, not after hours.
        schema.empty_table().filter(expression)
    except (
        SyntaxError,
        TypeError,
        AttributeError,
        OverflowError,
        pa.ArrowException,
    ) as error:
        reason = getattr(error, "msg", "") or str(error).splitlines()[0]
        raise ValueError(f"{text!r} is no condition on a row: {reason}.") from error
    except ValueError as error:
        raise ValueError(f"{text!r} is no condition on a row: {error}") from error
    return expression


def list_columns(text: str) -> list[str]:
    """Returns the columns that a condition names, sorted."""
    tree = ast.parse(text.strip(), mode="eval")
    return sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})


def _translate(node: ast.AST, schema: pa.Schema) -> pc.Expression:
    translate = functools.partial(_translate, schema=schema)
    match node:
        case ast.Name(id=name):
            return _get_column(name, schema)
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return pc.scalar(value)
        case ast.UnaryOp(
            op=ast.USub(), operand=ast.Constant(value=int() | float() as value)
        ):
            return pc.scalar(-value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~translate(operand)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
            sign = 1 if isinstance(op, ast.UAdd) else -1
            return _calculate(ast.Mult(), pc.scalar(sign), translate(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _calculate(op, translate(left), translate(right))
        case ast.BoolOp(op=op, values=values):
            return functools.reduce(_OPERATORS[type(op)], map(translate, values))
        case ast.Compare(left=left, ops=ops, comparators=right):
            pairs = zip([left, *right], ops, right, strict=False)
            parts = [_compare(one, op, other, schema) for one, op, other in pairs]
            return functools.reduce(operator.and_, parts)
    raise ValueError(f"`{ast.unparse(node)}` is not of the language of conditions.")


def _get_column(name: str, schema: pa.Schema) -> pc.Expression:
    if name not in schema.names:
        closest = difflib.get_close_matches(name, schema.names, 1, 0)
        raise ValueError(
            f"there is no column {name!r}. Did you mean {closest[0]!r}? "
            f"Columns: {', '.join(schema.names)}."
        )
    column = pc.field(name)
    return (
        _void_nan(column) if pa.types.is_floating(schema.field(name).type) else column
    )


def _compare(
    left: ast.AST, op: ast.cmpop, right: ast.AST, schema: pa.Schema
) -> pc.Expression:
    value = _translate(left, schema)
    if isinstance(op, ast.In | ast.NotIn):
        # Arrow's own `isin` is false of an empty cell, and so its `not` would be true.
        is_in = pc.if_else(value.is_valid(), value.isin(_read_list(right)), _EMPTY)
        return is_in if isinstance(op, ast.In) else ~is_in
    if type(op) not in _OPERATORS:
        raise ValueError(f"`{ast.unparse(right)}` is compared in a way not known here.")
    return _OPERATORS[type(op)](value, _translate(right, schema))


def _read_list(node: ast.AST) -> list[bool | int | float | str]:
    try:
        items = ast.literal_eval(node)
    except (ValueError, TypeError):  # it holds more than values
        items = None
    if (
        not isinstance(items, list | tuple)
        or not items
        or not all(isinstance(item, bool | int | float | str) for item in items)
    ):
        raise ValueError(
            f"`{ast.unparse(node)}` is no list of numbers or texts, such as [1, 2]."
        )
    return list(items)


def _calculate(op: ast.operator, *values: pc.Expression) -> pc.Expression:
    """Calculates in float64: of integers, a product overflows and 3 / 2 is 1."""
    numbers = (value.cast(pa.float64()) for value in values)
    return _void_nan(_OPERATORS[type(op)](*numbers))  # 0 / 0


def _void_nan(value: pc.Expression) -> pc.Expression:
    return pc.if_else(pc.is_nan(value), _EMPTY, value)
