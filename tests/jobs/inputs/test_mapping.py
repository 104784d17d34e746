from __future__ import annotations

import json
from datetime import date

import pytest

from jobs.errors import MappingError
from jobs.inputs.mapping import Mapping, load_mapping

MAPPING = """
[board]
name = "demo"
history_start = 2026-01-01
max_quarantined_share = 0.05

[inputs.profiles]
path = "profiles"
format = "csv"
options = { header = true, sep = ";" }

[inputs.postings]
path = "${STORE}/postings"
format = "delta"

[[seekers]]
source = "profiles"
kind = "snapshot"
input = "profiles"
[seekers.columns]
seeker_id = "user_uuid"
titles = "array(title)"

[[jobs]]
source = "postings"
query = "SELECT * FROM postings"
arrived = "loaded_at"
[jobs.columns]
job_id = "id"

[[hires]]
source = "replies"
input = "postings"
stands_for = "reply"
[hires.columns]
seeker_id = "who"
job_id = "id"
hired_ts = "at"
"""


def write(tmp_path, text):
    path = tmp_path / "mapping.toml"
    path.write_text(text)
    return path


def test_a_mapping_is_read_with_paths_made_absolute_and_names_expanded(tmp_path):
    mapping = load_mapping(write(tmp_path, MAPPING), {"STORE": "s3a://bucket/board"})
    assert mapping.board.history_start == date(2026, 1, 1)
    assert mapping.inputs["profiles"].path == str(tmp_path / "profiles")
    assert mapping.inputs["profiles"].options == {"header": "true", "sep": ";"}
    assert mapping.inputs["postings"].path == "s3a://bucket/board/postings"
    assert [s.source for s in mapping.of("jobs")] == ["postings"]
    assert mapping.kind_of("seekers") == "snapshot"
    assert mapping.kind_of("jobs") == "history"
    assert mapping.of("hires")[0].stands_for == "reply"


def test_a_frozen_mapping_is_the_same_mapping(tmp_path):
    mapping = load_mapping(write(tmp_path, MAPPING), {"STORE": "/data"})
    assert Mapping.from_dict(json.loads(json.dumps(mapping.to_dict()))) == mapping


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # a table that is not in the contract
        ("[[hires]]", "[[hire]]", "unknown table 'hire'; did you mean 'hires'?"),
        ("titles =", "title =", "seekers source 'profiles': unknown column 'title'; did you mean 'titles'?"),
        ("arrived =", "arived =", "jobs source 'postings': unknown option 'arived'; did you mean 'arrived'?"),
        # hires are dated rows, not versions
        ('stands_for = "reply"', 'kind = "history"', "hires source 'replies': unknown option 'kind'"),
        ('input = "profiles"', 'input = "profile"', "unknown input 'profile'; did you mean 'profiles'?"),
        ('kind = "snapshot"', 'kind = "snapshots"', "did you mean 'snapshot'?"),
        ('format = "delta"', 'format = "delat"', "unknown format 'delat'; did you mean 'delta'?"),
        # schema inference would decide types behind the contract's back
        ("header = true", "inferSchema = true", "unknown csv reader option 'inferSchema'"),
        ('"delta"', '"delta"\noptions = { versionAsOf = 3 }', "a delta input takes none"),
        ("user_uuid", " ", "expected text, got ' '"),
        (
            'seeker_id = "who"\n',
            "",
            "hires source 'replies': no expression for the required column seeker_id",
        ),
        ('input = "profiles"', "", "expected either input or query, got neither"),
        ('query = "SELECT', 'input = "postings"\nquery = "SELECT', "got both"),
        ("2026-01-01", "2026-01-01T00:00:00", "history_start: expected a date"),
        ("0.05", "1.5", "max_quarantined_share: expected a number from 0 to 1, got 1.5"),
        ("[[jobs]]", "[jobs]", "expected one [[jobs]] a source"),
        ("${STORE}", "${STOER}", "needs the environment variable STOER"),
        ("${STORE}", "s3a://key:word@bucket", "holds a secret"),
        ('name = "demo"', "", "[board]: missing name"),
        ("[board]", "[board", "not TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, old, new, message):
    assert old in MAPPING
    with pytest.raises(MappingError) as refused:
        load_mapping(write(tmp_path, MAPPING.replace(old, new)), {"STORE": "/data"})
    assert message in str(refused.value)
    assert "mapping.toml" in str(refused.value)


def test_sources_of_one_table_are_named_apart_and_of_one_kind(tmp_path):
    again = '\n[[seekers]]\nsource = "profiles"\ninput = "profiles"\n[seekers.columns]\nseeker_id = "id"\n'
    with pytest.raises(MappingError, match="two sources are named 'profiles'"):
        load_mapping(write(tmp_path, MAPPING + again), {"STORE": "/data"})
    with pytest.raises(MappingError, match="seekers: expected all sources of one kind"):
        load_mapping(write(tmp_path, MAPPING + again.replace('"profiles"\ni', '"older"\ni')), {"STORE": "/data"})


def test_a_board_without_jobs_or_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(MappingError, match=r"no \[\[jobs\]\]"):
        load_mapping(write(tmp_path, '[board]\nname = "x"\nhistory_start = 2026-01-01\n'))
    with pytest.raises(MappingError, match="does not exist"):
        load_mapping(tmp_path / "absent.toml")
