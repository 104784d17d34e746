"""Which links' node ids each seeker and job carries."""

from schemas.table import Table, required


def _nodes(entity: str) -> Table:
    return Table(
        name=f"{entity}_nodes",
        meaning=f"The node ids that each {entity} carries, as of a date.",
        grain="model",
        key=("model_version", "date", f"{entity}_id"),
        partition=("model_version", "date"),
        columns=(
            required("model_version", "string", "The segment graph."),
            required("date", "date", "Last date of the run's interval: profiles are as of its end."),
            required(f"{entity}_id", "bigint", f"The {entity}."),
            required("nodes", "array<int>", "Node ids, by falling quality."),
        ),
    )


SEEKER_NODES = _nodes("seeker")
JOB_NODES = _nodes("job")
