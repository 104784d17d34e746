"""Seekers' attributes beside their chains: literal vectors, what is asked with them, and what they may not claim."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from gpu_retrieval import Ragged
from jobs.artifacts import written_folder
from jobs.channels.batches import Batch, Pooling, attribute_vectors, keyed, read_batch
from jobs.channels.check import channel_recall
from jobs.channels.inventory import Inventory, open_inventory, terms_by_field
from jobs.channels.queries import TERM_FIELDS
from jobs.channels.search import CHANNELS, ORGANIC, PROMOTED, asks, pooling_of, query_vectors, search_batches
from jobs.embeddings.features import FIELD_BITS, feature_keys
from jobs.embeddings.model_files import Model, load_model, save_model
from jobs.errors import LakeError
from jobs.retrieve_candidates import record_attributes_alone
from tests.jobs.channels.conftest import CLOSED_JOB, DIM, N_JOBS, plainly_shared, write_inventory
from tests.jobs.channels.test_blend import blended
from tests.jobs.channels.test_search import QUERIES, QUERY, found, jobs, plan

FIELDS = ("contact", "occupation", "region")
# occupations 0 and 1, regions 0 to 3: a model knows none of the others
KEYS = np.array([(1 << FIELD_BITS) + term for term in range(2)] + [(2 << FIELD_BITS) + term for term in range(4)])
CHAINS = ("click_chain", "apply_chain")


@pytest.fixture(scope="module")
def model_uri(tmp_path_factory) -> str:
    uri = str(tmp_path_factory.mktemp("model") / "model")
    table = np.random.default_rng(3).normal(size=(len(KEYS), DIM)).astype(np.float32)
    with written_folder(uri) as folder:
        save_model(
            folder,
            fields=FIELDS,
            feature_keys=KEYS,
            job_ids=np.empty(0, np.int64),
            table=table,
            weights=np.ones(len(KEYS), np.float32),
            config={},
        )
    return uri


@pytest.fixture(scope="module")
def uri(model_uri, tmp_path_factory) -> str:
    """The inventory of the other tests, as if `model_uri` had made its vectors."""
    place = str(tmp_path_factory.mktemp("run") / "index")
    write_inventory(place, load_model(model_uri).fingerprint)
    return place


@pytest.fixture(scope="module")
def inventory_of_model(uri) -> Inventory:
    return open_inventory(uri, "cpu")


def read(inventory: Inventory, pooling: Pooling | None) -> Batch:
    return read_batch(pa.Table.from_pylist(QUERIES, schema=QUERY).to_batches()[0], inventory, pooling)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def literal_model() -> Model:
    table = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)
    keys = np.array([7, (1 << FIELD_BITS) + 7])  # title 7 and region 7
    return Model(("title", "region"), keys, np.empty(0, np.int64), table, np.ones(2, np.float32), {})


def test_terms_are_pooled_by_the_model_at_their_weight_and_unknown_ones_count_nothing():
    terms = {"title": Ragged.from_lists([[7], [7, 9], [9], []]), "region": Ragged.from_lists([[7], [], [8], []])}
    found = attribute_vectors(terms, Pooling(literal_model(), 0.5))
    np.testing.assert_allclose(found, [[0.3, 0.4], [0.5, 0.0], [0.0, 0.0], [0.0, 0.0]], atol=1e-7)
    assert found.dtype == np.float32


def test_a_model_of_other_fields_knows_none_of_the_terms():
    terms = {"skill": Ragged.from_lists([[7], []])}
    assert attribute_vectors(terms, Pooling(literal_model(), 0.5)).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_chain_and_attributes_are_summed_to_unit_length():
    nothing = Ragged.from_lists([[]] * 4)
    attributes = np.array([[0.0, 0.75], [0.0, 0.75], [0.0, 0.0], [0.0, 0.0]], np.float32)
    chain = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]], np.float32)
    ids = np.arange(4)
    batch = Batch(ids, ids, chain, np.zeros_like(chain), {}, [], nothing, {}, attributes)
    expected = [[0.8, 0.6], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    np.testing.assert_allclose(query_vectors("click_chain", batch), expected, atol=1e-7)
    assert asks("click_chain", batch).tolist() == [True, True, True, False]
    assert asks("apply_chain", batch).tolist() == [True, True, False, False]
    # what orders the other channels stays behaviour alone
    assert batch.interest.tolist() == chain.tolist()


def test_keys_are_those_of_a_job_with_the_same_terms(spark):
    rows = [{"occupation": [2, 1], "region": [3]}, {}, {"region": [0, 5], "title": [8]}, {"skill": [4], "contact": [1]}]
    fields = ("region", "contact", "occupation", "title")
    table = spark.createDataFrame([(i, terms) for i, terms in enumerate(rows)], "i int, terms map<string,array<int>>")
    expected = [r.keys for r in table.select("i", feature_keys(fields).alias("keys")).orderBy("i").collect()]
    column = pa.array([list(terms.items()) for terms in rows], pa.map_(pa.string(), pa.list_(pa.int32())))
    keys, offsets = keyed(terms_by_field(pa.chunked_array([column]), (*TERM_FIELDS, "contact")), fields)
    assert [keys[a:b].tolist() for a, b in pairwise(offsets)] == expected


def test_off_is_what_it_was(uri, model_uri, inventory_of_model):
    off = plan(uri, model=model_uri)
    assert pooling_of(inventory_of_model, off) is None
    batch = read(inventory_of_model, None)
    assert query_vectors("click_chain", batch) is batch.clicked
    assert query_vectors("apply_chain", batch) is batch.applied
    assert found(uri, k=60, model=model_uri) == found(uri, k=60)


def test_a_chain_channel_ranks_by_chain_and_attributes_together(uri, model_uri, inventory_of_model):
    rows = found(uri, k=60, attribute_weight=0.5, model=model_uri)
    table = load_model(model_uri).table.astype(np.float64)
    vectors = inventory_of_model.vectors_of(np.arange(N_JOBS)).astype(np.float64)
    chain = unit(vectors[3] + 0.5 * vectors[4])
    attributes = {1: unit(table[0] + table[2 + 1]), 4: unit(table[2 + 2])}  # of occupation 0 and region 1; of region 2
    wanted = {1: chain + 0.5 * attributes[1], 4: attributes[4]}
    for number, vector in wanted.items():
        score = vectors @ vector
        assert jobs(rows[ORGANIC, "click_chain", number]) == plainly_shared(range(N_JOBS - 1), score)
        assert jobs(rows[PROMOTED, "click_chain", number]) == plainly_shared(range(0, N_JOBS - 1, 6), score)
    # 4 has a region and no chain; 2 has nothing, and of 5 the model knows neither the job nor the term
    assert {n for flow, channel, n in rows if (flow, channel) == (ORGANIC, "click_chain")} == {1, 3, 4}
    assert {n for flow, channel, n in rows if (flow, channel) == (ORGANIC, "apply_chain")} == {1, 4}
    without = found(uri, k=60)
    assert jobs(rows[ORGANIC, "click_chain", 3]) == jobs(without[ORGANIC, "click_chain", 3])  # it has no terms
    for channel in ("graph", "terms", "popular"):
        assert all(rows[key] == without[key] for key in without if key[1] == channel)


@pytest.mark.parametrize("channel", CHANNELS[ORGANIC])
def test_a_sample_searched_plainly_agrees(channel, uri, model_uri, inventory_of_model):
    how = plan(uri, attribute_weight=0.5, model=model_uri, chain_popularity=0.3)
    batch = read(inventory_of_model, pooling_of(inventory_of_model, how))
    shares = channel_recall(channel, batch, inventory_of_model, how)
    assert len(shares) == {"click_chain": 3, "apply_chain": 2}.get(channel, len(shares))
    assert shares and all(share == 1.0 for share in shares)


def test_who_else_is_in_the_batch_changes_no_answer(uri, model_uri):
    how = plan(uri, attribute_weight=0.5, model=model_uri)
    batch = pa.Table.from_pylist(QUERIES, schema=QUERY).to_batches()[0]
    alone = [batch.slice(row, 1) for row in range(len(QUERIES))]
    rows = [row for part in search_batches(alone, how) for row in part.to_pylist()]
    together = found(uri, attribute_weight=0.5, model=model_uri)
    assert {(row["flow"], row["channel"], row["query_id"]): row for row in rows} == together


def test_vectors_of_another_model_are_refused(inventory_uri, model_uri):
    with pytest.raises(LakeError, match="expected the model model-1, found"):
        found(inventory_uri, attribute_weight=0.5, model=model_uri)


def test_a_chain_job_is_named_only_where_the_chain_adds_to_the_score(uri, model_uri, inventory_of_model):
    sets = blended(uri, with_attributes=True, attribute_weight=4.0, model=model_uri, k=60)
    chains = {row["query_id"]: row for row in QUERIES}
    batch, seen = read(inventory_of_model, None), set()
    for (seeker, _), row in sets.items():
        for candidate in row["candidates"]:
            vector = inventory_of_model.vectors_of(np.array([candidate["job_id"]]))[0]
            for why in (why for why in candidate["why"] if why["channel"] in CHAINS):
                name = {"click_chain": "clicked", "apply_chain": "applied"}[why["channel"]]
                by_chain = getattr(batch, name)[seeker - 1] @ vector > 0
                assert why["evidence_id"] in (chains[seeker][name] if by_chain else [-1])
                seen.add((seeker, bool(by_chain)))
    # 1: by both; 4 has no chain; 3 has a chain and no terms, and few enough jobs that some point the other way
    assert seen >= {(1, True), (1, False), (4, False), (3, True)}
    assert CLOSED_JOB not in [c["job_id"] for row in sets.values() for c in row["candidates"]]


def test_who_was_served_without_a_chain_is_counted(spark):
    brought = "flow string, channel string, seeker_id bigint, returned int"
    rows = [
        ("organic", "click_chain", 1, 5),  # has clicked
        ("organic", "apply_chain", 1, 5),  # has not applied
        ("organic", "apply_chain", 2, 5),
        ("organic", "click_chain", 2, 0),  # nothing came
        ("promoted", "apply_chain", 2, 1),
        ("organic", "graph", 2, 5),  # another channel
        ("organic", "apply_chain", 3, 5),  # has applied
    ]
    queries = [(1, [7], []), (2, [], []), (3, [], [7])]
    recorded = []
    run = SimpleNamespace(record=lambda *figure: recorded.append(figure))
    record_attributes_alone(
        run,
        spark.createDataFrame(rows, brought),
        spark.createDataFrame(queries, "seeker_id bigint, clicked array<bigint>, applied array<bigint>"),
    )
    assert recorded == [
        ("by_attributes_alone", 2, "organic/apply_chain"),
        ("by_attributes_alone", 1, "promoted/apply_chain"),
    ]
