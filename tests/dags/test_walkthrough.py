"""What `make demo` shows of Airflow's log, line by line."""

from __future__ import annotations

import importlib.util
from importlib.machinery import SourceFileLoader
from types import ModuleType

import pytest

STAMP = "2026-02-02T00:00:01.000000Z"
HOOK = "[airflow.task.hooks.airflow.providers.apache.spark.hooks.spark_submit.SparkSubmitHook] loc=x.py:9"
LOG = [
    f"{STAMP} [info     ] [DAG TEST] starting task_id=ingest map_index=-1 [airflow.sdk] loc=dag.py:1",
    f"{STAMP} [info     ] Task instance state updated    [airflow.api] loc=x new_state=running",
    f"{STAMP} [info     ] Spark-Submit cmd: spark-submit --master local[2] jobs/ingest.py {HOOK}",
    f"{STAMP} [info     ] WARNING: Using incubator modules: jdk.incubator.vector {HOOK}",
    f"{STAMP} [info     ] 00:00:02 WARN  TaskSetManager: Stage 3 contains a task of very large size {HOOK}",
    f"{STAMP} [info     ] ingest candidates_daily-20260202-20260203-1 {HOOK}",
    f"{STAMP} [info     ] rows [events]: 1,204 {HOOK}",
]
STATE = f"{STAMP} [info     ] Task instance state updated    [airflow.api] loc=x new_state={{}} rows=1"


@pytest.fixture
def walkthrough(root, monkeypatch) -> ModuleType:
    monkeypatch.setenv("SHORTLIST_HOME", str(root))
    monkeypatch.setenv("PYSPARK_PYTHON", "python3")
    loader = SourceFileLoader("walkthrough", str(root / "bin/walkthrough"))
    spec = importlib.util.spec_from_loader("walkthrough", loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr("sys.dont_write_bytecode", True)  # no __pycache__ in bin/
    loader.exec_module(module)
    return module


def test_a_task_shows_its_edges_and_what_the_job_said(walkthrough, capsys):
    assert walkthrough.task_progress(iter([*LOG, STATE.format("success")])) == ""
    shown = capsys.readouterr().out.splitlines()
    assert shown[:3] == [
        "  ingest ...",
        "      ingest candidates_daily-20260202-20260203-1",
        "      rows [events]: 1,204",
    ]
    assert shown[3].startswith("  ingest: ")
    assert len(shown) == 4


@pytest.mark.parametrize("state", ["failed", "up_for_retry"])
def test_the_first_failure_ends_it(walkthrough, state):
    log = iter([*LOG, STATE.format(state), "after"])
    assert walkthrough.task_progress(log) == "ingest"
    assert next(log) == "after"


def test_a_failing_command_shows_its_end_and_names_its_log(walkthrough, capsys, tmp_path):
    log = tmp_path / "job.log"
    command = ["sh", "-c", "echo working; echo 'error: ingest: no events' >&2; exit 3"]
    with pytest.raises(SystemExit):
        walkthrough.follow(command, log, walkthrough.plain_progress)
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        "working",
        "error: ingest: no events",
        f"{' '.join(command)} failed; the whole log is {log}",
    ]
    assert log.read_text() == "working\nerror: ingest: no events\n"


def test_a_second_one_in_the_same_folder_is_refused(walkthrough, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(walkthrough, "LOCK_PATIENCE_S", 0)
    alone_in = walkthrough.alone_in
    with alone_in(tmp_path, "demo"), pytest.raises(SystemExit), alone_in(tmp_path, "demo"):
        pass
    assert "is already at work in" in capsys.readouterr().err
    with walkthrough.alone_in(tmp_path, "demo"):  # free again
        pass


def test_an_interval_needs_both_ends(walkthrough):
    assert walkthrough.interval("2026-02-02..2026-02-03") == ("2026-02-02", "2026-02-03")
    with pytest.raises(Exception, match=r"expected START\.\.END, got '2026-02-02'"):
        walkthrough.interval("2026-02-02")
