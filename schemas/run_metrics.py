from schemas.table import Column, Table, required

RUN_METRICS = Table(
    name="run_metrics",
    meaning="Every figure that a run wrote about itself: volumes, funnel, coverage, evaluation, seconds.",
    grain="run",
    key=("run_id", "stage", "metric", "label"),
    partition=("run_id", "stage"),
    columns=(
        required("run_id", "string", "The run."),
        required("stage", "string", "The stage that wrote it."),
        required("metric", "string", "What is measured."),
        required("label", "string", "Of what: a channel, a table, a bucket; empty for the whole stage."),
        Column("value", "double", "The figure; null where there was nothing to measure."),
    ),
)
