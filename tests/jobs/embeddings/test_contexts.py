"""What a job was met beside becomes a part of its vector, by literal rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.embeddings.contexts import beside_contexts
from jobs.embeddings.corpus import JobCorpus
from jobs.embeddings.features import JobRows
from jobs.embeddings.steps import SkipGram


def test_ids_move_by_a_share_of_their_own_length_towards_their_contexts(tmp_path):
    chains = {"chain_id": [0, 1], "jobs": [[10, 11], [11, 12]], "actions": pa.array([[0, 0]] * 2, pa.list_(pa.int32()))}
    (tmp_path / "chains").mkdir()
    pq.write_table(pa.table(chains), tmp_path / "chains" / "part-00000.parquet")
    corpus = JobCorpus(
        job_ids=np.array([10, 11, 12, 13]),
        n_actions=np.array([1, 2, 1, 5]),
        markets=np.full(4, -1),
        # The table's row 0 is a feature of job 12, which has no id; nobody met job 13.
        rows=JobRows(np.array([0, 0, 0, 1, 1]), np.array([0], np.int32), np.array([1, 2, -1, 3])),
        feature_keys=np.array([7]),
        weights=np.ones(4, np.float32),
    )
    table = np.array([[0.0, -4.0], [2.0, 0.0], [0.0, 3.0], [1.0, 1.0]], np.float32)
    options = SkipGram(dim=2, context_weight=0.5, device="cpu")
    moved = beside_contexts(corpus, str(tmp_path), options, table)
    # Job 10 was met with (0, 1) alone; job 11 with (1, 0) and (0, -1), whose direction is (1, -1) / √2.
    aslant = 0.5 * 3.0 / np.sqrt(2.0)
    expected = [[0.0, -4.0], [2.0, 1.0], [aslant, 3.0 - aslant], [1.0, 1.0]]
    np.testing.assert_allclose(moved, expected, rtol=1e-6)
    np.testing.assert_array_equal(table[1], [2.0, 0.0])
