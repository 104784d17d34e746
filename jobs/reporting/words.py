"""Reasons and links in words: from the ids that rows carry to the names that people know.

Names are looked up in few queries for many candidates at once (`Words.of`); what has no name shows its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jobs.lake import LakeReader
from jobs.reporting.attempts import Attempt
from schemas import JOBS, SEGMENT_LINKS, TERM_DICTIONARY

# Must match jobs.channels.blend: evidence_id of a term is its field's place here times 2^32, plus the term
# id.
EVIDENCE_FIELDS = ("occupation", "title", "region")
NO_EVIDENCE = -1

_ACTED = {"click_chain": "viewed", "apply_chain": "applied to"}
_JOB_FIELDS = "job_id, external_id, title, company, region, valid_from"

Row = dict[str, Any]
Term = tuple[str, int]


@dataclass(frozen=True)
class Words:
    """What ids of jobs, links and terms stand for."""

    jobs: Mapping[int, Row] = field(default_factory=dict)
    links: Mapping[int, Row] = field(default_factory=dict)
    labels: Mapping[Term, str] = field(default_factory=dict)

    @staticmethod
    def of(reader: LakeReader, attempt: Attempt, candidates: Iterable[Row]) -> Words:
        """The words for these entries of `candidates.candidates`, as of the end of the attempt's interval."""
        candidates = list(candidates)
        why = [reason for candidate in candidates for reason in candidate["why"] or ()]
        jobs = {c["job_id"] for c in candidates} | {r["evidence_id"] for r in why if r["channel"] in _ACTED}
        nodes = {r["evidence_id"] for r in why if r["channel"] == "graph"} - {NO_EVIDENCE}
        links = links_of(reader, attempt.model("segment_graph"), nodes)
        terms = {term_of(r["evidence_id"]) for r in why if r["channel"] in ("terms", "popular")}
        terms |= {term for link in links.values() for term in _link_terms(link)}
        labels = labels_of(reader, {term for term in terms if term is not None})
        return Words(jobs_of(reader, jobs - {NO_EVIDENCE}, attempt.interval.end), links, labels)

    def job(self, job_id: int) -> str:
        """Title, employer and place of a job, as far as the board gave them."""
        row = self.jobs.get(job_id, {})
        where = ", ".join(row[name] for name in ("company", "region") if row.get(name))
        return f"{row.get('title') or f'job {job_id}'}{f', {where}' if where else ''}"

    def term(self, field_name: str, term_id: int) -> str:
        return self.labels.get((field_name, term_id), f"{field_name} {term_id}")

    def reasons(self, candidate: Row) -> list[str]:
        """Why the candidate is there: a line a channel that brought it, by its rank there."""
        why = sorted(candidate["why"] or (), key=lambda reason: (reason["rank"], reason["channel"]))
        return [f"{r['channel']}, rank {r['rank']}: {self.reason(candidate['job_id'], r)}" for r in why]

    def reason(self, job_id: int, why: Row) -> str:
        """Why a channel brought the candidate `job_id`."""
        channel, evidence_id = why["channel"], why["evidence_id"]
        if channel == "graph":
            link = self.links.get(evidence_id)
            return self.link(link) if link else f"shares link {evidence_id} of the segment graph"
        if channel in _ACTED:
            if evidence_id == NO_EVIDENCE:
                return "near what their profile and actions name"
            if evidence_id == job_id:
                return f"they {_ACTED[channel]} this very job"
            return f"near “{self.job(evidence_id)}”, which they {_ACTED[channel]}"
        term = term_of(evidence_id)
        if channel == "popular":
            return "popular everywhere" if term is None else f"popular in {self.term(*term)}"
        if channel == "terms":
            return "matches their profile" if term is None else f"shares {term[0]} {self.term(*term)}"
        return f"brought by {channel}"

    def link(self, link: Row) -> str:
        """A link of the segment graph: who is hired into what, how often and how surely; a proxy is named."""
        source = "" if link["hire_source"] == "confirmed" else f" ({link['hire_source']})"
        seeker, job = self.segment(link, "seeker"), self.segment(link, "job")
        if link["origin"] == "inferred":
            return f"inferred, both are hired from the same segments: {seeker} → {job}, quality {link['quality']:.1f}"
        if link["origin"] == "same":
            own = f"{link['n_hires']:,.0f} hires of its own{source}, quality {link['quality']:.1f}"
            return f"as of any {link['meta_links'][0]['job_field']}: {seeker} → {job}, {own}"
        if link["origin"] == "forced":
            source = f"{source}, forced by people"
        counts = f"{link['n_hires']:,.0f} hires, quality {link['quality']:.1f}"
        return f"hired before{source}: {seeker} → {job}, {counts}"

    def segment(self, link: Row, side: str) -> str:
        """One side of a link, by the labels of its terms."""
        pairs = {(meta[f"{side}_field"], meta[f"{side}_term"]) for meta in link["meta_links"]}
        return ", ".join(self.term(*pair) for pair in sorted(pairs))


def term_of(evidence_id: int) -> Term | None:
    """Field and term that an evidence_id encodes; None for no evidence.

    >>> term_of((2 << 32) + 7), term_of(-1)
    (('region', 7), None)
    """
    if evidence_id == NO_EVIDENCE:
        return None
    return EVIDENCE_FIELDS[evidence_id >> 32], evidence_id & 0xFFFFFFFF


def strongest_links(reader: LakeReader, version: str, n: int) -> tuple[list[Row], Words]:
    """The version's `n` links of highest quality, and the words for them; but those of the same term on both sides."""
    rows = reader.rows(
        f"SELECT * FROM {SEGMENT_LINKS.name} WHERE model_version = '{version}' AND origin <> 'same' "
        f"ORDER BY quality DESC, node_id LIMIT {n}"
    )
    labels = labels_of(reader, {term for link in rows for term in _link_terms(link)})
    return rows, Words(links={link["node_id"]: link for link in rows}, labels=labels)


def same_links(reader: LakeReader, version: str) -> list[Row]:
    """Of the version's links of the same term: seeker_field, job_field, n_links, and the quality that they share."""
    seeker, job = (f"split_part({side}_segment, '=', 1)" for side in ("seeker", "job"))
    return reader.rows(
        f"SELECT {seeker} AS seeker_field, {job} AS job_field, COUNT(*) AS n_links, "
        f"MIN(quality) AS quality FROM {SEGMENT_LINKS.name} WHERE model_version = '{version}' AND origin = 'same' "
        "GROUP BY 1, 2 ORDER BY quality DESC, 1, 2"
    )


def link_of(reader: LakeReader, version: str | None, node_id: int) -> tuple[Row | None, Words]:
    """The version's link of that node id, None where it has none, and the words for it."""
    link = links_of(reader, version, {node_id}).get(node_id)
    labels = labels_of(reader, set(_link_terms(link))) if link else {}
    return link, Words(labels=labels)


def links_of(reader: LakeReader, version: str | None, node_ids: set[int]) -> dict[int, Row]:
    if version is None or not node_ids:
        return {}
    rows = reader.rows(
        f"SELECT * FROM {SEGMENT_LINKS.name} WHERE model_version = '{version}' AND node_id IN ({_listed(node_ids)})"
    )
    return {row["node_id"]: row for row in rows}


def jobs_of(reader: LakeReader, job_ids: set[int], end: datetime) -> dict[int, Row]:
    """Each job's newest version from before `end`, by job id."""
    if not job_ids:
        return {}
    rows = reader.rows(f"SELECT {_JOB_FIELDS} FROM {JOBS.name} WHERE job_id IN ({_listed(job_ids)})")
    before = [row for row in rows if row["valid_from"] < end]
    return {row["job_id"]: row for row in sorted(before, key=lambda row: row["valid_from"])}


def labels_of(reader: LakeReader, terms: set[Term]) -> dict[Term, str]:
    """Each term's label, or the term itself where it has none."""
    labels: dict[Term, str] = {}
    for name in sorted({field_name for field_name, _ in terms}):
        ids = {term_id for field_name, term_id in terms if field_name == name}
        rows = reader.rows(
            f"SELECT term, term_id, label FROM {TERM_DICTIONARY.name} "
            f"WHERE field = '{name}' AND term_id IN ({_listed(ids)})"
        )
        labels |= {(name, row["term_id"]): row["label"] or row["term"] for row in rows}
    return labels


def _link_terms(link: Row) -> list[Term]:
    return [(meta[f"{side}_field"], meta[f"{side}_term"]) for meta in link["meta_links"] for side in ("seeker", "job")]


def _listed(ids: set[int]) -> str:
    return ", ".join(str(number) for number in sorted(ids))
