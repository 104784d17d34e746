"""The planted truth of a sample marketplace, under the ids of the lake. Layout: `jobs.marketplace`."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.channels.queries import as_of_versions


def true_vectors(
    spark: SparkSession, truth: str, entity_ids: DataFrame, cases: DataFrame
) -> tuple[DataFrame, DataFrame]:
    """(query_id, vector) and (job_id, vector): what each case's seeker truly wants then, and what each job truly is.

    Their inner product is the log-odds, up to a constant, with which the market's seekers act. `cases` has
    query_id, seeker_id and as_of_ts.
    """
    ids = {
        kind: entity_ids.where(F.col("kind") == kind).select("external_id", "entity_id") for kind in ("seeker", "job")
    }
    wants = spark.read.parquet(f"{truth}/seeker_latent").withColumnRenamed("user_uuid", "external_id")
    seekers = wants.join(ids["seeker"], "external_id", "inner").select(
        F.col("entity_id").alias("seeker_id"),
        F.col("valid_from").cast("timestamp").alias("valid_from"),
        "latent",
    )
    jobs = spark.read.parquet(f"{truth}/job_latent").withColumnRenamed("posting_ref", "external_id")
    known = cases.select("query_id", "seeker_id", "as_of_ts")
    return (
        as_of_versions(known, seekers, "seeker_id").select("query_id", F.col("latent").alias("vector")),
        jobs.join(ids["job"], "external_id", "inner").select(
            F.col("entity_id").alias("job_id"), F.col("latent").alias("vector")
        ),
    )
