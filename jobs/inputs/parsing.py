"""What a mapping may say in SQL: checked by Spark's own parser, before anything is read.

A query reads declared inputs and nothing else: no command, no path, no table function that opens files, no
script, no Java method, and nothing whose answer changes from one reading to the next (clock, unseeded
random numbers).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from jobs.errors import MappingError, nearest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.inputs.mapping import Mapping

_CATALYST = "org.apache.spark.sql.catalyst.trees.TreeNode"
_TABLE_FUNCTIONS = frozenset(
    ["explode", "explode_outer", "posexplode", "posexplode_outer", "inline", "inline_outer", "stack", "range"]
)
_UNSTEADY = frozenset(
    [
        "current_date",
        "current_timestamp",
        "curdate",
        "now",
        "localtimestamp",
        "current_time",
        "rand",
        "random",
        "randn",
        "uuid",
        "shuffle",
        "randstr",
        "monotonically_increasing_id",
        "spark_partition_id",
        "input_file_name",
    ]
)
# SQL gives these without brackets, where no column is named so.
_CLOCKS = frozenset(["current_date", "current_timestamp", "current_time", "localtimestamp"])
_REFUSED = {
    "ScriptTransformation": "TRANSFORM",
    "RelationTimeTravel": "time travel",
    "NamedStreamingRelation": "STREAM",
    "Sample": "TABLESAMPLE",
}
_NOT_EXPRESSIONS = {
    "org.apache.spark.sql.catalyst.expressions.SubqueryExpression": "a subquery",
    "org.apache.spark.sql.catalyst.analysis.Star": "a star",
    "org.apache.spark.sql.catalyst.expressions.Alias": "AS",
}
_JAVA = frozenset(["reflect", "java_method", "try_reflect"])


def check_sql(spark: SparkSession, mapping: Mapping, where: str = "mapping") -> None:
    """MappingError where a query or an expression of the mapping is not one, or reaches beyond its inputs."""
    for source in mapping.sources:
        place = f"{where}: {source.where}"
        if source.query:
            check_query(spark, source.query, mapping.inputs, f"{place}: query")
        for name in ("arrived", "date_column"):
            if getattr(source, name):
                check_expression(spark, getattr(source, name), f"{place}: {name}")
        for name, expression in source.columns.items():
            check_expression(spark, expression, f"{place}: column {name}")


def check_query(spark: SparkSession, query: str, inputs: Collection[str], where: str) -> set[str]:
    """The inputs that the query names; MappingError unless the text is a query over `inputs`."""
    nodes = list(_nodes(spark, _parsed(spark, query, where, "parseQuery", "a SELECT")))
    withs = [_parts(spark, node.cteRelations()) for node in _of(nodes, "UnresolvedWith")]
    own = {str(pair._1()) for pairs in withs for pair in pairs}
    relations = [relation.multipartIdentifier() for relation in _of(nodes, "UnresolvedRelation")]
    for parts in relations:
        name = parts.mkString(".")
        if parts.size() > 1 or name not in {*inputs, *own}:
            raise MappingError(f"{where}: {name!r} is not an input; {nearest(name, inputs)}")
    for function in _of(nodes, "UnresolvedTableValuedFunction"):
        name = function.name().mkString(".").lower()
        if name not in _TABLE_FUNCTIONS:
            raise MappingError(f"{where}: table function {name} is refused: a query reads declared inputs only")
    for kind, what in _REFUSED.items():
        if _of(nodes, kind):
            raise MappingError(f"{where}: {what} is refused: a query reads declared inputs, as they are")
    _check_functions(nodes, where)
    return {parts.mkString(".") for parts in relations} & set(inputs)


def check_expression(spark: SparkSession, text: str, where: str) -> None:
    """MappingError unless the text is one expression over the source's columns."""
    nodes = list(_nodes(spark, _parsed(spark, text, where, "parseExpression", "an expression")))
    for kind, what in _NOT_EXPRESSIONS.items():
        if any(_is(spark, node, kind) for node in nodes):
            raise MappingError(f"{where}: {text!r}: expected an expression, got {what}: write it as the source's query")
    _check_functions(nodes, where)


def _check_functions(nodes: list[Any], where: str) -> None:
    functions = {f.nameParts().mkString(".").lower() for f in _of(nodes, "UnresolvedFunction")}
    for name in sorted(functions & _JAVA):
        raise MappingError(f"{where}: function {name} is refused: a mapping runs no code")
    bare = {a.nameParts().mkString(".").lower() for a in _of(nodes, "UnresolvedAttribute")} & _CLOCKS
    for name in sorted((functions & _UNSTEADY) | bare):
        raise MappingError(f"{where}: {name} is refused: a second reading would give other rows")


def _parsed(spark: SparkSession, text: str, where: str, method: str, expected: str) -> Any:
    from pyspark.errors import ParseException

    parser = spark._jsparkSession.sessionState().sqlParser()
    try:
        return getattr(parser, method)(text)
    except ParseException as error:
        reason = str(error).splitlines()[0]
        raise MappingError(f"{where}: expected {expected}, got {text!r}: {reason}") from None


def _nodes(spark: SparkSession, part: Any) -> Iterator[Any]:
    """Every plan and expression node below `part`, whatever it hangs on: children, lists, options, pairs."""
    if not hasattr(part, "getClass"):
        return
    if _is(spark, part, _CATALYST):
        yield part
    for below in _parts(spark, part):
        yield from _nodes(spark, below)


def _parts(spark: SparkSession, part: Any) -> Iterator[Any]:
    if _is(spark, part, "scala.collection.Iterable"):
        iterator = part.iterator()
    elif _is(spark, part, "scala.Product"):
        iterator = part.productIterator()
    else:
        return
    while iterator.hasNext():
        yield iterator.next()


def _is(spark: SparkSession, part: Any, kind: str) -> bool:
    from py4j.java_gateway import is_instance_of

    known = (str(part.getClass().getName()), kind)
    if known not in _KINDS:
        _KINDS[known] = bool(is_instance_of(spark.sparkContext._gateway, part, kind))
    return _KINDS[known]


# Which JVM classes are of which kind: a question to the JVM costs a millisecond, and a mapping has
# thousands of nodes.
_KINDS: dict[tuple[str, str], bool] = {}


def _class(node: Any) -> str:
    return str(node.getClass().getSimpleName())


def _of(nodes: list[Any], kind: str) -> list[Any]:
    return [node for node in nodes if _class(node) == kind]
