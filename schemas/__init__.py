"""The lake's tables: one file a table, everything else rendered from it."""

from schemas.audiences import AUDIENCES
from schemas.behavior_chains import BEHAVIOR_CHAINS
from schemas.candidates import CANDIDATES
from schemas.channel_candidates import CHANNEL_CANDIDATES
from schemas.entity_ids import ENTITY_IDS
from schemas.events import EMPLOYER_ACTIONS, EVENTS, SEEKER_ACTIONS
from schemas.hires import HIRES
from schemas.job_neighbors import JOB_NEIGHBORS
from schemas.job_vectors import JOB_VECTORS
from schemas.jobs import JOBS
from schemas.models import MODELS
from schemas.nodes import JOB_NODES, SEEKER_NODES
from schemas.quarantine import QUARANTINE
from schemas.run_metrics import RUN_METRICS
from schemas.runs import RUNS
from schemas.seekers import SEEKERS
from schemas.segment_links import SEGMENT_LINKS
from schemas.table import Column, Table
from schemas.taxonomy import TAXONOMY
from schemas.term_dictionary import TERM_DICTIONARY
from schemas.terms import JOB_TERMS, SEEKER_TERMS

TABLES: tuple[Table, ...] = (
    ENTITY_IDS, SEEKERS, JOBS, EVENTS, HIRES, TAXONOMY, QUARANTINE, TERM_DICTIONARY, SEEKER_TERMS, JOB_TERMS,
    BEHAVIOR_CHAINS, SEGMENT_LINKS, SEEKER_NODES, JOB_NODES, JOB_VECTORS, JOB_NEIGHBORS, MODELS,
    CHANNEL_CANDIDATES, CANDIDATES, AUDIENCES, RUN_METRICS, RUNS,
)  # fmt: skip

__all__ = [
    "AUDIENCES", "BEHAVIOR_CHAINS", "CANDIDATES", "CHANNEL_CANDIDATES", "EMPLOYER_ACTIONS", "ENTITY_IDS", "EVENTS",
    "HIRES", "JOBS", "JOB_NEIGHBORS", "JOB_NODES", "JOB_TERMS", "JOB_VECTORS", "MODELS", "QUARANTINE", "RUNS",
    "RUN_METRICS", "SEEKERS", "SEEKER_ACTIONS", "SEEKER_NODES", "SEEKER_TERMS", "SEGMENT_LINKS", "TABLES", "TAXONOMY",
    "TERM_DICTIONARY", "Column", "Table",
]  # fmt: skip
