"""The columns that a mapping may fill for each contract table: names, types, and which must be there.

They are the columns of `schemas` as a board writes them: its own ids instead of ours, no slice column, no
flag of ours; and for events `ended_ts`, from which the length of a view is worked out where none is given.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas import EVENTS, HIRES, JOBS, SEEKERS, TAXONOMY, Table


@dataclass(frozen=True, kw_only=True)
class ContractTable:
    """What one contract table takes: its columns and types; `required` ones are never null; `key` is unique.

    `time` is the column whose date decides the slice; None for a table without time. `clamps` says that
    older rows share the slice of the history's first date. Rows break the contract where, of `in_order`
    (low, high, reason), the low end is above the high one, and where a condition of `floors` (column,
    condition, reason) is false.
    """

    table: Table
    columns: dict[str, str]
    required: tuple[str, ...]
    key: tuple[str, ...]
    time: str | None
    clamps: bool = False
    in_order: tuple[tuple[str, str, str], ...] = ()
    floors: tuple[tuple[str, str, str], ...] = ()

    @property
    def name(self) -> str:
        return self.table.name


def _contract(
    table: Table,
    required: str,
    key: str,
    time: str | None,
    *,
    hidden: str = "",
    added: dict[str, str] | None = None,
    clamps: bool = False,
    in_order: tuple[tuple[str, str, str], ...] = (),
    floors: tuple[tuple[str, str, str], ...] = (),
) -> ContractTable:
    own_ids: dict[str, str] = {name: "string" for name in ("seeker_id", "job_id") if name in table.column_names}
    columns = {c.name: c.type for c in table.columns if c.name not in hidden.split()}
    return ContractTable(
        table=table,
        columns={**columns, **own_ids, **(added or {})},
        required=tuple(required.split()),
        key=tuple(key.split()),
        time=time,
        clamps=clamps,
        in_order=in_order,
        floors=floors,
    )


CONTRACT: dict[str, ContractTable] = {
    contract.name: contract
    for contract in (
        _contract(
            SEEKERS, "seeker_id", "seeker_id valid_from", "valid_from",
            hidden="external_id date is_backdated", clamps=True,
        ),
        _contract(
            JOBS, "job_id", "job_id valid_from", "valid_from",
            hidden="external_id date is_backdated", clamps=True,
            in_order=(
                ("posted_ts", "closed_ts", "end before start"),
                ("salary_min", "salary_max", "salary_min above salary_max"),
            ),
        ),
        _contract(
            EVENTS, "event_id seeker_id job_id action event_ts", "event_id", "event_ts",
            hidden="date", added={"ended_ts": "timestamp"},
            in_order=(("event_ts", "ended_ts", "end before start"),),
            floors=(
                ("dwell_seconds", "dwell_seconds >= 0", "dwell_seconds below 0"),
                ("list_position", "list_position >= 1", "list_position below 1"),
            ),
        ),
        _contract(
            HIRES, "seeker_id job_id hired_ts", "seeker_id job_id", "hired_ts",
            hidden="date source", clamps=True, floors=(("weight", "weight > 0", "weight not above 0"),),
        ),
        _contract(
            TAXONOMY, "field surface entity", "field surface entity", None, hidden="taxonomy_version",
        ),
    )
}  # fmt: skip
