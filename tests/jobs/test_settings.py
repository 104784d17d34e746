"""Settings are refused by name, with the nearest known one, and freeze to what they were."""

from __future__ import annotations

import pytest

from jobs.errors import SettingsError
from jobs.settings import Settings


def test_what_is_not_written_has_its_default_and_freezes_to_itself():
    settings = Settings.parse({"retrieve_candidates": {"k": 7}})
    assert settings.retrieve_candidates.k == 7
    assert settings.sessionize_chains == Settings().sessionize_chains
    assert Settings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "cuda:0,cuda:1"])
def test_a_device_may_be_several(device):
    assert Settings.parse({"retrieve_candidates": {"device": device}}).retrieve_candidates.device == device


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"retrieve_candidate": {}}, r"unknown option 'retrieve_candidate'; did you mean 'retrieve_candidates'\?"),
        ({"retrieve_candidates": {"K": 7}}, r"settings.retrieve_candidates: unknown option 'K'"),
        ({"retrieve_candidates": {"k": 0}}, "retrieve_candidates.k: expected at least 1, got 0"),
        ({"retrieve_candidates": {"k": "7"}}, "retrieve_candidates.k: expected int, got '7'"),
        ({"retrieve_candidates": {"k": True}}, "expected int, got True"),
        ({"build_index": {"storage": "int4"}}, r"'int4'; did you mean 'int8'\?"),
        ({"build_segment_graph": {"templates": [{"seeker": "skill"}]}}, r"templates\[0\]: missing job"),
        ({"retrieve_candidates": {"device": "gpu"}}, r"device: expected auto .*cuda:0,cuda:1; got 'gpu'"),
        ({"retrieve_candidates": {"device": "cuda:0,cpu"}}, r"device: expected auto .* got 'cuda:0,cpu'"),
        ({"retrieve_candidates": {"device_memory_mb": -1}}, "device_memory_mb: expected at least 0, got -1"),
        ({"training": 3}, "settings.training: expected a table, got 3"),
    ],
)
def test_what_cannot_be_is_refused_with_what_was_expected(tables, message):
    with pytest.raises(SettingsError, match=message):
        Settings.parse(tables)


def test_a_file_that_is_not_there_or_is_not_toml_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.toml does not exist"):
        Settings.load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("k = = 1")
    with pytest.raises(SettingsError, match=r"bad\.toml: not TOML"):
        Settings.load(tmp_path / "bad.toml")


def test_a_file_that_the_settings_name_is_read_when_they_are_frozen(tmp_path):
    path = tmp_path / "overrides.toml"
    settings = Settings.parse({"build_segment_graph": {"overrides": str(path)}})
    with pytest.raises(SettingsError, match=r"overrides\.toml: No such file"):
        settings.frozen()
    path.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=r"overrides\.toml: not UTF-8"):
        settings.frozen()
    path.write_text("[[ban]]")
    frozen = settings.frozen()
    path.write_text("[[force]]")
    assert Settings.from_json(frozen.to_json()).build_segment_graph.overrides_text == "[[ban]]"
    assert Settings().frozen() == Settings()


def test_every_option_says_what_it_means():
    import dataclasses

    for stage in dataclasses.fields(Settings):
        for option in dataclasses.fields(stage.default_factory):
            assert option.metadata.get("meaning"), f"{stage.name}.{option.name}"
