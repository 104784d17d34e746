from schemas.table import Column, Table, checks, required

MODELS = Table(
    name="models",
    meaning="What happened to each model version: trained, promoted, withdrawn.",
    grain="append",
    key=("model_name", "model_version", "event"),
    partition=("model_name",),
    columns=(
        required("model_name", "string", "segment_graph or job_embeddings."),
        required("model_version", "string", "The training run that made it."),
        required("event", "string", "trained, promoted or withdrawn."),
        required("event_ts", "timestamp", "When it happened."),
        required("trained_until", "timestamp", "Exclusive end of what it has seen."),
        Column("path", "string", "Where its files lie, relative to the lake; null: its rows are in tables."),
        Column("parent_version", "string", "The version it was warm-started from."),
        Column("data_read", "map<string,bigint>", "Version of each table it was trained on."),
        Column("metrics", "map<string,double>", "What it was judged by."),
        Column("fingerprint", "string", "Hash of its content: vectors of different ones never meet."),
    ),
    checks=checks(known_event="event IN ('trained', 'promoted', 'withdrawn')"),
)
