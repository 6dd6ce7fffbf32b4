"""Any file that an operator might have is used, or refused with the one documented error."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from daemon.config import ConfigError, load, parse, sections, toml_key
from daemon.config.keys import AllowedKeys, BadKeyFile, load_pair
from tests.fuzz.values import ANYTHING, BYTES, examples

KEY = b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
TOML = st.one_of(
    ANYTHING,
    st.sampled_from(["1s", "0s", "-1s", "1e99s", "1GiB", "9" * 5000 + "s", "9" * 400 + "GiB", "tcp://[::1]:0"]),
    st.sampled_from(["tcp://*:7101", "tcp://127.0.0.1:99999", "a@tcp://x:1", "", "\x00", "\ud800", 2**70, -0.0]),
)
KEYS = {name: [toml_key(field) for field in model.model_fields] for name, model in sections().items()}


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Draws sections and keys that mostly exist, with values of all kinds."""
    found: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from([*KEYS]), max_size=3)):
        found[name] = draw(TOML | st.dictionaries(st.sampled_from(KEYS[name]), TOML, max_size=4))
    if draw(st.integers(0, 9)) == 0:
        found[draw(st.text(max_size=5))] = draw(TOML)
    return found


@examples(125)
@given(tables())
def test_a_configuration(raw: dict[str, Any]) -> None:
    with suppress(ConfigError):
        parse(raw, "it")


def _file(content: bytes, mode: int = 0o600) -> Any:
    file = NamedTemporaryFile()  # noqa: SIM115 - it is the caller's to close
    file.write(content)
    file.flush()
    Path(file.name).chmod(mode)
    return file


@examples(40)
@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_a_configuration_file(content: bytes) -> None:
    with _file(content) as file, suppress(ConfigError):
        load(Path(file.name), {})


LINES = st.one_of(
    BYTES,
    st.just(b"alpha " + KEY),
    st.just(b"beta " + KEY[::-1]),
    st.just(b"carol " + KEY[1:] + b"0 operator"),
    st.sampled_from([b"# x", b"\x00", b"alpha", b"alpha " + KEY[:-1], b"alpha " + b"~" * 40, b"alpha " + b"#" * 40]),
)


@examples(60)
@given(st.lists(LINES, max_size=4).map(b"\n".join))
def test_key_files(content: bytes) -> None:
    with _file(content) as file:
        with suppress(BadKeyFile):
            AllowedKeys(Path(file.name))
        with suppress(BadKeyFile):
            load_pair(Path(file.name))
