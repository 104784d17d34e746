from schemas.table import Table, checks, required

HIRES = Table(
    name="hires",
    meaning="Confirmed hires, or the proxy that a mapping declares in their place.",
    grain="date",
    key=("seeker_id", "job_id"),
    partition=("date",),
    columns=(
        required("seeker_id", "bigint", "Who was hired."),
        required("job_id", "bigint", "Into which job."),
        required("hired_ts", "timestamp", "When."),
        required("date", "date", "Slice: the date of hired_ts, not before the mapping's history_start."),
        required("arrived_ts", "timestamp", "When the row reached the board; hired_ts where its source does not say."),
        required("source", "string", "confirmed, or the name of the proxy: interview, reply, apply, move, …"),
        required("weight", "double", "What this row counts for: 1 for a confirmed hire."),
    ),
    checks=checks(weight_positive="weight > 0"),
)
