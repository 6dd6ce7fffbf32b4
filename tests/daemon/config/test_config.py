"""The configuration: its errors are sentences, its example is complete, its sections are the machines' own."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from consensus.limits import Limits
from daemon.config import (
    Config,
    ConfigError,
    Consensus,
    Listen,
    Membership,
    Security,
    Seed,
    load,
    parse,
    sections,
    toml_key,
)
from daemon.config.quantities import BadQuantity, duration_ns, parse_address, size_bytes, size_text
from daemon.membership.config import MembershipConfig

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"
OPEN = {"security": {"encryption": "none"}}


def complaint(raw: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(raw, "shoal.toml")
    return str(caught.value)


def test_the_example_parses_and_is_nothing_but_the_defaults() -> None:
    assert load(EXAMPLE, {}) == Config()


def test_the_example_names_every_key_once_and_no_other() -> None:
    found: list[str] = []
    section = ""
    for line in EXAMPLE.read_text().splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match[1]
        elif match := re.match(r"#?(\w+) = ", line):
            found.append(f"{section}.{match[1]}")
    known = [f"{name}.{toml_key(field)}" for name, model in sections().items() for field in model.model_fields]
    assert sorted(found) == sorted(known)


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("")
    assert load(tmp_path / "c.toml", {}) == Config()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"ticks": {"phase_timout": "1s"}}, "ticks.phase_timout: there is no such key; did you mean 'phase_timeout'?"),
        ({"ticks": {"probe_timeout": "1s"}}, "did you mean 'membership.probe_timeout'?"),
        ({"ticks": {"phase_timeout_ns": 3}}, "there is no such key; did you mean 'phase_timeout'?"),
        ({"phase_timeout": "1s"}, "phase_timeout: there is no such key; it belongs in [ticks]"),
        ({"tick": {}}, "tick: there is no such section; did you mean 'ticks'?"),
        ({"ticks": 3}, "ticks: is a section"),
        ({"ticks": {"phase_timeout": 30}}, "ticks.phase_timeout: should be a duration with a unit"),
        ({"ticks": {"phase_timeout": "30"}}, "should be a duration with a unit"),
        ({"ticks": {"phase_timeout": "0s"}}, "should be greater than 0"),
        ({"ticks": {"phase_timeout": "9" * 100 + "s"}}, "should be a duration with a unit"),
        ({"ticks": {"resend_interval": "40s"}}, "resend_interval should be shorter than phase_timeout"),
        ({"transport": {"frame_bytes_max": "2 apples"}}, "transport.frame_bytes_max: should be a size with a unit"),
        ({"cluster": {"expect": True}}, "cluster.expect: should be a valid integer"),
        ({"cluster": {"expect": "3"}}, "cluster.expect: should be a valid integer"),
        ({"cluster": {"shard": "no spaces"}}, "cluster.shard: should be 1 to 63 letters"),
        ({"cluster": {"seeds": ["b"]}}, 'cluster.seeds[0]: should be "NAME@tcp://HOST:PORT"'),
        ({"cluster": {"seeds": ["tcp://10.0.0.6:7101"]}}, "lacks the name that selects its key"),
        ({"listen": {"control": "tcp://127.0.0.1:0"}}, "listen.control: should be an address"),
        ({"listen": {"control": "tcp://0.0.0.0:7101"}}, "other shards can't connect to 'tcp://0.0.0.0:7101'"),
        ({"listen": {"control": "tcp://127.0.0.1:7102"}}, "give each a port of its own"),
        ({"security": {"encryption": "tls"}}, "security.encryption: should be 'curve' or 'none'"),
        ({"security": {"secret_key": ""}}, 'encryption = "curve" needs secret_key'),
        ({"membership": {"probe_timeout": "1s"}}, "probe_timeout should be shorter than probe_interval"),
        ({"membership": {"join_retry_min": "1m"}}, "join_retry_min should be at most join_retry_max"),
        ({"consensus": {"election_timeout": "200ms"}}, "at least 3 times heartbeat_interval"),
        ({"consensus": {"voters_max": 8}}, "consensus.voters_max: should be less than or equal to 7"),
        ({"admin": {"mode": "rw"}}, "admin.mode: should be a file mode in octal"),
        ({"admin": {"listen": "7103"}}, 'admin.listen: should be an address such as "tcp://10.0.0.5:7103", or ""'),
        ({"admin": {"listen": "tcp://127.0.0.1:7101"}}, "give operators a port of their own"),
        ({"metrics": {"listen": "9190"}}, 'metrics.listen: should be "HOST:PORT"'),
        ({"log": {"level": "loud"}}, "log.level: should be 'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_mistake_gets_a_sentence_with_file_and_key(raw: dict[str, Any], said: str) -> None:
    text = complaint(raw)
    assert said in text
    assert text.startswith("shoal.toml: ")
    assert "\n" not in text


def test_all_mistakes_are_told_at_once() -> None:
    assert complaint({"ticks": {"phase_timeout": 1, "runs_max": 0}}).count("\n") == 1


def test_plain_text_on_a_network_has_to_be_accepted() -> None:
    exposed = {**OPEN, "listen": {"control": "tcp://10.0.0.5:7101"}}
    assert "plain_text_accepted" in complaint(exposed)
    accepted = parse({**exposed, "security": {"encryption": "none", "plain_text_accepted": True}}, "f")
    assert accepted.plain_text_exposed
    assert not parse(OPEN, "f").plain_text_exposed


def test_plain_text_never_carries_what_operators_say_between_machines() -> None:
    trusted = {"security": {"encryption": "none", "plain_text_accepted": True}}
    for address in ("tcp://10.0.0.5:7103", "tcp://0.0.0.0:7103", "tcp://[::]:7103", "tcp://alpha.example:7103"):
        said = complaint({**trusted, "admin": {"listen": address}})
        assert f"admin.listen: {address} can be reached from other machines" in said
        assert "never sent in plain text between machines" in said
    near = parse({**trusted, "admin": {"listen": "tcp://127.0.0.1:7103"}}, "f").admin.address
    assert near is not None
    assert near.loopback
    far = parse({"admin": {"listen": "tcp://0.0.0.0:7103"}}, "f").admin.address
    assert far is not None
    assert parse({}, "f").admin.address is None


def test_what_is_bound_is_advertised_unless_said_otherwise() -> None:
    assert Listen(control="tcp://10.0.0.5:1").advertise_control == "tcp://10.0.0.5:1"
    listen = parse(
        {"listen": {"ticks": "tcp://0.0.0.0:7102", "advertise_ticks": "tcp://shard-a.example:7102"}}, "f"
    ).listen
    assert listen.advertise_ticks == "tcp://shard-a.example:7102"


def test_seeds_have_a_name_and_an_address() -> None:
    found = parse({**OPEN, "cluster": {"seeds": ["b@tcp://[::1]:7101", "tcp://c:7101"]}}, "f").cluster.seeds
    assert found == (Seed("b", "tcp://[::1]:7101"), Seed(None, "tcp://c:7101"))


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        '[cluster]\ndata = "d"\n[admin]\nsocket = "a.sock"\n[security]\nsecret_key = "k"\n'
    )
    config = load(tmp_path / "c.toml", {})
    assert (config.cluster.data, config.admin.socket) == (tmp_path / "d", tmp_path / "a.sock")
    assert config.security.secret_key == tmp_path / "k"
    assert config.security.allowed_keys == Path("/etc/shoal/allowed_keys")


def test_a_credential_of_the_service_manager_takes_the_keys_place(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("")
    (tmp_path / "secret_key").write_text("")
    assert load(tmp_path / "c.toml", {"CREDENTIALS_DIRECTORY": str(tmp_path)}).security.secret_key == (
        tmp_path / "secret_key"
    )
    elsewhere = load(tmp_path / "c.toml", {"CREDENTIALS_DIRECTORY": "/nowhere"})
    assert elsewhere.security.secret_key == Security().secret_key


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.toml: cannot be read: No such file"):
        load(tmp_path / "nope.toml")
    (tmp_path / "c.toml").write_text("[cluster\n")
    with pytest.raises(ConfigError, match=r"c\.toml: is not TOML: .*line 1"):
        load(tmp_path / "c.toml")
    (tmp_path / "c.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not TOML"):
        load(tmp_path / "c.toml")


def test_the_sections_fill_the_machines_own_settings() -> None:
    assert MembershipConfig(**Membership().model_dump()) == MembershipConfig()
    limits = Limits(**Consensus().model_dump(exclude={"snapshot_entries"}))
    assert {field.name for field in dataclasses.fields(limits)} == set(Consensus.model_fields) - {"snapshot_entries"}


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().ticks.runs_max = 3  # type: ignore[misc]


@pytest.mark.parametrize("value", [1, 1000, 1024, 64 * 1024**2, 3 * 1024**3])
def test_sizes_survive_being_written(value: int) -> None:
    assert size_bytes(size_text(value)) == value


@pytest.mark.parametrize("text", ["", "s", "1", "-1s", "1 fortnight", "0.5ns", "1e3s", "1" * 10_000])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(BadQuantity):
        duration_ns(text)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [("tcp://127.8.0.1:1", True), ("tcp://[::1]:1", True), ("tcp://localhost:1", True), ("tcp://10.0.0.1:1", False),
     ("tcp://example.org:1", False), ("tcp://0.0.0.0:1", False)],
)  # fmt: skip
def test_loopback(url: str, loopback: bool) -> None:
    address = parse_address(url)
    assert address.loopback is loopback
    assert address.url == url
