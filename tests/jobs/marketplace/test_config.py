from __future__ import annotations

import dataclasses
from datetime import date

import pytest

from jobs.marketplace.config import MarketConfig, MarketError


def test_the_hash_names_the_configuration_for_good():
    # Benchmarks print it: the same configuration must keep its name until GENERATOR_VERSION is raised.
    assert MarketConfig().hash == MarketConfig(hidden_share=0.0).hash == "b2f5e9f9b285"


@pytest.mark.parametrize(
    "change",
    [
        {"n_seekers": 2001},
        {"n_jobs": 4001},
        {"start": date(2026, 1, 2)},
        {"days": 35},
        {"seed": 8},
        {"activity": 1.5},
        {"dirt": 0.0},
        {"hidden_share": 0.5},
    ],
)
def test_every_part_of_the_configuration_changes_the_hash(change):
    assert dataclasses.replace(MarketConfig(), **change).hash != MarketConfig().hash


def test_every_part_of_the_configuration_is_in_the_test_above():
    assert {f.name for f in dataclasses.fields(MarketConfig)} == {
        "n_seekers", "n_jobs", "start", "days", "seed", "activity", "dirt", "hidden_share",
    }  # fmt: skip


def test_the_generators_version_is_part_of_the_hash(monkeypatch):
    usual = MarketConfig().hash
    monkeypatch.setattr("jobs.marketplace.config.GENERATOR_VERSION", 10**6)
    assert MarketConfig().hash != usual


@pytest.mark.parametrize(
    "wrong", [{"n_seekers": 0}, {"n_jobs": -1}, {"days": 1000}, {"dirt": -0.1}, {"activity": 0}, {"hidden_share": 1.5}]
)
def test_out_of_bounds_is_refused_by_name(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(MarketError, match=rf"{name}: expected .*, got {value:g}"):
        MarketConfig(**wrong)


def test_the_period_is_in_utc_and_half_open():
    config = MarketConfig(start=date(2026, 1, 1), days=2)
    assert (config.start_s, config.end_s) == (1767225600, 1767225600 + 2 * 86400)
