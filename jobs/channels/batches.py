"""A batch of queries as arrays: what the channels ask with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gpu_retrieval import Ragged
from jobs.channels.inventory import Inventory, terms_by_field
from jobs.channels.neighbors import APPLY, CLICK, Weighed
from jobs.channels.queries import TERM_FIELDS
from jobs.embeddings.features import FIELD_BITS
from jobs.embeddings.model_files import Model


@dataclass(frozen=True)
class Pooling:
    """How seekers' terms become vectors: by the model of the jobs' vectors, at a weight beside a chain, which has 1."""

    model: Model
    weight: float


@dataclass(frozen=True)
class Batch:
    """A batch of queries as arrays. Vectors are unit length, zeros where nothing is known.

    `attributes` (q, d) are those of the seekers' terms, times their weight; None where they count nothing.
    """

    query_ids: np.ndarray
    as_of_s: np.ndarray
    clicked: np.ndarray
    applied: np.ndarray
    terms: dict[str, Ragged]
    bands: list[Ragged]
    excluded: Ragged
    chains: dict[str, Weighed]
    attributes: np.ndarray | None = None

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
            None if self.attributes is None else self.attributes[rows],
        )

    def has(self, field: str) -> np.ndarray:
        """(q,) bool: the query has a term in the field."""
        return np.diff(self.terms[field].offsets) > 0

    @property
    def interest(self) -> np.ndarray:
        """(q, d): clicks and applies together; what orders a channel that has no vector of its own."""
        return unit(self.clicked + self.applied)

    def with_attributes(self, chain: np.ndarray) -> np.ndarray:
        """(q, d): a chain's vectors and the seekers' attributes together; these alone where a seeker has no chain."""
        return chain if self.attributes is None else unit(chain + self.attributes)


def read_batch(rows: pa.RecordBatch, inventory: Inventory, pooling: Pooling | None = None) -> Batch:
    """The arrays of a batch whose columns are those of `queries.COLUMNS`; attributes where they are pooled."""
    columns = {name: rows.column(rows.schema.get_field_index(name)) for name in rows.schema.names}
    n_bands = int(np.max(np.diff(columns["bands"].offsets.to_numpy()), initial=0))
    chains = {
        channel: Weighed(lists_of(columns[name], np.int64), columns[f"{name}_weights"].flatten().to_numpy())
        for channel, name in ((CLICK, "clicked"), (APPLY, "applied"))
    }
    terms = terms_by_field(pa.chunked_array([columns["terms"]]), TERM_FIELDS)
    return Batch(
        query_ids=columns["query_id"].to_numpy(),
        as_of_s=columns["as_of_ts"].cast(pa.int64()).to_numpy() / 1e6,
        clicked=chain_vectors(chains[CLICK], inventory),
        applied=chain_vectors(chains[APPLY], inventory),
        terms=terms,
        bands=[_band(columns["bands"], band) for band in range(n_bands)],
        excluded=lists_of(columns["excluded"], np.int64),
        chains=chains,
        attributes=None if pooling is None else attribute_vectors(terms, pooling),
    )


def attribute_vectors(terms: dict[str, Ragged], pooling: Pooling) -> np.ndarray:
    """(q, d) float32 of length `pooling.weight`: a seeker's terms, pooled as those of a job without history are.

    Zeros where the model knows none of them.
    """
    keys, offsets = keyed(terms, pooling.model.fields)
    return pooling.model.vectors_of_features(keys, offsets) * np.float32(pooling.weight)


def keyed(terms: dict[str, Ragged], fields: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(keys, offsets) of each row's terms. Must match `features.feature_keys`, to the order within a row.

    >>> terms = {"title": Ragged.from_lists([[4], []]), "skill": Ragged.from_lists([[7, 9], [7]])}
    >>> keys, offsets = keyed(terms, ["region", "skill", "title"])
    >>> [divmod(key, 1 << FIELD_BITS) for key in keys.tolist()], offsets.tolist()
    ([(1, 7), (1, 9), (2, 4), (1, 7)], [0, 3, 4])
    """
    known = [(position, terms[field]) for position, field in enumerate(fields) if field in terms]
    n = len(next(iter(terms.values())))
    rows = np.concatenate([np.zeros(0, np.int64), *(ragged.row_numbers() for _, ragged in known)])
    keys = [ragged.values.astype(np.int64) + (position << FIELD_BITS) for position, ragged in known]
    order = np.argsort(rows, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    return np.concatenate([np.zeros(0, np.int64), *keys])[order], offsets


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
