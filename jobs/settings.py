"""Every setting of every stage, its default, and what it may be.

A settings file is TOML with one table a stage; `open_run` validates it and freezes it for the attempt. What
is not written there has the default below. An unknown name is refused with the nearest known one.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import string
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.errors import SettingsError, nearest


def option(
    default: Any,
    meaning: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    one_of: tuple[str, ...] = (),
    like: str = "",
) -> Any:
    """A dataclass field with its meaning and its bounds; `like` is a regular expression for the whole of a text."""
    metadata = {"meaning": meaning, "at_least": at_least, "at_most": at_most, "one_of": one_of, "like": like}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Ingest:
    lateness_days: int = option(3, "an event is taken in up to so many days after its own", at_least=0, at_most=30)


@dataclass(frozen=True, kw_only=True)
class StandardizeEntities:
    max_ngram: int = option(5, "longest surface form looked up, in tokens", at_least=1, at_most=8)
    max_entities_a_surface: int = option(3, "an ambiguous surface form names at most so many", at_least=1)


@dataclass(frozen=True, kw_only=True)
class SessionizeChains:
    gap_minutes: int = option(360, "a chain ends when the next action comes later than this", at_least=1)
    max_span_hours: int = option(
        24, "activity longer than this is cut at the next midnight UTC", at_least=1, at_most=24
    )
    max_actions: int = option(200, "a chain is cut after so many actions", at_least=1)
    min_actions: int = option(1, "shorter chains are left out", at_least=1)
    max_actions_a_day: int = option(500, "a seeker with more in a day is a bot that day", at_least=1)
    min_dwell_seconds: float = option(0.0, "shorter views are left out; views of unknown length stay", at_least=0)


@dataclass(frozen=True, kw_only=True)
class Template:
    seeker: str
    job: str
    same: bool = option(False, "that both have one term is a link too, the same for every term")


@dataclass(frozen=True, kw_only=True)
class BuildSegmentGraph:
    templates: list[Template] = option(
        [
            Template(seeker="occupation", job="occupation"),
            Template(seeker="seniority", job="seniority"),
            Template(seeker="skill", job="skill"),
            Template(seeker="region", job="region"),
        ],
        "which seeker field may pair with which job field",
    )
    max_arity: int = option(2, "a link joins at most so many meta links", at_least=1, at_most=4)
    min_support: int = option(3, "a link needs so many hires", at_least=1)
    max_terms: int = option(20, "terms kept a side and field of a pair, those with most hires", at_least=1)
    max_meta_links: int = option(40, "meta links of a pair that are combined, the most telling", at_least=1)
    max_pairs: int = option(10_000_000, "hires and no-hires learnt from; of more, a share is drawn", at_least=1000)
    memory_mb: int = option(4096, "for candidate links; where they need more, a link needs more hires", at_least=1)
    threads: int = option(4, "that count links, in the one task that does", at_least=1)
    l1_strength: float = option(
        0.0, "hires that a link must explain beyond the others to count; 0: as later hires choose", at_least=0
    )
    weakest_strength: float = option(2.0, "the path of strengths goes on to this one", at_least=0.01)
    target_recall: float = option(
        0.0, "if above 0: the strongest penalty that links this share of hires", at_least=0, at_most=1
    )
    target_links: int = option(0, "if above 0: the weakest penalty that keeps no more links", at_least=0)
    min_quality: float = option(0.5, "links whose log odds are above this are kept", at_least=0)
    overrides: str = option("", "TOML file of links that are banned, forced or weighed; applied last")
    overrides_text: str = option("", "what that file holds when a run is opened; read then, and not again")
    inferred_discount: float = option(
        0.0, "links inferred from segments that hire alike count so much; 0: none", at_least=0, at_most=1
    )
    inferred_shared: int = option(2, "seeker segments that both must hire from", at_least=1)
    inferred_links: int = option(10, "inferred links of a seeker segment", at_least=1)
    min_hires: int = option(20, "with fewer hires there are no links", at_least=1)
    applied_per_hire: float = option(0.25, "no-hires a hire that applied in vain", at_least=0)
    seen_per_hire: float = option(0.25, "no-hires a hire that saw the job and made no contact", at_least=0)
    random_per_hire: float = option(1.0, "no-hires a hire drawn from the local market", at_least=0)
    no_hire_days: int = option(30, "an application without a hire for so long was in vain", at_least=0)
    market_field: str = option("region", "the job's term in this field is its local market")
    min_market: int = option(10, "hires: smaller markets are drawn from together", at_least=1)
    seed: int = option(7, "of the no-hires that are drawn")


@dataclass(frozen=True, kw_only=True)
class TrainJobEmbeddings:
    dim: int = option(64, "length of a vector", at_least=2, at_most=1024)
    epochs: int = option(3, "passes over the chains", at_least=1)
    # 58.com takes the actions before alone: on the planted and the job board, twice the passes of that found no more.
    contexts: str = option(
        "both",
        "an action's contexts are the actions before it, or both those and the ones after it",
        one_of=("before", "both"),
    )
    history_actions: int = option(
        0,
        "train on seekers' whole histories, the latest so many actions of each, not on chains; 0 for chains",
        at_least=0,
    )
    windows: dict[str, int] = option(
        {"view": 5, "save": 10, "apply": 20, "call": 20, "message": 20},
        "actions before (and after) an action that are its context, by the action",
    )
    costs: dict[str, float] = option(
        {"apply/*": 2.0, "call/*": 2.0, "message/*": 2.0},
        "what a positive counts, by action/context action; * is any, what is not named counts 1",
    )
    applied_context: bool = option(False, "a chain's last application is context of all its actions")
    negatives: int = option(10, "negatives a pair", at_least=1, at_most=1000)
    pairs_a_draw: int = option(8, "pairs that share the negatives drawn from all jobs; 1 is slower", at_least=1)
    negative_power: float = option(0.75, "jobs are drawn by actions to this power", at_least=0, at_most=1)
    inventory_share: float = option(0.5, "of those, share drawn from all jobs alike", at_least=0, at_most=1)
    # The job board's next-view recall@100 fell from 0.61 to 0.56 at 0.1: most next views are in one market.
    local_share: float = option(0.0, "share of negatives from the target's market", at_least=0, at_most=1)
    refused_share: float = option(
        0.0,
        "share of a pair's negatives that its chain refused: dismissed, or rejected by the employer",
        at_least=0,
        at_most=1,
    )
    passed_over: bool = option(
        False, "refused are instead the jobs that a chain's lists showed and that it left; of histories, by list"
    )
    refused_weight: float = option(1.0, "what such a negative counts; one drawn counts 1", at_least=0)
    market_fields: list[str] = option(
        ["region", "occupation"], "jobs alike in these are a local market; who lacks one has its community's"
    )
    id_dropout: float = option(
        0.5, "share of a step's jobs trained by terms alone, as new jobs are served", at_least=0, at_most=1
    )
    # 0.5 finds 1 to 2 % more on planted boards, and less at the top of the sample marketplace's lists.
    context_weight: float = option(
        0.0, "what the direction of a job's contexts counts in its vector, beside its own", at_least=0
    )
    # Two find 1 % more of the next jobs on planted boards and 3 % on the job board; more passes find no more.
    chain_epochs: int = option(
        2, "passes after those by pairs in which a chain's vector learns to find its next job; 0: none", at_least=0
    )
    chain_negatives: int = option(2000, "jobs drawn a step of those passes, which its examples share", at_least=1)
    # The sample marketplace loses from 8 on; below 6, so do new jobs of planted boards.
    chain_scale: float = option(7.0, "a score there is scale x cosine, and popularity", at_least=0.1)
    # Where this is less, vectors learn popularity, and the sample marketplace's chains lose by it.
    chain_power: float = option(
        0.5, "there a job is more likely by its actions to this power, whatever the chain", at_least=0
    )
    chain_learning_rate: float = option(0.005, "of Adagrad there, which starts anew", at_least=0)
    scale: float = option(7.0, "a score is scale x cosine + bias; larger fits closer", at_least=0.1)
    learning_rate: float = option(0.05, "of Adagrad", at_least=0)
    pairs_a_step: int = option(2048, "pairs an optimiser step", at_least=1)
    chains_a_batch: int = option(8192, "chains in memory at once", at_least=1)
    min_job_actions: int = option(1, "actions that give a job an embedding of its own", at_least=1)
    min_feature_jobs: int = option(2, "jobs that give a term an embedding", at_least=1)
    warm_start: bool = option(False, "start from the newest promoted embeddings, with new jobs and terms added")
    warm_epochs: int = option(1, "passes over the chains where training starts so", at_least=1)
    checkpoint_minutes: float = option(10.0, "what was learnt is kept so often, for a run that is killed", at_least=0)
    workers: int = option(
        1, "processes that train, each on its part of the chains; on a cluster, a task each", at_least=1
    )
    seed: int = option(7, "of weights, samples and order", at_least=0)
    # Steps are small: beside other work, two threads that waited for each other took ten times as long.
    threads: int = option(1, "threads of a step on the CPU", at_least=1)
    step: str = option(
        "auto",
        "compiled, on the CPU; torch, on the device; auto is compiled where there is no GPU",
        one_of=("auto", "compiled", "torch"),
    )
    device: str = option("auto", "auto, cpu or cuda:N")


@dataclass(frozen=True, kw_only=True)
class Serving:
    lookback_days: int = option(30, "seekers active, their actions and the jobs met in so many days count", at_least=1)


@dataclass(frozen=True, kw_only=True)
class Training:
    holdout_days: int = option(2, "days before the interval's end that models do not see", at_least=1)
    lookback_days: int = option(90, "hires and events before that are not read", at_least=1)


@dataclass(frozen=True, kw_only=True)
class BuildIndex:
    storage: str = option("float32", "what the index scans", one_of=("float32", "float16", "int8"))
    shards: int = option(1, "the index is built and searched in so many parts", at_least=1)
    popular_days: int = option(7, "an action so many days ago counts half towards a job's popularity", at_least=1)
    neighbors: int = option(100, "nearest open jobs kept of each job; 0: none", at_least=0, at_most=10_000)


@dataclass(frozen=True, kw_only=True)
class RetrieveCandidates:
    k: int = option(200, "candidates asked of each channel", at_least=1, at_most=50_000)
    chains: str = option(
        "vectors",
        "the chain channels ask by the chain's vector, or take the neighbors of its jobs",
        one_of=("vectors", "neighbors"),
    )
    # Weights of 0.1 to 0.3 find more of the next jobs on the planted and the job board; at 0.3 the sample market's
    # click chain loses at the top of its list (recall@10 0.51 to 0.48).
    chain_popularity: float = option(
        0.2, "beside a cosine, what a chain channel counts of a job's popularity, 0 to 1", at_least=0
    )
    new_popularity: float = option(0.3, "the popularity there of a job that nobody has met", at_least=0, at_most=1)
    # Their share of the jobs gives them half of the others' recall and more on planted boards of 10,000 jobs.
    new_weight: float = option(
        1.0,
        "of a chain channel's list such jobs have at least their share of the jobs to choose from, each counting so"
        " much; 0: no share",
        at_least=0,
    )
    # At 0.1 to 0.5 the sample market's click chain and the job board's blend lose at the top of their lists.
    attribute_weight: float = option(
        0.0,
        "what a seeker's terms count in a chain channel's vector, where the chain counts 1; not used from neighbors",
        at_least=0,
    )
    max_actions: int = option(50, "latest actions of a seeker that make a chain query", at_least=1)
    half_life_actions: float = option(10.0, "an action so many actions ago counts half", at_least=0.1)
    # the sample marketplace's click chain: recall@10 0.30 at weight 1, 0.37 at a quarter
    dormant_days: float = option(7.0, "a longer pause between a seeker's actions is a dormancy", at_least=0.1)
    dormant_weight: float = option(
        0.25, "what an action counts for each dormancy since; 1 is no less", at_least=0.0, at_most=1.0
    )
    excluded_actions: list[str] = option(
        ["apply", "call", "message", "dismiss"], "a job that the seeker met so is no candidate any more"
    )
    max_terms: int = option(10, "terms a field taken over from the jobs last acted on", at_least=0)
    liquidity_target: int = option(
        0, "if above 0: of a seeker's links, the best that reach so many open jobs", at_least=0
    )
    quality_bands: int = option(4, "bands of link quality that the graph channel fills in turn", at_least=1)
    partitions: int = option(2, "seekers are searched in so many partitions", at_least=1)
    memory_mb: int = option(512, "scratch memory of a search", at_least=1)
    device: str = option(
        "auto",
        "auto (the GPUs that Spark assigned to the task, else the first, else the CPU), cpu, cuda:N, "
        "or several GPUs that share the index as cuda:0,cuda:1",
        like=r"auto|cpu|cuda(:\d+)?|cuda:\d+(,cuda:\d+)+",
    )
    device_memory_mb: int = option(0, "what the index takes of each GPU's memory; 0: as much as is free", at_least=0)
    checked_seekers: int = option(50, "seekers searched again by brute force", at_least=0, at_most=1000)


@dataclass(frozen=True, kw_only=True)
class BlendCandidates:
    organic_quota: int = option(200, "candidates a seeker in the organic flow", at_least=1)
    promoted_quota: int = option(50, "candidates a seeker in the promoted flow", at_least=1)
    audience: int = option(200, "seekers that a promoted job reaches at most; 0: no audiences", at_least=0)
    rrf_k: float = option(60.0, "constant of reciprocal-rank fusion", at_least=0)
    weights: dict[str, float] = option(
        {"graph": 1.0, "click_chain": 1.0, "apply_chain": 1.0, "terms": 0.5, "popular": 0.1},
        "weight of each channel in the fusion",
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateRetrieval:
    target_action: str = option("apply", "the action to predict", one_of=("view", "save", "apply"))
    k: list[int] = option([10, 100, 500], "cut-offs of recall and hit rate")
    max_cases: int = option(5000, "cases evaluated, drawn by hash", at_least=1)
    new_jobs_only: bool = option(True, "cases are asked at the seeker's first touch of the job")
    drop_acted: bool = option(True, "jobs that the seeker acted on before are not candidates")
    truth: str = option("", "folder of a sample marketplace's truth, for an oracle row")
    bootstrap: int = option(1000, "resamples of seekers for the intervals", at_least=0)
    margin: float = option(0.05, "a version may be worse than the current by so much and be promoted", at_least=0)
    seed: int = option(7, "of draws and resamples")


@dataclass(frozen=True, kw_only=True)
class MaintainLake:
    keep_runs: int = option(14, "published runs a DAG that keep their candidates and artifacts", at_least=1)
    keep_days: int = option(30, "days for which replaced files stay readable", at_least=7)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one attempt."""

    ingest: Ingest = field(default_factory=Ingest)
    standardize_entities: StandardizeEntities = field(default_factory=StandardizeEntities)
    sessionize_chains: SessionizeChains = field(default_factory=SessionizeChains)
    training: Training = field(default_factory=Training)
    serving: Serving = field(default_factory=Serving)
    build_segment_graph: BuildSegmentGraph = field(default_factory=BuildSegmentGraph)
    train_job_embeddings: TrainJobEmbeddings = field(default_factory=TrainJobEmbeddings)
    build_index: BuildIndex = field(default_factory=BuildIndex)
    retrieve_candidates: RetrieveCandidates = field(default_factory=RetrieveCandidates)
    blend_candidates: BlendCandidates = field(default_factory=BlendCandidates)
    evaluate_retrieval: EvaluateRetrieval = field(default_factory=EvaluateRetrieval)
    maintain_lake: MaintainLake = field(default_factory=MaintainLake)

    @staticmethod
    def load(path: str | Path, environ: Mapping[str, str] = os.environ) -> Settings:
        """The settings in a TOML file, `${NAME}` in texts taken from `environ`.

        SettingsError names the file, the option and what was expected.
        """
        try:
            with open(path, "rb") as file:
                return Settings.parse(_expanded(tomllib.load(file), environ, str(path)), where=str(path))
        except FileNotFoundError:
            raise SettingsError(f"settings file {path} does not exist") from None
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{path}: not TOML: {error}") from None

    @staticmethod
    def parse(tables: dict[str, Any], where: str = "settings") -> Settings:
        return _parsed(Settings, tables, where)

    def frozen(self) -> Settings:
        """These with the text of the file that they name, so that no later edit of it reaches the run.

        SettingsError where it cannot be read.
        """
        graph = self.build_segment_graph
        if not graph.overrides:
            return self
        try:
            text = Path(graph.overrides).read_text(encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"overrides {graph.overrides}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"overrides {graph.overrides}: not UTF-8") from None
        return dataclasses.replace(self, build_segment_graph=dataclasses.replace(graph, overrides_text=text))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Settings:
        return Settings.parse(json.loads(text), where="frozen settings")


def _expanded(value: Any, environ: Mapping[str, str], where: str) -> Any:
    if isinstance(value, dict):
        return {name: _expanded(part, environ, f"{where}.{name}") for name, part in value.items()}
    if isinstance(value, str):
        try:
            return string.Template(value).substitute(environ)
        except KeyError as error:
            raise SettingsError(f"{where}: the environment has no {error.args[0]}, which {value!r} names") from None
    return value


def _parsed(kind: Any, values: Any, where: str) -> Any:
    """`values` as an instance of the dataclass `kind`, each field checked for type and bounds."""
    if not isinstance(values, dict):
        raise SettingsError(f"{where}: expected a table, got {values!r}")
    hints, fields = typing.get_type_hints(kind), {f.name: f for f in dataclasses.fields(kind)}
    for name in values:
        if name not in fields:
            raise SettingsError(f"{where}: unknown option {name!r}; {nearest(name, fields)}")
    missing = [n for n, f in fields.items() if n not in values and _has_no_default(f)]
    if missing:
        raise SettingsError(f"{where}: missing {', '.join(missing)}")
    checked = {name: _checked(hints[name], value, f"{where}.{name}") for name, value in values.items()}
    for name, value in checked.items():
        _bounded(value, fields[name].metadata, f"{where}.{name}")
    return kind(**checked)


def _has_no_default(f: dataclasses.Field[Any]) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _checked(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _parsed(hint, value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list and isinstance(value, list):
        return [_checked(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {str(k): _checked(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    expected = origin or hint
    if not isinstance(expected, type):
        raise TypeError(f"{where}: settings fields of type {hint} are not supported")
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise SettingsError(f"{where}: expected {expected.__name__}, got {value!r}")
    return value


def _bounded(value: Any, metadata: Any, where: str) -> None:
    low, high, allowed = metadata.get("at_least"), metadata.get("at_most"), metadata.get("one_of")
    if low is not None and value < low:
        raise SettingsError(f"{where}: expected at least {low}, got {value}")
    if high is not None and value > high:
        raise SettingsError(f"{where}: expected at most {high}, got {value}")
    if metadata.get("like") and not re.fullmatch(metadata["like"], value):
        raise SettingsError(f"{where}: expected {metadata['meaning']}; got {value!r}")
    if allowed and value not in allowed:
        raise SettingsError(f"{where}: {value!r}; {nearest(value, allowed)}")
