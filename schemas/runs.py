from schemas.table import Column, Table, checks, required

RUNS = Table(
    name="runs",
    meaning="What happened to each attempt of a run: opened, published, failed.",
    grain="append",
    key=("run_id", "event"),
    partition=("dag",),
    columns=(
        required("dag", "string", "The DAG."),
        required("run_id", "string", "DAG, interval and attempt."),
        required("interval_start", "timestamp", "Inclusive."),
        required("interval_end", "timestamp", "Exclusive."),
        required("attempt", "int", "From 1."),
        required("event", "string", "opened, published or failed."),
        required("event_ts", "timestamp", "When it happened."),
        Column("base_run_id", "string", "The daily run that an hourly run overlays."),
        required("takes_history", "boolean", "True where it takes in the whole history: none was published before."),
        Column("models", "map<string,string>", "Model name to the version frozen for the attempt."),
        Column("settings", "string", "The settings frozen for the attempt, as JSON."),
        Column("mapping", "string", "The mapping frozen for the attempt, as JSON."),
        Column("table_versions", "map<string,bigint>", "read:TABLE and wrote:TABLE to Delta versions."),
        Column("code_version", "string", "Version of this software that opened it."),
        Column("reason", "string", "Why it failed."),
    ),
    checks=checks(
        known_event="event IN ('opened', 'published', 'failed')",
        interval_in_order="interval_end > interval_start",
    ),
)
