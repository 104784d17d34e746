"""Cut each seeker's events into behaviour chains.

Reads `events`; rewrites the dates of `behavior_chains` that this run restates. A chain ends when the next
action comes more than the gap after the last one, and belongs to the date on which it starts.
"""

from __future__ import annotations

from jobs.chains.measure import LENGTHS, chain_figures
from jobs.chains.sessionize import DAYS_AFTER_START, bot_days, chain_events, seeker_actions
from jobs.lake import Lake
from jobs.runs import Run
from jobs.serving import cut_of
from jobs.stage import run_stage, say
from schemas import BEHAVIOR_CHAINS, EVENTS


def main(lake: Lake, run: Run) -> None:
    cut, dates = cut_of(run), run.restated(BEHAVIOR_CHAINS)
    events = lake.read(EVENTS, dates.widened(before=cut.lookback_days, after=DAYS_AFTER_START))
    chains = chain_events(events, cut)
    lake.replace(BEHAVIOR_CHAINS, {"date": dates}, chains.where(chains.date.between(dates.first, dates.last)))

    figures = chain_figures(lake.read(BEHAVIOR_CHAINS, dates))
    bots = bot_days(seeker_actions(lake.read(EVENTS, dates), cut), cut).count()
    run.record("chains", figures.n_chains)
    run.record("chain_actions", figures.n_actions)
    run.record("capped_seeker_days", bots)
    for label in LENGTHS:
        run.record("chain_length", figures.n_by_length[label], label)
    if not figures.n_chains:
        say(f"  no chain starts from {dates.first} to {dates.last}: these dates are written empty")


if __name__ == "__main__":
    run_stage("sessionize_chains", main)
