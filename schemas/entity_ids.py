from schemas.table import Table, checks, required

ENTITY_IDS = Table(
    name="entity_ids",
    meaning="The board's own ids and the int64 that stands for each everywhere else.",
    grain="append",
    key=("kind", "external_id"),
    partition=("kind",),
    columns=(
        required("kind", "string", "What the id names: seeker or job."),
        required("external_id", "string", "The board's id, as text."),
        required("entity_id", "bigint", "Our id: a hash of kind and external id, moved on where two collide."),
    ),
    checks=checks(known_kind="kind IN ('seeker', 'job')", not_negative="entity_id >= 0"),
)
