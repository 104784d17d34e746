"""Standardised attributes of seekers and jobs, by profile version."""

from schemas.table import Table, required


def _terms(entity: str) -> Table:
    return Table(
        name=f"{entity}_terms",
        meaning=f"The terms of each {entity} version under a taxonomy version.",
        grain="date",
        key=(f"{entity}_id", "valid_from", "taxonomy_version"),
        partition=("taxonomy_version", "date"),
        columns=(
            required(f"{entity}_id", "bigint", f"The {entity}."),
            required("valid_from", "timestamp", f"The {entity} version's valid_from."),
            required("date", "date", f"Slice: as in {entity}s."),
            required("taxonomy_version", "string", "The taxonomy that the terms were looked up in."),
            required("terms", "map<string,array<int>>", "Field to term ids, sorted, distinct; empty fields absent."),
        ),
    )


SEEKER_TERMS = _terms("seeker")
JOB_TERMS = _terms("job")
