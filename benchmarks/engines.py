"""Databases and a search engine on the same jobs, queries and filters, each with two threads; all are exact.

LanceDB filters before it scans, with a bitmap index a column; tantivy finds what passes, and NumPy scores that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from benchmarks.clock import now
from benchmarks.market import Asked, Market, parts
from benchmarks.rivals import THREADS
from gpu_retrieval import AnyOf

FIELDS = ("region", "occupation", "tag")


class DuckDB:
    """A table scan with the filter in WHERE and ORDER BY inner product LIMIT k."""

    name, exact = "DuckDB", True

    def __init__(self, market: Market) -> None:
        import duckdb

        jobs, d = _table(market), market.vectors.shape[1]
        self.connection = duckdb.connect(config={"threads": THREADS})
        self.connection.register("source", jobs)
        self.connection.execute(f"CREATE TABLE jobs AS SELECT * REPLACE (vector::FLOAT[{d}] AS vector) FROM source")
        self.d = d

    def search(self, asked: Asked, k: int) -> tuple[np.ndarray, float]:
        def one(i: int) -> np.ndarray:
            found: np.ndarray = self.connection.execute(
                f"SELECT id FROM jobs WHERE {_condition(asked, i) or 'true'} "
                f"ORDER BY array_inner_product(vector, ?::FLOAT[{self.d}]) DESC LIMIT {k}",
                [asked.queries[i].tolist()],
            ).fetchnumpy()["id"]
            return found

        return _one_by_one(one, len(asked), k)


class LanceDB:
    """A flat scan of what the scalar indexes leave: at these pass rates no vector index is wanted."""

    name, exact = "LanceDB", True

    def __init__(self, market: Market) -> None:
        import lancedb

        self.folder = tempfile.TemporaryDirectory()
        self.table = lancedb.connect(self.folder.name).create_table("jobs", _table(market))
        for field in FIELDS:
            self.table.create_scalar_index(field, index_type="BITMAP")
        self.table.create_scalar_index("salary", index_type="BTREE")

    def search(self, asked: Asked, k: int) -> tuple[np.ndarray, float]:
        def one(i: int) -> np.ndarray:
            query = self.table.search(asked.queries[i]).distance_type("dot").select(["id", "_distance"]).limit(k)
            condition = _condition(asked, i)
            if condition:
                query = query.where(condition, prefilter=True)
            found: np.ndarray = query.to_arrow().column("id").to_numpy()
            return found

        return _one_by_one(one, len(asked), k)


class Tantivy:
    """Postings and a fast field for the salary; NumPy scores all that pass. Not without a filter."""

    name, exact = "tantivy + rerank", True

    def __init__(self, market: Market) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_integer_field("id", fast=True)
        for field in FIELDS:
            builder.add_integer_field(field, indexed=True)
        builder.add_float_field("salary", indexed=True, fast=True)
        self.tantivy, self.market, self.schema = tantivy, market, builder.build()
        index = tantivy.Index(self.schema)
        writer = index.writer(heap_size=512 << 20, num_threads=THREADS)
        columns = [getattr(market, name).tolist() for name in (*FIELDS, "salary")]
        for number, values in enumerate(zip(*columns, strict=True)):
            document = dict(zip((*FIELDS, "salary"), values, strict=True))
            writer.add_document(tantivy.Document(id=number, **document))
        writer.commit()
        index.reload()
        self.searcher = index.searcher()

    def search(self, asked: Asked, k: int) -> tuple[np.ndarray, float]:
        kind, query = self.tantivy, self.tantivy.Query

        def one(i: int) -> np.ndarray:
            must = []
            for part in parts(asked.where):
                if isinstance(part, AnyOf):
                    must.append(query.term_set_query(self.schema, part.field, part.rows.row(i).tolist()))
                else:
                    lo = float(part.lo[i])
                    must.append(query.range_query(self.schema, part.field, kind.FieldType.Float, lower_bound=lo))
            both = query.boolean_query([(kind.Occur.Must, part) for part in must])
            hits = self.searcher.search(both, limit=len(self.market.region), count=False).hits
            if not hits:
                return np.empty(0, dtype=np.int64)
            rows = np.array(self.searcher.fast_field_values("id", [address for _, address in hits]))
            scores = self.market.vectors[rows] @ asked.queries[i]
            best = np.argpartition(-scores, k - 1)[:k] if len(rows) > k else np.arange(len(rows))
            return rows[best[np.argsort(-scores[best])]]

        return _one_by_one(one, len(asked), k)


def _table(market: Market) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(market.vectors.reshape(-1)), market.vectors.shape[1])
    columns = {name: getattr(market, name) for name in (*FIELDS, "salary")}
    return pa.table({"id": np.arange(len(market.region)), "vector": vectors, **columns})


def _condition(asked: Asked, query: int) -> str:
    """The query's filter in SQL, empty without one."""
    conditions = []
    for part in parts(asked.where):
        if isinstance(part, AnyOf):
            conditions.append(f"{part.field} IN ({', '.join(map(str, part.rows.row(query).tolist()))})")
        else:
            conditions.append(f"{part.field} >= {part.lo[query]}")
    return " AND ".join(conditions)


def _one_by_one(one: Callable[[int], np.ndarray], n: int, k: int) -> tuple[np.ndarray, float]:
    """Ids (n, k) of queries asked one after another, -1 where there are fewer, and seconds."""
    ids = np.full((n, k), -1, dtype=np.int64)
    start = now()
    for i in range(n):
        found = one(i)
        ids[i, : len(found)] = found
    return ids, now() - start
