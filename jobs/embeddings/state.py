"""What training learns: started at random or from an earlier model, and kept on disk against a kill."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.artifacts import fresh_copy, is_written, opened_store, written_folder
from jobs.embeddings.corpus import JobCorpus, positions
from jobs.embeddings.encoder import random_table
from jobs.embeddings.features import FIELD_BITS
from jobs.embeddings.model_files import Model
from jobs.embeddings.steps import SkipGram
from jobs.errors import LakeError

Floats = NDArray[np.float32]


@dataclass
class State:
    """Arrays that a learner changes in place.

    `table` (rows, dim) float32 has the embeddings and `squares` (rows, dim) the sums of their squared gradients,
    by which Adagrad steps; `bias` (2,) float32 is the bias of all scores and the same of it. `next_squares` are
    those of the passes over whole chains, (0, 0) before them.
    """

    table: Floats
    squares: Floats
    bias: Floats
    next_squares: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def copy(self, *names: str) -> State:
        """With arrays of its own: all of them, or those that are named."""
        return replace(self, **{name: getattr(self, name).copy() for name in names or vars(self)})


def random_state(n_rows: int, options: SkipGram) -> State:
    table = random_table(n_rows, options.dim, options.seed).numpy()
    # As if the one positive among its negatives were all that is known.
    return State(table, np.zeros_like(table), np.array([-math.log(options.negatives), 0.0], np.float32))


def warm_state(corpus: JobCorpus, options: SkipGram, fields: Sequence[str], model: Model) -> State:
    """The model's embeddings where it has them, random ones for jobs and terms that are new.

    Squares are kept a row, their mean: without them, Adagrad's first steps would forget what was learnt.
    ValueError where the model has vectors of another length, or was kept without squares.
    """
    if model.dim != options.dim or model.squares is None or model.bias is None:
        raise ValueError(f"expected a model of {options.dim} dimensions with squares, got {model.dim} dimensions")
    state = random_state(len(corpus.weights), options)
    n_features, n_known = len(corpus.feature_keys), len(model.feature_keys)
    keys = np.full(n_features, -1, np.int64)
    for position, name in enumerate(fields):
        if name in model.fields:
            own = corpus.feature_keys >> FIELD_BITS == position
            terms = corpus.feature_keys[own] & ((1 << FIELD_BITS) - 1)
            keys[own] = terms + (model.fields.index(name) << FIELD_BITS)
    feature, knows_feature = positions(model.feature_keys, keys)
    job, knows_job = positions(model.job_ids, corpus.job_ids[corpus.has_id])
    rows = np.concatenate([np.flatnonzero(knows_feature), n_features + np.flatnonzero(knows_job)])
    known = np.concatenate([feature[knows_feature], n_known + job[knows_job]])
    state.table[rows] = model.table[known]
    state.squares[rows] = model.squares[known][:, None]
    state.bias[:] = model.bias
    return state


@dataclass(frozen=True)
class Place:
    """How far training has come: the batches of an epoch that are done, their pairs and losses, and its generator.

    `stage` 0 learns by pairs, 1 by whole chains; there `loss` is the mean of a pair in the last epoch of 0.
    """

    stage: int = 0
    epoch: int = 0
    batch: int = 0
    n_pairs: int = 0
    loss_sum: float = 0.0
    loss: float = 0.0
    generator: dict[str, Any] = field(default_factory=dict)


class Checkpoint:
    """The state and the place of a training, written whole below `uri` every `seconds`.

    `key` is of what is trained on and how (`training_key`): what another training left is not taken up.
    """

    def __init__(self, uri: str, key: str, seconds: float, guard: Callable[[], None] | None = None) -> None:
        self._uri, self._key, self._seconds, self._guard = uri, key, seconds, guard
        self._written = time.monotonic()

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self._written >= self._seconds

    def write(self, state: State, place: Place) -> None:
        with written_folder(self._uri, self._guard) as folder:
            for name, array in vars(state).items():
                np.save(folder / f"{name}.npy", array, allow_pickle=False)
            (folder / "place.json").write_text(json.dumps({"key": self._key, "place": asdict(place)}))
        self._written = time.monotonic()

    def read(self, say: Callable[[str], None]) -> tuple[State, Place] | None:
        """What was written last; None where nothing was, or by another training."""
        if not is_written(self._uri):
            return None
        with tempfile.TemporaryDirectory() as scratch:
            try:
                folder = fresh_copy(self._uri, Path(scratch))
            except LakeError as error:
                # An object store takes a folder file by file: a kill may have come between them.
                say(f"  a checkpoint cannot be taken up, training starts anew: {error}")
                return None
            kept = json.loads((folder / "place.json").read_text())
            if kept["key"] != self._key:
                say("  a checkpoint of other chains or settings is not taken up")
                return None
            arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in State.__annotations__}
        return State(**arrays), Place(**kept["place"])

    def remove(self) -> None:
        if is_written(self._uri):
            store, folder = opened_store(self._uri)
            store.delete_dir(folder)


def training_key(corpus: JobCorpus, n_chains: int, options: SkipGram, start: str = "") -> str:
    """A hash of the jobs, the number of chains, the options, and the fingerprint of the model started from."""
    digest = hashlib.sha256(json.dumps([n_chains, start, asdict(options)], sort_keys=True).encode())
    for array in (corpus.job_ids, corpus.n_actions, corpus.markets, corpus.feature_keys, corpus.weights):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
