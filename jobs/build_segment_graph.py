"""Learn from hires which seeker segments are hired into which job segments.

Reads `hires`, `events`, `jobs`, `seeker_terms` and `job_terms` of before the run's `trained_until`; writes the model
version's slice of `segment_links` and its `models` row. A board with few hires gets a version without links.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.artifacts import written_folder
from jobs.channels.jobs_open import is_open, latest_versions
from jobs.errors import SettingsError, nearest
from jobs.figures import Figure
from jobs.graph.drift import hire_quality, link_drift
from jobs.graph.engines import graph_engine
from jobs.graph.hires import NoHires, labelled_pairs
from jobs.graph.inferred import Inference
from jobs.graph.learn import Learnt, finished_graph, learn_links, no_links
from jobs.graph.links import Limits
from jobs.graph.overrides import Overrides, named_overrides, overridden
from jobs.graph.quality import Penalty
from jobs.graph.same import of_each_term
from jobs.graph.segments import fingerprint
from jobs.intervals import DAY, Dates
from jobs.lake import ARTIFACTS, Lake
from jobs.runs import Run, record_trained
from jobs.serving import known
from jobs.settings import BuildSegmentGraph, Template
from jobs.stage import run_stage, say
from jobs.terms.fields import job_fields, seeker_fields
from jobs.terms.version import taxonomy_version
from schemas import EVENTS, HIRES, JOB_TERMS, JOBS, MODELS, SEEKER_TERMS, SEGMENT_LINKS, TERM_DICTIONARY, Table
from schemas.render import spark_schema

MODEL = "segment_graph"


def main(lake: Lake, run: Run) -> None:
    options, engine = run.settings.build_segment_graph, graph_engine(lake.spark)
    say(f"graph engine: {engine.name}")
    check_templates(options.templates)
    hires = looked_back(lake, run, HIRES, "hired_ts").persist()
    n_hires = hires.count()
    run.record("hires", n_hires)
    dictionary = lake.read_or_empty(TERM_DICTIONARY)
    overrides = named_overrides(options.overrides_text, dictionary, options.overrides)
    learnt = no_links(lake.spark)
    seekers, jobs = (known_terms(lake, run, table) for table in (SEEKER_TERMS, JOB_TERMS))
    if n_hires >= options.min_hires:
        events = looked_back(lake, run, EVENTS, "event_ts")
        run.record("hires_drawn_share", no_hires(options).drawn_share(n_hires))
        pairs = labelled_pairs(hires, events, seekers, jobs, run.trained_until, no_hires(options))
        named = [entry.segments for entry in overrides.of("force")]
        learnt = learn_links(pairs, options.templates, limits(options), penalty(options), named)
    final = overridden(of_each_term(learnt, options.templates, jobs), learnt.candidates, overrides)
    links, figures = finished_graph(final, engine, inference(options))
    figures += drift(lake, run, final if links is None else links, learnt)
    figures += quality_of(lake, run, hires, seekers, learnt)
    run.record_all([*learnt.figures, *figures])
    if not learnt.figures:
        say(f"  no link is learnt from {n_hires} hires: they are fewer than min_hires ({options.min_hires})")
    elif links is None:
        say(f"  the version has no links: none explains its {n_hires} hires")
    lake.replace(SEGMENT_LINKS, {"model_version": run.run_id}, version_links(lake, run, links, hires))
    written, read = lake.read(SEGMENT_LINKS, model_version=run.run_id), (HIRES, EVENTS, SEEKER_TERMS, JOB_TERMS)
    path = keep_overrides(lake, run, overrides)
    record_trained(lake, run, MODEL, path=path, fingerprint=fingerprint(written), read=read)


def check_templates(templates: Sequence[Template]) -> None:
    """SettingsError names a template's attribute that seekers, or jobs, cannot have. One that none has is no error.

    Nor can two attributes have the same term whose terms are of different dictionaries.
    """
    sides = {"seeker": seeker_fields(), "job": job_fields()}
    known = {side: {made.field: made.dictionary or made.field for made in fields} for side, fields in sides.items()}
    for number, template in enumerate(templates):
        where = f"build_segment_graph.templates[{number}]"
        for side, field in (("seeker", template.seeker), ("job", template.job)):
            if field not in known[side]:
                raise SettingsError(f"{where}.{side}: unknown attribute {field!r}; {nearest(field, known[side])}")
        own, asked = known["seeker"][template.seeker], known["job"][template.job]
        if template.same and own != asked:
            both = f"a seeker's {template.seeker} ({own}) and a job's {template.job} ({asked})"
            raise SettingsError(f"{where}.same: {both} are of two dictionaries and never the same")


def drift(lake: Lake, run: Run, links: DataFrame, learnt: Learnt) -> list[Figure]:
    """The links against those of the newest version that saw less, and its recall; nothing where there is none."""
    trained = lake.read_or_empty(MODELS).where(F.col("model_name").eqNullSafe(MODEL) & (F.col("event") == "trained"))
    earlier = trained.where(F.col("trained_until") < F.lit(run.trained_until))
    last = earlier.orderBy(F.desc("trained_until"), F.desc("model_version")).first()
    if last is None:
        return []
    version = last["model_version"]
    before = lake.read(SEGMENT_LINKS, model_version=version)
    recall = (last["metrics"] or {}).get("recall")
    return [*link_drift(before, links, learnt.against, version), Figure("recall_before", recall, version)]


def quality_of(lake: Lake, run: Run, hires: DataFrame, seekers: DataFrame, learnt: Learnt) -> list[Figure]:
    """How much of the board the hires tell of, and which of them cannot be."""
    fields = sorted({template.seeker for template in run.settings.build_segment_graph.templates})
    of_templates = F.map_filter("terms", lambda field, _: field.isin(*fields))
    jobs = latest_versions(lake.read_or_empty(JOBS), "job_id", run.trained_until)
    first = run.trained_until - run.settings.training.lookback_days * DAY
    open_jobs = jobs.where(is_open(first, run.trained_until))
    terms = seekers.select("seeker_id", of_templates.alias("terms"))
    return hire_quality(hires, terms, jobs, open_jobs, learnt.hired_terms)


def keep_overrides(lake: Lake, run: Run, overrides: Overrides) -> str | None:
    """Put the file's text beside the version's other files, and its hash in the metrics; None where there is none."""
    if not overrides.text:
        return None
    run.record("overrides", len(overrides.entries), overrides.version)
    with written_folder(run.artifact(MODEL), lake.guard) as folder:
        (folder / "overrides.toml").write_text(overrides.text, encoding="utf-8")
    return f"{ARTIFACTS}/{run.run_id}/{MODEL}"


def looked_back(lake: Lake, run: Run, table: Table, instant: str) -> DataFrame:
    """The rows of before `trained_until`, of the dates that training looks back on."""
    end = run.trained_until.date() + DAY
    first = max(run.history_start, end - run.settings.training.lookback_days * DAY)
    # A history that starts after trained_until has no dates to read.
    rows = known(lake.read_or_empty(table, Dates(min(first, end - DAY), end)), run)
    return rows.where(F.col(instant) < F.lit(run.trained_until))


def known_terms(lake: Lake, run: Run, table: Table) -> DataFrame:
    """The versions of before `trained_until`, however old: one may still hold."""
    rows = lake.read(table, taxonomy_version=taxonomy_version(lake, run))
    return rows.where(F.col("valid_from") < F.lit(run.trained_until))


def no_hires(options: BuildSegmentGraph) -> NoHires:
    return NoHires(
        applied_per_hire=options.applied_per_hire,
        seen_per_hire=options.seen_per_hire,
        random_per_hire=options.random_per_hire,
        within_days=options.no_hire_days,
        market_field=options.market_field,
        min_market=options.min_market,
        max_pairs=options.max_pairs,
        seed=options.seed,
    )


def limits(options: BuildSegmentGraph) -> Limits:
    return Limits(
        min_support=options.min_support,
        max_arity=options.max_arity,
        max_terms=options.max_terms,
        max_meta_links=options.max_meta_links,
        memory=options.memory_mb << 20,
        threads=options.threads,
    )


def penalty(options: BuildSegmentGraph) -> Penalty:
    return Penalty(
        strength=options.l1_strength,
        weakest_strength=options.weakest_strength,
        target_recall=options.target_recall,
        target_links=options.target_links,
        min_quality=options.min_quality,
    )


def inference(options: BuildSegmentGraph) -> Inference:
    return Inference(
        discount=options.inferred_discount, min_shared=options.inferred_shared, max_per_segment=options.inferred_links
    )


def version_links(lake: Lake, run: Run, links: DataFrame | None, hires: DataFrame) -> DataFrame:
    """`links` with the version and what its hires are: confirmed, or the proxies in use."""
    if links is None:
        return lake.spark.createDataFrame([], spark_schema(SEGMENT_LINKS))
    sources = sorted(row["source"] for row in hires.select("source").distinct().collect())
    version = F.lit(run.run_id).alias("model_version")
    return links.select(version, "*", F.lit(", ".join(sources)).alias("hire_source"))


if __name__ == "__main__":
    run_stage("build_segment_graph", main)
