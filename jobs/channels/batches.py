"""A batch of queries as arrays: what the channels ask with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gpu_retrieval import Ragged
from jobs.channels.inventory import Inventory, terms_by_field
from jobs.channels.neighbors import APPLY, CLICK, Weighed
from jobs.channels.queries import TERM_FIELDS


@dataclass(frozen=True)
class Batch:
    """A batch of queries as arrays. Vectors are unit length, zeros where nothing is known."""

    query_ids: np.ndarray
    as_of_s: np.ndarray
    clicked: np.ndarray
    applied: np.ndarray
    terms: dict[str, Ragged]
    bands: list[Ragged]
    excluded: Ragged
    chains: dict[str, Weighed]

    def __len__(self) -> int:
        return len(self.query_ids)

    def take(self, rows: np.ndarray) -> Batch:
        """These queries of the batch, in this order."""
        return Batch(
            self.query_ids[rows],
            self.as_of_s[rows],
            self.clicked[rows],
            self.applied[rows],
            {field: terms.take(rows) for field, terms in self.terms.items()},
            [band.take(rows) for band in self.bands],
            self.excluded.take(rows),
            {channel: chain.take(rows) for channel, chain in self.chains.items()},
        )

    def has(self, field: str) -> np.ndarray:
        """(q,) bool: the query has a term in the field."""
        return np.diff(self.terms[field].offsets) > 0

    @property
    def interest(self) -> np.ndarray:
        """(q, d): clicks and applies together; what orders a channel that has no vector of its own."""
        return unit(self.clicked + self.applied)


def read_batch(rows: pa.RecordBatch, inventory: Inventory) -> Batch:
    """The arrays of a batch whose columns are those of `queries.COLUMNS`."""
    columns = {name: rows.column(rows.schema.get_field_index(name)) for name in rows.schema.names}
    n_bands = int(np.max(np.diff(columns["bands"].offsets.to_numpy()), initial=0))
    chains = {
        channel: Weighed(lists_of(columns[name], np.int64), columns[f"{name}_weights"].flatten().to_numpy())
        for channel, name in ((CLICK, "clicked"), (APPLY, "applied"))
    }
    return Batch(
        query_ids=columns["query_id"].to_numpy(),
        as_of_s=columns["as_of_ts"].cast(pa.int64()).to_numpy() / 1e6,
        clicked=chain_vectors(chains[CLICK], inventory),
        applied=chain_vectors(chains[APPLY], inventory),
        terms=terms_by_field(pa.chunked_array([columns["terms"]]), TERM_FIELDS),
        bands=[_band(columns["bands"], band) for band in range(n_bands)],
        excluded=lists_of(columns["excluded"], np.int64),
        chains=chains,
    )


def chain_vectors(chains: Weighed, inventory: Inventory) -> np.ndarray:
    """(q, d) unit vectors: the mean of a chain's job vectors, each with its weight."""
    lengths = np.diff(chains.jobs.offsets)
    weighted = inventory.vectors_of(chains.jobs.values) * chains.weights[:, None]
    pooled = np.zeros((len(lengths), inventory.dim), np.float32)
    some = lengths > 0
    if some.any():
        pooled[some] = np.add.reduceat(weighted, chains.jobs.offsets[:-1][some], axis=0)
    return unit(pooled)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; rows of zeros stay."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)


def lists_of(lists: pa.ListArray, dtype: type) -> Ragged:
    """A list column as `Ragged`."""
    first, last = lists.offsets[0].as_py(), lists.offsets[-1].as_py()
    offsets = lists.offsets.to_numpy().astype(np.int64) - first
    return Ragged(offsets, lists.values.slice(first, last - first).to_numpy().astype(dtype, copy=False))


def _band(bands: pa.ListArray, number: int) -> Ragged:
    """The node ids of band `number`, a row each; an empty row where a query has fewer bands."""
    outer = bands.offsets.to_numpy().astype(np.int64) - bands.offsets[0].as_py()
    inner = lists_of(bands.flatten(), np.int32)
    has = np.diff(outer) > number
    with_empty = Ragged(np.append(inner.offsets, inner.offsets[-1]), inner.values)
    return with_empty.take(np.where(has, outer[:-1] + number, len(inner)))
