from schemas.table import Table, checks, required

AUDIENCES = Table(
    name="audiences",
    meaning="Whom each promoted open job should reach, of the seekers active before the run.",
    grain="run",
    key=("run_id", "job_id"),
    partition=("run_id",),
    columns=(
        required("run_id", "string", "The run."),
        required("job_id", "bigint", "The promoted job."),
        required("external_job_id", "string", "The board's id of the job."),
        required("asked", "int", "The cap: how many seekers a job reaches at most."),
        required("eligible", "bigint", "Active seekers who share a link with the job and have not met it."),
        required("returned", "int", "How many there are: the lesser of the two above."),
        required(
            "seekers",
            "array<struct<seeker_id:bigint,external_seeker_id:string,score:double,evidence_id:bigint>>",
            "Best first: by band of link quality, then those of the job's region, then by how active they are. "
            "evidence_id is the link's node id.",
        ),
    ),
    checks=checks(returned_in_range="returned <= asked"),
)
