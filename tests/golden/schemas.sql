CREATE TABLE IF NOT EXISTS delta.`/lake/entity_ids` (
  kind STRING NOT NULL COMMENT 'What the id names: seeker or job.',
  external_id STRING NOT NULL COMMENT 'The board\'s id, as text.',
  entity_id BIGINT NOT NULL COMMENT 'Our id: a hash of kind and external id, moved on where two collide.'
)
USING DELTA
PARTITIONED BY (kind)
COMMENT 'The board\'s own ids and the int64 that stands for each everywhere else.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.constraints.known_kind' = 'coalesce(kind IN (\'seeker\', \'job\'), true)',
  'delta.constraints.not_negative' = 'coalesce(entity_id >= 0, true)'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/seekers` (
  seeker_id BIGINT NOT NULL COMMENT 'The seeker.',
  external_id STRING NOT NULL COMMENT 'The board\'s id of the seeker.',
  valid_from TIMESTAMP NOT NULL COMMENT 'When this version began to hold.',
  date DATE NOT NULL COMMENT 'Slice: the date of valid_from, not before the mapping\'s history_start.',
  is_backdated BOOLEAN NOT NULL COMMENT 'True where valid_from was assumed, not known.',
  titles ARRAY<STRING> COMMENT 'Job titles held, newest first, as written.',
  interests ARRAY<STRING> COMMENT 'Positions the seeker says to look for, as written.',
  skills ARRAY<STRING> COMMENT 'Skills, as written.',
  company STRING COMMENT 'Present or last employer.',
  industry STRING COMMENT 'Industry of the present or last position.',
  seniority STRING COMMENT 'Seniority of the present or last position.',
  education STRING COMMENT 'Highest education.',
  region STRING COMMENT 'Local market the seeker lives in.',
  country STRING COMMENT 'Country the seeker lives in.',
  latitude DOUBLE COMMENT 'Latitude of home.',
  longitude DOUBLE COMMENT 'Longitude of home.',
  languages ARRAY<STRING> COMMENT 'Languages spoken.',
  salary_min DOUBLE COMMENT 'Least salary wanted, in the board\'s period and currency.'
)
USING DELTA
PARTITIONED BY (date)
COMMENT 'Profile versions: what a seeker\'s profile said from valid_from until the next version.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/jobs` (
  job_id BIGINT NOT NULL COMMENT 'The job.',
  external_id STRING NOT NULL COMMENT 'The board\'s id of the job.',
  valid_from TIMESTAMP NOT NULL COMMENT 'When this version began to hold.',
  date DATE NOT NULL COMMENT 'Slice: the date of valid_from, not before the mapping\'s history_start.',
  is_backdated BOOLEAN NOT NULL COMMENT 'True where valid_from was assumed, not known.',
  title STRING COMMENT 'Title, as written.',
  company STRING COMMENT 'Employer.',
  contact_key STRING COMMENT 'Who answers applications: recruiter or mailbox.',
  region STRING COMMENT 'Local market of the job.',
  country STRING COMMENT 'Country of the job.',
  latitude DOUBLE COMMENT 'Latitude of the workplace.',
  longitude DOUBLE COMMENT 'Longitude of the workplace.',
  is_remote BOOLEAN COMMENT 'True where the work can be done from anywhere.',
  skills ARRAY<STRING> COMMENT 'Skills asked for, as written.',
  industry STRING COMMENT 'Industry of the employer.',
  seniority STRING COMMENT 'Seniority asked for.',
  education STRING COMMENT 'Education asked for.',
  employment_type STRING COMMENT 'Full time, part time, contract, …',
  languages ARRAY<STRING> COMMENT 'Languages asked for.',
  licences ARRAY<STRING> COMMENT 'Licences asked for.',
  benefits ARRAY<STRING> COMMENT 'Benefits offered.',
  leave_days DOUBLE COMMENT 'Paid leave.',
  salary_min DOUBLE COMMENT 'Low end of the salary, in salary_period and the board\'s currency.',
  salary_max DOUBLE COMMENT 'High end of the salary.',
  salary_period STRING COMMENT 'hour, day, month or year.',
  description STRING COMMENT 'Description, as written.',
  posted_ts TIMESTAMP COMMENT 'When the job opened; null: always open.',
  closed_ts TIMESTAMP COMMENT 'When the job closed, exclusive; null: not closed.',
  is_promoted BOOLEAN NOT NULL COMMENT 'True where the employer pays for reach.',
  target_applicants INT COMMENT 'How many applicants the employer wants.',
  click_budget DOUBLE COMMENT 'What the employer pays at most, in the board\'s currency.'
)
USING DELTA
PARTITIONED BY (date)
COMMENT 'Job versions: what a posting said from valid_from until the next version.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.constraints.closes_after_opening' = 'coalesce(closed_ts >= posted_ts, true)',
  'delta.constraints.salary_in_order' = 'coalesce(salary_max >= salary_min, true)'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/events` (
  event_id STRING NOT NULL COMMENT 'The board\'s id of the event.',
  seeker_id BIGINT NOT NULL COMMENT 'The seeker.',
  job_id BIGINT NOT NULL COMMENT 'The job.',
  actor STRING NOT NULL COMMENT 'Who acted: seeker or employer.',
  action STRING NOT NULL COMMENT 'What was done.',
  event_ts TIMESTAMP NOT NULL COMMENT 'When it was done.',
  date DATE NOT NULL COMMENT 'Slice: the date of event_ts.',
  arrived_ts TIMESTAMP NOT NULL COMMENT 'When the row reached the board; event_ts where its source does not say.',
  dwell_seconds DOUBLE COMMENT 'How long a view lasted.',
  surface STRING COMMENT 'Where on the board: search, home, mail, …',
  list_id STRING COMMENT 'The shown list that the job was in.',
  list_position INT COMMENT 'Its position in that list, from 1.',
  flow STRING COMMENT 'organic or promoted.',
  query STRING COMMENT 'What the seeker had typed.',
  cost DOUBLE COMMENT 'What the employer paid, in the board\'s currency.'
)
USING DELTA
PARTITIONED BY (date)
COMMENT 'What seekers did with jobs and employers with seekers, once an event id.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.constraints.known_action' = 'coalesce(action IN (\'impression\', \'view\', \'save\', \'apply\', \'call\', \'message\', \'dismiss\', \'reject\', \'resume_view\', \'reply\', \'interview\'), true)',
  'delta.constraints.known_actor' = 'coalesce(actor IN (\'seeker\', \'employer\'), true)',
  'delta.constraints.dwell_not_negative' = 'coalesce(dwell_seconds >= 0, true)',
  'delta.constraints.position_from_one' = 'coalesce(list_position >= 1, true)'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/hires` (
  seeker_id BIGINT NOT NULL COMMENT 'Who was hired.',
  job_id BIGINT NOT NULL COMMENT 'Into which job.',
  hired_ts TIMESTAMP NOT NULL COMMENT 'When.',
  date DATE NOT NULL COMMENT 'Slice: the date of hired_ts, not before the mapping\'s history_start.',
  arrived_ts TIMESTAMP NOT NULL COMMENT 'When the row reached the board; hired_ts where its source does not say.',
  source STRING NOT NULL COMMENT 'confirmed, or the name of the proxy: interview, reply, apply, move, …',
  weight DOUBLE NOT NULL COMMENT 'What this row counts for: 1 for a confirmed hire.'
)
USING DELTA
PARTITIONED BY (date)
COMMENT 'Confirmed hires, or the proxy that a mapping declares in their place.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.constraints.weight_positive' = 'coalesce(weight > 0, true)'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/taxonomy` (
  taxonomy_version STRING NOT NULL COMMENT 'Hash of the taxonomy\'s content.',
  field STRING NOT NULL COMMENT 'The term field that the entity belongs to: occupation, skill, …',
  surface STRING NOT NULL COMMENT 'A way to write it, as written.',
  entity STRING NOT NULL COMMENT 'What it names: a code of the taxonomy.',
  label STRING COMMENT 'How to show the entity to people.'
)
USING DELTA
PARTITIONED BY (taxonomy_version)
COMMENT 'Surface forms and what each names: titles to occupations, spellings to skills.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/quarantine` (
  run_id STRING NOT NULL COMMENT 'The run that refused the row.',
  table_name STRING NOT NULL COMMENT 'The contract table it was meant for.',
  source STRING NOT NULL COMMENT 'The mapping\'s source it came from.',
  reason STRING NOT NULL COMMENT 'Which rule it broke.',
  row_json STRING COMMENT 'The mapped row, as JSON.'
)
USING DELTA
PARTITIONED BY (run_id)
COMMENT 'Input rows that broke the contract, each once a reason, with the row as it came.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/term_dictionary` (
  field STRING NOT NULL COMMENT 'Term field: title, occupation, skill, region, …',
  term STRING NOT NULL COMMENT 'The normalised term, or the taxonomy\'s code.',
  term_id INT NOT NULL COMMENT 'Unique within the field; never reused.',
  label STRING COMMENT 'How to show the term to people.'
)
USING DELTA
PARTITIONED BY (field)
COMMENT 'Terms and the int32 that stands for each in the index and in filters.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.constraints.not_negative' = 'coalesce(term_id >= 0, true)'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/seeker_terms` (
  seeker_id BIGINT NOT NULL COMMENT 'The seeker.',
  valid_from TIMESTAMP NOT NULL COMMENT 'The seeker version\'s valid_from.',
  date DATE NOT NULL COMMENT 'Slice: as in seekers.',
  taxonomy_version STRING NOT NULL COMMENT 'The taxonomy that the terms were looked up in.',
  terms MAP<STRING, ARRAY<INT>> NOT NULL COMMENT 'Field to term ids, sorted, distinct; empty fields absent.'
)
USING DELTA
PARTITIONED BY (taxonomy_version, date)
COMMENT 'The terms of each seeker version under a taxonomy version.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/job_terms` (
  job_id BIGINT NOT NULL COMMENT 'The job.',
  valid_from TIMESTAMP NOT NULL COMMENT 'The job version\'s valid_from.',
  date DATE NOT NULL COMMENT 'Slice: as in jobs.',
  taxonomy_version STRING NOT NULL COMMENT 'The taxonomy that the terms were looked up in.',
  terms MAP<STRING, ARRAY<INT>> NOT NULL COMMENT 'Field to term ids, sorted, distinct; empty fields absent.'
)
USING DELTA
PARTITIONED BY (taxonomy_version, date)
COMMENT 'The terms of each job version under a taxonomy version.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/behavior_chains` (
  chain_id BIGINT NOT NULL COMMENT 'Hash of seeker and start.',
  seeker_id BIGINT NOT NULL COMMENT 'The seeker.',
  start_ts TIMESTAMP NOT NULL COMMENT 'First action.',
  end_ts TIMESTAMP NOT NULL COMMENT 'Last action.',
  date DATE NOT NULL COMMENT 'Slice: the date on which the chain starts.',
  n_actions INT NOT NULL COMMENT 'How many actions the chain holds.',
  actions ARRAY<STRUCT<job_id: BIGINT, action: STRING, event_ts: TIMESTAMP, dwell_seconds: DOUBLE, event_id: STRING, arrived_ts: TIMESTAMP>> NOT NULL COMMENT 'The actions, by time, then event id.'
)
USING DELTA
PARTITIONED BY (date)
COMMENT 'Each seeker\'s actions cut into sessions, in order.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.constraints.ends_after_start' = 'coalesce(end_ts >= start_ts, true)',
  'delta.constraints.not_empty' = 'coalesce(n_actions >= 1, true)'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/segment_links` (
  model_version STRING NOT NULL COMMENT 'The training run that made the link.',
  node_id INT NOT NULL COMMENT 'The link\'s id: seekers and jobs that carry it match.',
  seeker_segment STRING NOT NULL COMMENT 'field=term pairs joined by &, sorted.',
  job_segment STRING NOT NULL COMMENT 'field=term pairs joined by &, sorted.',
  meta_links ARRAY<STRUCT<seeker_field: STRING, seeker_term: INT, job_field: STRING, job_term: INT>> NOT NULL COMMENT 'The attribute pairs that make the link.',
  n_hires DOUBLE NOT NULL COMMENT 'Weight of the hires that match it.',
  n_no_hires DOUBLE NOT NULL COMMENT 'Weight of the no-hires that match it.',
  quality DOUBLE NOT NULL COMMENT 'Weight in the L1 logistic regression, or what overrides or inference make of it.',
  origin STRING NOT NULL COMMENT 'learnt; same: any term on both sides; forced or weighed by overrides; inferred from jobs that hire alike.',
  hire_source STRING NOT NULL COMMENT 'What the hires are: confirmed, or the proxies in use.',
  component BIGINT COMMENT 'Connected component of the segment graph.',
  community BIGINT COMMENT 'Community of the segment graph.'
)
USING DELTA
PARTITIONED BY (model_version)
COMMENT 'Links of the segment graph: which seeker segment is hired into which job segment, and how surely.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.constraints.not_negative' = 'coalesce(node_id >= 0, true)',
  'delta.constraints.known_origin' = 'coalesce(origin IN (\'learnt\', \'same\', \'forced\', \'weighed\', \'inferred\'), true)'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/seeker_nodes` (
  model_version STRING NOT NULL COMMENT 'The segment graph.',
  date DATE NOT NULL COMMENT 'Last date of the run\'s interval: profiles are as of its end.',
  seeker_id BIGINT NOT NULL COMMENT 'The seeker.',
  nodes ARRAY<INT> NOT NULL COMMENT 'Node ids, by falling quality.'
)
USING DELTA
PARTITIONED BY (model_version, date)
COMMENT 'The node ids that each seeker carries, as of a date.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/job_nodes` (
  model_version STRING NOT NULL COMMENT 'The segment graph.',
  date DATE NOT NULL COMMENT 'Last date of the run\'s interval: profiles are as of its end.',
  job_id BIGINT NOT NULL COMMENT 'The job.',
  nodes ARRAY<INT> NOT NULL COMMENT 'Node ids, by falling quality.'
)
USING DELTA
PARTITIONED BY (model_version, date)
COMMENT 'The node ids that each job carries, as of a date.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/job_vectors` (
  model_version STRING NOT NULL COMMENT 'The job embeddings.',
  date DATE NOT NULL COMMENT 'Last date of the run\'s interval.',
  job_id BIGINT NOT NULL COMMENT 'The job.',
  vector ARRAY<FLOAT> NOT NULL COMMENT 'Unit length; all zero where the model knows nothing of the job.',
  is_cold BOOLEAN NOT NULL COMMENT 'True where the job had no behaviour in training: features alone.'
)
USING DELTA
PARTITIONED BY (model_version, date)
COMMENT 'The embedding of each job that was open or acted upon, as of a date.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/job_neighbors` (
  model_version STRING NOT NULL COMMENT 'The job embeddings.',
  date DATE NOT NULL COMMENT 'Last date of the run\'s interval.',
  channel STRING NOT NULL COMMENT 'click_chain: every job; apply_chain: those that somebody applied to.',
  job_id BIGINT NOT NULL COMMENT 'The job, open or closed; none whose vector is all zero.',
  neighbors ARRAY<STRUCT<job_id: BIGINT, score: FLOAT>> NOT NULL COMMENT 'Nearest first, by cosine: open jobs of its country, itself left out; of any where it has none.'
)
USING DELTA
PARTITIONED BY (model_version, date)
COMMENT 'The open jobs nearest to each job, as of a date: what a chain channel may be served from.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.constraints.known_channel' = 'coalesce(channel IN (\'click_chain\', \'apply_chain\'), true)'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/models` (
  model_name STRING NOT NULL COMMENT 'segment_graph or job_embeddings.',
  model_version STRING NOT NULL COMMENT 'The training run that made it.',
  event STRING NOT NULL COMMENT 'trained, promoted or withdrawn.',
  event_ts TIMESTAMP NOT NULL COMMENT 'When it happened.',
  trained_until TIMESTAMP NOT NULL COMMENT 'Exclusive end of what it has seen.',
  path STRING COMMENT 'Where its files lie, relative to the lake; null: its rows are in tables.',
  parent_version STRING COMMENT 'The version it was warm-started from.',
  data_read MAP<STRING, BIGINT> COMMENT 'Version of each table it was trained on.',
  metrics MAP<STRING, DOUBLE> COMMENT 'What it was judged by.',
  fingerprint STRING COMMENT 'Hash of its content: vectors of different ones never meet.'
)
USING DELTA
PARTITIONED BY (model_name)
COMMENT 'What happened to each model version: trained, promoted, withdrawn.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.constraints.known_event' = 'coalesce(event IN (\'trained\', \'promoted\', \'withdrawn\'), true)'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/channel_candidates` (
  run_id STRING NOT NULL COMMENT 'The run.',
  channel STRING NOT NULL COMMENT 'graph, click_chain, apply_chain, terms or popular.',
  flow STRING NOT NULL COMMENT 'organic or promoted.',
  seeker_id BIGINT NOT NULL COMMENT 'The seeker.',
  asked INT NOT NULL COMMENT 'How many were asked for.',
  eligible BIGINT NOT NULL COMMENT 'How many jobs passed the channel\'s terms and were not excluded.',
  returned INT NOT NULL COMMENT 'How many came back.',
  candidates ARRAY<STRUCT<job_id: BIGINT, score: FLOAT>> NOT NULL COMMENT 'Best first. A chain channel\'s scores fall within each fifty places, where new jobs have their share.'
)
USING DELTA
PARTITIONED BY (run_id, channel)
COMMENT 'What each channel brought for each seeker.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.constraints.returned_in_range' = 'coalesce(returned <= asked AND returned <= eligible, true)'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/candidates` (
  run_id STRING NOT NULL COMMENT 'The run.',
  seeker_id BIGINT NOT NULL COMMENT 'The seeker.',
  external_seeker_id STRING NOT NULL COMMENT 'The board\'s id of the seeker.',
  flow STRING NOT NULL COMMENT 'organic or promoted.',
  asked INT NOT NULL COMMENT 'The flow\'s quota.',
  returned INT NOT NULL COMMENT 'How many there are: fewer than asked is a shortfall, never padded.',
  candidates ARRAY<STRUCT<job_id: BIGINT, external_job_id: STRING, score: DOUBLE, why: ARRAY<STRUCT<channel: STRING, rank: INT, evidence_id: BIGINT>>>> NOT NULL COMMENT 'Best first. evidence_id is the link\'s node id (graph), the nearest acted-on job (chains; -1 where the seeker\'s terms alone brought it), or the shared occupation\'s or region\'s term id (terms, popular).'
)
USING DELTA
PARTITIONED BY (run_id)
COMMENT 'The candidate set of each seeker and flow: what a ranker then orders.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.constraints.returned_in_range' = 'coalesce(returned <= asked, true)'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/audiences` (
  run_id STRING NOT NULL COMMENT 'The run.',
  job_id BIGINT NOT NULL COMMENT 'The promoted job.',
  external_job_id STRING NOT NULL COMMENT 'The board\'s id of the job.',
  asked INT NOT NULL COMMENT 'The cap: how many seekers a job reaches at most.',
  eligible BIGINT NOT NULL COMMENT 'Active seekers who share a link with the job and have not met it.',
  returned INT NOT NULL COMMENT 'How many there are: the lesser of the two above.',
  seekers ARRAY<STRUCT<seeker_id: BIGINT, external_seeker_id: STRING, score: DOUBLE, evidence_id: BIGINT>> NOT NULL COMMENT 'Best first: by band of link quality, then those of the job\'s region, then by how active they are. evidence_id is the link\'s node id.'
)
USING DELTA
PARTITIONED BY (run_id)
COMMENT 'Whom each promoted open job should reach, of the seekers active before the run.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.constraints.returned_in_range' = 'coalesce(returned <= asked, true)'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/run_metrics` (
  run_id STRING NOT NULL COMMENT 'The run.',
  stage STRING NOT NULL COMMENT 'The stage that wrote it.',
  metric STRING NOT NULL COMMENT 'What is measured.',
  label STRING NOT NULL COMMENT 'Of what: a channel, a table, a bucket; empty for the whole stage.',
  value DOUBLE COMMENT 'The figure; null where there was nothing to measure.'
)
USING DELTA
PARTITIONED BY (run_id, stage)
COMMENT 'Every figure that a run wrote about itself: volumes, funnel, coverage, evaluation, seconds.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days'
);

CREATE TABLE IF NOT EXISTS delta.`/lake/runs` (
  dag STRING NOT NULL COMMENT 'The DAG.',
  run_id STRING NOT NULL COMMENT 'DAG, interval and attempt.',
  interval_start TIMESTAMP NOT NULL COMMENT 'Inclusive.',
  interval_end TIMESTAMP NOT NULL COMMENT 'Exclusive.',
  attempt INT NOT NULL COMMENT 'From 1.',
  event STRING NOT NULL COMMENT 'opened, published or failed.',
  event_ts TIMESTAMP NOT NULL COMMENT 'When it happened.',
  base_run_id STRING COMMENT 'The daily run that an hourly run overlays.',
  takes_history BOOLEAN NOT NULL COMMENT 'True where it takes in the whole history: none was published before.',
  models MAP<STRING, STRING> COMMENT 'Model name to the version frozen for the attempt.',
  settings STRING COMMENT 'The settings frozen for the attempt, as JSON.',
  mapping STRING COMMENT 'The mapping frozen for the attempt, as JSON.',
  table_versions MAP<STRING, BIGINT> COMMENT 'read:TABLE and wrote:TABLE to Delta versions.',
  code_version STRING COMMENT 'Version of this software that opened it.',
  reason STRING COMMENT 'Why it failed.'
)
USING DELTA
PARTITIONED BY (dag)
COMMENT 'What happened to each attempt of a run: opened, published, failed.'
TBLPROPERTIES (
  'delta.logRetentionDuration' = 'interval 30 days',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.constraints.known_event' = 'coalesce(event IN (\'opened\', \'published\', \'failed\'), true)',
  'delta.constraints.interval_in_order' = 'coalesce(interval_end > interval_start, true)'
);
