from schemas.table import Table, checks, required

CHANNEL_CANDIDATES = Table(
    name="channel_candidates",
    meaning="What each channel brought for each seeker.",
    grain="run",
    key=("run_id", "channel", "flow", "seeker_id"),
    partition=("run_id", "channel"),
    columns=(
        required("run_id", "string", "The run."),
        required("channel", "string", "graph, click_chain, apply_chain, terms or popular."),
        required("flow", "string", "organic or promoted."),
        required("seeker_id", "bigint", "The seeker."),
        required("asked", "int", "How many were asked for."),
        required("eligible", "bigint", "How many jobs passed the channel's terms and were not excluded."),
        required("returned", "int", "How many came back."),
        required(
            "candidates",
            "array<struct<job_id:bigint,score:float>>",
            "Best first. A chain channel's scores fall within each fifty places, where new jobs have their share.",
        ),
    ),
    checks=checks(returned_in_range="returned <= asked AND returned <= eligible"),
)
