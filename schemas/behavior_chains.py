from schemas.table import Table, checks, required

BEHAVIOR_CHAINS = Table(
    name="behavior_chains",
    meaning="Each seeker's actions cut into sessions, in order.",
    grain="date",
    key=("chain_id",),
    partition=("date",),
    columns=(
        required("chain_id", "bigint", "Hash of seeker and start."),
        required("seeker_id", "bigint", "The seeker."),
        required("start_ts", "timestamp", "First action."),
        required("end_ts", "timestamp", "Last action."),
        required("date", "date", "Slice: the date on which the chain starts."),
        required("n_actions", "int", "How many actions the chain holds."),
        required(
            "actions",
            "array<struct<job_id:bigint,action:string,event_ts:timestamp,dwell_seconds:double,event_id:string,"
            "arrived_ts:timestamp>>",
            "The actions, by time, then event id.",
        ),
    ),
    checks=checks(ends_after_start="end_ts >= start_ts", not_empty="n_actions >= 1"),
)
