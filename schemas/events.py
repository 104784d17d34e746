from schemas.table import Column, Table, checks, required

SEEKER_ACTIONS = ("impression", "view", "save", "apply", "call", "message", "dismiss")
EMPLOYER_ACTIONS = ("reject", "resume_view", "reply", "interview")
_ACTIONS = ", ".join(f"'{action}'" for action in SEEKER_ACTIONS + EMPLOYER_ACTIONS)

EVENTS = Table(
    name="events",
    meaning="What seekers did with jobs and employers with seekers, once an event id.",
    grain="date",
    key=("event_id",),
    partition=("date",),
    columns=(
        required("event_id", "string", "The board's id of the event."),
        required("seeker_id", "bigint", "The seeker."),
        required("job_id", "bigint", "The job."),
        required("actor", "string", "Who acted: seeker or employer."),
        required("action", "string", "What was done."),
        required("event_ts", "timestamp", "When it was done."),
        required("date", "date", "Slice: the date of event_ts."),
        required("arrived_ts", "timestamp", "When the row reached the board; event_ts where its source does not say."),
        Column("dwell_seconds", "double", "How long a view lasted.", "s"),
        Column("surface", "string", "Where on the board: search, home, mail, …"),
        Column("list_id", "string", "The shown list that the job was in."),
        Column("list_position", "int", "Its position in that list, from 1."),
        Column("flow", "string", "organic or promoted."),
        Column("query", "string", "What the seeker had typed."),
        Column("cost", "double", "What the employer paid, in the board's currency."),
    ),
    checks=checks(
        known_action=f"action IN ({_ACTIONS})",
        known_actor="actor IN ('seeker', 'employer')",
        dwell_not_negative="dwell_seconds >= 0",
        position_from_one="list_position >= 1",
    ),
)
