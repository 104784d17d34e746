from schemas.table import Table, checks, required

CANDIDATES = Table(
    name="candidates",
    meaning="The candidate set of each seeker and flow: what a ranker then orders.",
    grain="run",
    key=("run_id", "seeker_id", "flow"),
    partition=("run_id",),
    columns=(
        required("run_id", "string", "The run."),
        required("seeker_id", "bigint", "The seeker."),
        required("external_seeker_id", "string", "The board's id of the seeker."),
        required("flow", "string", "organic or promoted."),
        required("asked", "int", "The flow's quota."),
        required("returned", "int", "How many there are: fewer than asked is a shortfall, never padded."),
        required(
            "candidates",
            "array<struct<job_id:bigint,external_job_id:string,score:double,"
            "why:array<struct<channel:string,rank:int,evidence_id:bigint>>>>",
            "Best first. evidence_id is the link's node id (graph), the nearest acted-on job (chains; -1 where "
            "the seeker's terms alone brought it), or the shared occupation's or region's term id "
            "(terms, popular).",
        ),
    ),
    checks=checks(returned_in_range="returned <= asked"),
)
