from schemas.table import Column, Table, required

QUARANTINE = Table(
    name="quarantine",
    meaning="Input rows that broke the contract, each once a reason, with the row as it came.",
    grain="run",
    key=(),
    partition=("run_id",),
    columns=(
        required("run_id", "string", "The run that refused the row."),
        required("table_name", "string", "The contract table it was meant for."),
        required("source", "string", "The mapping's source it came from."),
        required("reason", "string", "Which rule it broke."),
        Column("row_json", "string", "The mapped row, as JSON."),
    ),
)
