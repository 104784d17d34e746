from schemas.table import Table, checks, required

JOB_NEIGHBORS = Table(
    name="job_neighbors",
    meaning="The open jobs nearest to each job, as of a date: what a chain channel may be served from.",
    grain="model",
    key=("model_version", "date", "channel", "job_id"),
    partition=("model_version", "date"),
    columns=(
        required("model_version", "string", "The job embeddings."),
        required("date", "date", "Last date of the run's interval."),
        required("channel", "string", "click_chain: every job; apply_chain: those that somebody applied to."),
        required("job_id", "bigint", "The job, open or closed; none whose vector is all zero."),
        required(
            "neighbors",
            "array<struct<job_id:bigint,score:float>>",
            "Nearest first, by cosine: open jobs of its country, itself left out; of any where it has none.",
        ),
    ),
    checks=checks(known_channel="channel IN ('click_chain', 'apply_chain')"),
)
