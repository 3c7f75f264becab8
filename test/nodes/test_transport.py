"""Choice of the Fast DDS transports, and warnings if those in use lose large images."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from depth_ros.nodes import transport

VARIABLES = (*transport.PROFILE_VARIABLES, transport.BUILTIN_VARIABLE)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(transport, "shared_memory_size", lambda: 1e9)
    monkeypatch.setattr(transport, "get_rmw_implementation_identifier", lambda: "rmw_fastrtps_cpp")
    monkeypatch.setattr(transport, "installed_version", lambda *names: "9.1.2")


def test_the_profile_holds_two_4k_images_in_shared_memory_and_reaches_other_computers():
    file = transport.profile_file()
    assert file and file.is_file()
    text = {e.tag.rpartition("}")[2]: e.text for e in ElementTree.parse(file).iter()}
    kinds = [e.text for e in ElementTree.parse(file).iter() if e.tag.endswith("}type")]
    assert 2 * 3840 * 2160 * 3 < int(text["segment_size"]) <= transport.NEEDED_SHARED_MEMORY / 2
    assert kinds == ["SHM", "UDPv4"] and text["useBuiltinTransports"] == "false"


def test_default_transports_are_warned_about_with_the_profile_to_use():
    problem = transport.transport_problem()
    assert "loses most images over 0.5 MB" in problem
    assert (
        f"set FASTDDS_DEFAULT_PROFILES_FILE={transport.profile_file()} (in Humble and Jazzy FASTRTPS_"
        in problem
    )


@pytest.mark.parametrize("name", VARIABLES)
def test_the_users_choice_is_kept_and_not_warned_about(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "own.xml").write_text("<dds/>")
    value = str(tmp_path / "own.xml") if name in transport.PROFILE_VARIABLES else "LARGE_DATA"
    monkeypatch.setenv(name, value)
    transport.select_transports()
    assert [transport.os.environ[each] for each in VARIABLES] == [
        value * (each == name) for each in VARIABLES
    ]
    assert transport.transport_problem() == ""


def test_without_a_choice_the_profile_is_selected(monkeypatch: pytest.MonkeyPatch):
    transport.select_transports()
    assert transport.os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] == str(transport.profile_file())
    assert (
        transport.os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] == ""
    )  # Fast DDS 3 would read the file twice
    assert transport.transport_problem() == ""
    monkeypatch.setattr(transport, "shared_memory_size", lambda: 64e6)  # Docker's default
    assert (
        "/dev/shm has 64 MB" in transport.transport_problem()
        and "--ipc=host" in transport.transport_problem()
    )


@pytest.mark.parametrize("version", ["3.3.9", "7.1.6", "none"])
def test_fast_dds_2_gets_the_variable_that_it_reads(version: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transport, "installed_version", lambda *names: version)
    transport.select_transports()
    assert transport.os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(transport.profile_file())


def test_a_profile_that_does_not_exist_is_warned_about(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "/no/such/file.xml")
    assert "cannot read its profile '/no/such/file.xml'" in transport.transport_problem()


def test_other_middleware_is_not_warned_about(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transport, "get_rmw_implementation_identifier", lambda: "rmw_zenoh_cpp")
    assert transport.transport_problem() == ""
