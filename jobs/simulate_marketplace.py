"""Write a sample marketplace: a job board's own tables, and the truth that was planted in them.

Needs no lake and no run. What is written and what lies in `truth/` is described in `jobs.marketplace`; a
folder is whole once `market.json` is in it. The same flags on a whole folder change nothing; other flags are
refused unless --overwrite is given.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date

from jobs.marketplace.config import MarketConfig
from jobs.marketplace.market import simulate
from jobs.stage import one_clear_line, say, start_spark


def parser() -> argparse.ArgumentParser:
    usual = MarketConfig()
    result = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    result.add_argument("--out", required=True, help="folder or object-store prefix to write to")
    result.add_argument("--n-seekers", type=int, default=usual.n_seekers, help="default %(default)s")
    result.add_argument("--n-jobs", type=int, default=usual.n_jobs, help="over the whole period; default %(default)s")
    result.add_argument("--start", type=date.fromisoformat, default=usual.start, help="first day; default %(default)s")
    result.add_argument("--days", type=int, default=usual.days, help="default %(default)s")
    result.add_argument("--seed", type=int, default=usual.seed, help="default %(default)s")
    result.add_argument("--activity", type=float, default=usual.activity, help="share of the usual lists; default 1")
    result.add_argument("--dirt", type=float, default=usual.dirt, help="share of the usual dirt; 0 is none; default 1")
    share = "share of the variance of the match between seeker and job that no field tells; default 0"
    result.add_argument("--hidden-share", type=float, default=usual.hidden_share, help=share)
    result.add_argument("--overwrite", action="store_true", help="replace a market that is there")
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    given = vars(parser().parse_args(arguments))
    out, overwrite = given.pop("out").rstrip("/"), given.pop("overwrite")
    with one_clear_line("simulate_marketplace"):
        config = MarketConfig(**given)
        spark = start_spark("simulate_marketplace")
        market = simulate(spark, config, out, overwrite, say)
        say("\n".join(f"  {table}: {n:,} rows" for table, n in market["rows"].items()))
        spark.stop()


if __name__ == "__main__":
    main()
