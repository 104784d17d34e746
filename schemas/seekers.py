from schemas.table import Column, Table, required

SEEKERS = Table(
    name="seekers",
    meaning="Profile versions: what a seeker's profile said from valid_from until the next version.",
    grain="date",
    key=("seeker_id", "valid_from"),
    partition=("date",),
    columns=(
        required("seeker_id", "bigint", "The seeker."),
        required("external_id", "string", "The board's id of the seeker."),
        required("valid_from", "timestamp", "When this version began to hold."),
        required("date", "date", "Slice: the date of valid_from, not before the mapping's history_start."),
        required("is_backdated", "boolean", "True where valid_from was assumed, not known."),
        Column("titles", "array<string>", "Job titles held, newest first, as written."),
        Column("interests", "array<string>", "Positions the seeker says to look for, as written."),
        Column("skills", "array<string>", "Skills, as written."),
        Column("company", "string", "Present or last employer."),
        Column("industry", "string", "Industry of the present or last position."),
        Column("seniority", "string", "Seniority of the present or last position."),
        Column("education", "string", "Highest education."),
        Column("region", "string", "Local market the seeker lives in."),
        Column("country", "string", "Country the seeker lives in."),
        Column("latitude", "double", "Latitude of home.", "degrees"),
        Column("longitude", "double", "Longitude of home.", "degrees"),
        Column("languages", "array<string>", "Languages spoken."),
        Column("salary_min", "double", "Least salary wanted, in the board's period and currency."),
    ),
)
