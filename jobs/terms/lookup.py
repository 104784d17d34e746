"""Texts to terms: surface forms found in tokens, the longest first; else normalised text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window as Over
from pyspark.sql import functions as F

from jobs.terms.fields import PHRASE, TERM, TOKENS, VALUE
from jobs.terms.normalize import plain_of, tokens_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def surface_forms(taxonomy: DataFrame, max_entities: int, max_ngram: int) -> DataFrame:
    """The taxonomy's surfaces as they are looked up: (dictionary, how, form) with their entities.

    A form as a phrase is its tokens, as a value its plain text. Of a form that names more than
    `max_entities`, those are kept whose label it is, then those of whose surfaces the most contain it
    ("delivery driver" names loggers too, but is part of many a surface of light truck drivers), then the
    lesser codes.
    """
    surfaces = taxonomy.select(
        F.col("field").alias("dictionary"),
        "entity",
        tokens_of(F.col("surface")).alias("tokens"),
        plain_of(F.col("surface")).alias("value"),
        (plain_of(F.col("surface")) == plain_of(F.col("label"))).alias("is_label"),
    ).withColumn("phrase", F.array_join("tokens", " "))
    forms = surfaces.unpivot(["dictionary", "entity", "is_label"], ["phrase", "value"], "how", "form")
    grouped = forms.where("form <> ''").groupBy("dictionary", "how", "form", "entity")
    contained = _contained(surfaces, max_ngram)
    ranked = grouped.agg(F.max("is_label").alias("own")).join(
        contained, ["dictionary", "how", "form", "entity"], "left"
    )
    order = [F.col("own").desc_nulls_last(), F.col("n_surfaces").desc_nulls_last(), F.col("entity")]
    over = Over.partitionBy("dictionary", "how", "form").orderBy(*order)
    kept = ranked.withColumn("place", F.row_number().over(over)).where(F.col("place") <= max_entities)
    return kept.groupBy("dictionary", "how", "form").agg(F.sort_array(F.collect_list("entity")).alias("entities"))


def _contained(surfaces: DataFrame, max_ngram: int) -> DataFrame:
    """How many surfaces of each entity contain each run of tokens."""
    runs = F.array_distinct(F.transform(ngrams(F.col("tokens"), max_ngram), lambda run: run["form"]))
    exploded = surfaces.select("dictionary", F.lit(PHRASE).alias("how"), F.explode(runs).alias("form"), "entity")
    return exploded.groupBy("dictionary", "how", "form", "entity").agg(F.count(F.lit(1)).alias("n_surfaces"))


def text_terms(texts: DataFrame, forms: DataFrame, max_ngram: int) -> DataFrame:
    """The terms of each distinct (dictionary, how, text), one row a term: dictionary, how, text, term.

    A text that is empty once normalised, or a phrase without a match, has no row.
    """
    phrases = texts.where(F.col("how") == PHRASE)
    tokens = texts.where(F.col("how") == TOKENS).withColumn("term", F.explode(tokens_of(F.col("text"))))
    values = _values(texts.where(F.col("how") == VALUE), forms)
    terms = texts.where(F.col("how") == TERM).withColumn("term", F.col("text"))
    columns = ["dictionary", "how", "text", "term"]
    found = [_phrases(phrases, forms, max_ngram), tokens, values, terms]
    rows = found[0].select(columns)
    for more in found[1:]:
        rows = rows.unionByName(more.select(columns))
    return rows.distinct()


def _values(values: DataFrame, forms: DataFrame) -> DataFrame:
    """The entity that the whole value names, or else the plain value."""
    form = plain_of(F.col("text"))
    looked_up = values.withColumn("form", form).join(forms, ["dictionary", "how", "form"], "left")
    terms = F.coalesce("entities", F.when(F.col("form") != "", F.array("form")))
    return looked_up.withColumn("term", F.explode(terms))


def _phrases(phrases: DataFrame, forms: DataFrame, max_ngram: int) -> DataFrame:
    """The entities of the surface forms found in each text."""
    spans = phrases.withColumn("tokens", tokens_of(F.col("text")))
    spans = spans.withColumn("span", F.explode(ngrams(F.col("tokens"), max_ngram))).drop("tokens")
    spans = spans.withColumn("form", F.col("span.form"))
    matched = spans.join(forms, ["dictionary", "how", "form"], "inner")
    span = F.struct((-F.col("span.length")).alias("shortness"), F.col("span.start").alias("start"), "entities")
    grouped = matched.groupBy("dictionary", "how", "text").agg(F.collect_list(span).alias("spans"))
    return grouped.withColumn("term", F.explode(F.flatten(longest_first(F.col("spans")))))


def ngrams(tokens: Column, max_ngram: int) -> Column:
    """All runs of 1 to `max_ngram` tokens, as array<struct<start, length, form>>; starts count from 0."""

    def at(start: Column) -> Column:
        longest = F.least(F.lit(max_ngram), F.size(tokens) - start)
        return F.transform(
            F.sequence(F.lit(1), longest),
            lambda length: F.struct(
                start.alias("start"),
                length.alias("length"),
                F.array_join(F.slice(tokens, start + 1, length), " ").alias("form"),
            ),
        )

    starts = F.when(F.size(tokens) > 0, F.sequence(F.lit(0), F.size(tokens) - 1))
    return F.flatten(F.transform(starts, at))


def longest_first(spans: Column) -> Column:
    """The entities of the spans taken: the longest first, of equal ones the leftmost, none that overlap.

    `spans` is array<struct<shortness, start, entities>>, shortness being the length's negative, so that
    sorting the array is the order of taking.
    """
    none = F.filter(spans, lambda span: F.lit(False))

    def take(taken: Column, span: Column) -> Column:
        end = span["start"] - span["shortness"]
        overlaps = F.exists(
            taken, lambda t: (span["start"] < t["start"] - t["shortness"]) & (t["start"] < end)
        )  # fmt: skip
        return F.when(overlaps, taken).otherwise(F.concat(taken, F.array(span)))

    return F.transform(F.aggregate(F.array_sort(spans), none, take), lambda span: span["entities"])
