"""Terms and the int32s that stand for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window as Over
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def new_terms(terms: DataFrame, stored: DataFrame, taxonomy: DataFrame) -> DataFrame:
    """Rows of `term_dictionary` for the terms that are not stored, numbered on from each field's last.

    New terms of a field are numbered in the order of their text, by one window a field: bounded by what is
    new. The label is the taxonomy's, else the term itself.
    """
    named = terms.select(F.col("dictionary").alias("field"), "term").distinct()
    new = named.join(stored, ["field", "term"], "left_anti")
    last = stored.groupBy("field").agg(F.max("term_id").alias("last"))
    labels = taxonomy.groupBy("field", F.col("entity").alias("term")).agg(F.min("label").alias("label"))
    place = F.row_number().over(Over.partitionBy("field").orderBy("term"))
    numbered = new.join(F.broadcast(last), "field", "left").withColumn(
        "term_id", (F.coalesce(F.col("last"), F.lit(-1)) + place).cast("int")
    )
    labelled = numbered.join(labels, ["field", "term"], "left")
    return labelled.select("field", "term", "term_id", F.coalesce("label", "term").alias("label"))


def entity_terms(long: DataFrame, terms: DataFrame, dictionary: DataFrame, key: tuple[str, ...]) -> DataFrame:
    """One row an entity version: the key and `terms`, a map from field to sorted, distinct term ids.

    `long` holds the entities' texts, `terms` the terms of each text. Fields without a term are not in the
    map.
    """
    text = ["dictionary", "how", "text"]
    numbers = dictionary.select(F.col("field").alias("dictionary"), "term", "term_id")
    ids = terms.join(numbers, ["dictionary", "term"]).groupBy(*text).agg(F.collect_list("term_id").alias("ids"))
    # an entity without texts has one row of nulls here, and keeps it
    found = long.join(ids, text, "left")
    entry = F.when(F.col("ids").isNotNull(), F.struct("field", "ids"))
    grouped = found.groupBy(*key).agg(F.collect_list(entry).alias("entries"))
    fields = F.array_sort(F.array_distinct(F.col("entries.field")))
    one = F.transform(
        fields,
        lambda field: F.struct(
            field,
            F.array_sort(
                F.array_distinct(
                    F.flatten(
                        F.transform(F.filter("entries", lambda e: e["field"] == field), lambda e: e["ids"]),
                    )
                )
            ),
        ),
    )
    return grouped.select(*key, F.map_from_entries(one).alias("terms"))
