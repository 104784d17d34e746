from schemas.table import Column, Table, checks, required

SEGMENT_LINKS = Table(
    name="segment_links",
    meaning="Links of the segment graph: which seeker segment is hired into which job segment, and how surely.",
    grain="model",
    key=("model_version", "node_id"),
    partition=("model_version",),
    columns=(
        required("model_version", "string", "The training run that made the link."),
        required("node_id", "int", "The link's id: seekers and jobs that carry it match."),
        required("seeker_segment", "string", "field=term pairs joined by &, sorted."),
        required("job_segment", "string", "field=term pairs joined by &, sorted."),
        required(
            "meta_links",
            "array<struct<seeker_field:string,seeker_term:int,job_field:string,job_term:int>>",
            "The attribute pairs that make the link.",
        ),
        required("n_hires", "double", "Weight of the hires that match it."),
        required("n_no_hires", "double", "Weight of the no-hires that match it."),
        required(
            "quality", "double", "Weight in the L1 logistic regression, or what overrides or inference make of it."
        ),
        required(
            "origin",
            "string",
            "learnt; same: any term on both sides; forced or weighed by overrides; inferred from jobs that hire alike.",
        ),
        required("hire_source", "string", "What the hires are: confirmed, or the proxies in use."),
        Column("component", "bigint", "Connected component of the segment graph."),
        Column("community", "bigint", "Community of the segment graph."),
    ),
    checks=checks(
        not_negative="node_id >= 0", known_origin="origin IN ('learnt', 'same', 'forced', 'weighed', 'inferred')"
    ),
)
