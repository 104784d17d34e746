from schemas.table import Table, required

JOB_VECTORS = Table(
    name="job_vectors",
    meaning="The embedding of each job that was open or acted upon, as of a date.",
    grain="model",
    key=("model_version", "date", "job_id"),
    partition=("model_version", "date"),
    columns=(
        required("model_version", "string", "The job embeddings."),
        required("date", "date", "Last date of the run's interval."),
        required("job_id", "bigint", "The job."),
        required("vector", "array<float>", "Unit length; all zero where the model knows nothing of the job."),
        required("is_cold", "boolean", "True where the job had no behaviour in training: features alone."),
    ),
)
