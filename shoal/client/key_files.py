"""Files of CURVE keys: one's own pair, and the public keys of others. Both ends of a connection read them.

    NAME SECRETKEY                # a key pair's file; the public key is computed from it
    NAME PUBLICKEY                # a line of a list of public keys: a member of the cluster
    NAME PUBLICKEY operator       # or an operator, who is not a member

Keys are written in Z85 (ZeroMQ RFC 32), 40 characters. That alphabet contains '#', so only a line that begins with one
is a comment. An error names the file and line of a mistake, but never shows the text: it may be a secret.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import zmq
from zmq.utils import z85

from shoal.api.errors import ShoalError

KEY_FILE_BYTES_MAX: Final = 1 << 20
KEY_CHARACTERS: Final = 40
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
OPERATOR: Final = "operator"


class BadKeyFile(ShoalError):
    """Raised for a key or key file that is refused; the text says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """One's own keys, in Z85."""

    name: str
    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A line of a key file, and its position."""

    number: int
    name: str
    key: bytes
    is_operator: bool


def load_pair(path: Path, *, group_may_read: bool = False) -> KeyPair:
    """Returns the key pair in a secret key file, which only its owner may read.

    `group_may_read` is for files that a service manager passes as credentials: they have an access list, whose mask
    looks like a group's permission.
    """
    status = _status(path)
    mode = stat.S_IMODE(status.st_mode)
    if mode & (0o007 if group_may_read else 0o077):
        raise BadKeyFile(f"{path} can be read by others (mode {mode:04o}): run `chmod 600 {path}`, and make a new key")
    _check_writers(path, status, group_may_read=group_may_read)
    pairs = list(key_lines(path))
    if len(pairs) != 1 or pairs[0].is_operator:
        raise BadKeyFile(f"{path} should hold one line, NAME SECRETKEY; it holds {_what_instead(pairs)}")
    return KeyPair(pairs[0].name, zmq.curve_public(pairs[0].key), pairs[0].key)


def member_key(path: Path, name: str) -> bytes:
    """Returns the public key of a member from a list of keys, such as a cluster's allowed ones."""
    lines = {line.name: line for line in key_lines(path) if not line.is_operator}
    if name not in lines:
        known = ", ".join(sorted(lines)) or "none"
        raise BadKeyFile(f"{path} has no key of a member called '{name}'; it has: {known}")
    return lines[name].key


def key_lines(path: Path) -> Iterator[KeyLine]:
    """Yields every line that is neither empty nor a comment."""
    try:
        with path.open("rb") as file:
            content = file.read(KEY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise BadKeyFile(f"cannot read {path}: {error.strerror}") from error
    if len(content) > KEY_FILE_BYTES_MAX:
        raise BadKeyFile(f"{path} is larger than {KEY_FILE_BYTES_MAX} bytes: is it a key file?")
    for number, line in enumerate(content.decode("ascii", "replace").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if not 2 <= len(words) <= 3 or not NAME.fullmatch(words[0]) or not is_key(words[1]):
            raise BadKeyFile(f"{path}:{number}: expected NAME KEY, the key 40 characters of Z85")
        if len(words) == 3 and words[2] != OPERATOR:
            raise BadKeyFile(f"{path}:{number}: only the word {OPERATOR} may follow NAME KEY")
        yield KeyLine(number, words[0], words[1].encode(), len(words) == 3)


def is_key(text: str) -> bool:
    """Whether this is a key in Z85."""
    if len(text) != KEY_CHARACTERS:
        return False
    try:
        return len(z85.decode(text.encode("ascii"))) == 32
    except (KeyError, ValueError, ArithmeticError, UnicodeEncodeError, struct.error):
        return False


def _what_instead(lines: list[KeyLine]) -> str:
    return "an operator's public key" if len(lines) == 1 else str(len(lines))


def check_list(path: Path) -> None:
    """Checks that only its owner, this process's user or root, can add a key to a list. Raises `BadKeyFile`."""
    _check_writers(path, _status(path))


def _status(path: Path) -> os.stat_result:
    try:
        status = path.stat()
    except OSError as error:
        raise BadKeyFile(f"cannot read {path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise BadKeyFile(f"{path} is not a file")
    return status


def _check_writers(path: Path, status: os.stat_result, *, group_may_read: bool = False) -> None:
    """Checks the file's owner, and who can write or replace it: in its folder, and in that of the file it links to."""
    _check_owner(path, status)
    mode = stat.S_IMODE(status.st_mode)
    if mode & (0o002 if group_may_read else 0o022):
        raise BadKeyFile(
            f"{path} can be written by others (mode {mode:04o}): run `chmod go-w {path}`, and check its contents"
        )
    for folder in dict.fromkeys((path.absolute().parent, path.resolve().parent)):
        within = folder.stat()
        _check_owner(folder, within)
        if within.st_mode & 0o022 and not within.st_mode & stat.S_ISVTX:  # in /tmp and the like, only owners may rename
            mode = stat.S_IMODE(within.st_mode)
            raise BadKeyFile(
                f"{folder}, where {path.name} is, can be written by others (mode {mode:04o}), who could put another "
                f"file in its place: check the file, and run `chmod go-w {folder}`"
            )


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (os.geteuid(), 0):
        raise BadKeyFile(
            f"{path} belongs to user {status.st_uid}, who could change it: it should be root's or that of user "
            f"{os.geteuid()}, as whom this runs (`chown`)"
        )
