"""A sample job marketplace: what `jobs/simulate_marketplace.py` writes, and the truth that it plants.

Every number is a hash of the seed, the name of its stream and the ids it is drawn for (`draws`), so that the rows depend
on the configuration alone: not on partitions, machines or order. Shown lists are filled by choosing a bucket of jobs and
a number in it (`inventory`): no seeker is ever joined with all jobs. The market is named by the hash of its configuration.

The board's own tables, in its own words; `examples/demo/mapping.toml` maps them to the contract:

| folder | rows | format |
|---|---|---|
| `users` | savings of a profile | Parquet |
| `postings` | postings and their revisions, all text, lists joined by a bar | CSV with header, quote doubled |
| `companies`, `places` | employers; cities with coordinates | Parquet |
| `activity` | what seekers were shown and did, and employers' answers | Parquet by day of arrival, `received_on` |
| `placements` | hires, some entered twice | Parquet |
| `title_dictionary` | most ways to write a title, every way to write a skill | Parquet |
| `market.json` | `config_hash`, `config`, `rows` by table; written last: without it the folder is not whole | JSON |

The truth, under `truth/`; ids are the board's (`user_uuid`, `posting_ref`), Parquet unless named otherwise:

| name | columns |
|---|---|
| `seeker_latent` | user_uuid, valid_from, latent array<float>, wanted_occupation, wanted_seniority, wanted_region: one row a time of activity; the latest with valid_from at or before an instant holds then, and the first is from the period's start |
| `job_latent` | posting_ref, latent array<float>: for the job's whole life |
| `seekers` | user_uuid, occupation (code), seniority (1 to 5), region, is_new, profile (full, blank, none) |
| `jobs` | posting_ref, occupation, seniority, region, substitute_group, posted_at, closed_at: jobs of a group at most one seniority apart stand in for one another, as far as their fields tell |
| `hire_pairs` | seeker_occupation, seeker_seniority, job_occupation, job_seniority, hire_chance of an application, kind: same and move are planted links, sibling a weak one, dream is applied for and never hired; all other pairs have `hire_else` |
| `bots` | user_uuid |
| `dirt` | table_name, dirt, key (activity_id or posting_ref), day of arrival: one row a dirty row |
| `dirt.json` | table -> kind -> rows and by_day (arrival); late: days of lateness -> clean rows; bots: seekers and rows |
| `behaviour.json` | the numbers that the chances were made from |

The inner product of a seeker's and a job's latent (47 dimensions, `latents`; with --hidden-share 52, `hidden`: a part of
the match that no field tells) is their true affinity. The chance of a view of a shown job is sigmoid(bias + slope * affinity +
position_slope * ln(position) + noise), that of an application after a view sigmoid(bias + slope * affinity + noise): among
the jobs open at an instant, the order by the inner product with the latent that holds then is the oracle's, and no ranking
is better. Bots have no latent, neither have dirty rows' unknown ids.
"""
