"""CURVE keys: who may speak in a cluster.

Every shard has a key pair (Curve25519, by way of libzmq). The secret one stays on its machine, in a file that only the
daemon's user may read; the public ones of all members are listed in one file, the same on every machine:

    # allowed_keys: NAME PUBLICKEY
    alpha  rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7
    beta   ...

Keys are written in Z85 (ZeroMQ RFC 32), 40 characters. That alphabet has a '#', so a comment is a line that begins with
one. A key pair's file is `NAME SECRETKEY`; the public key is computed from it.

Rotation: add the new public key under a name of its own (`alpha-2026`), reload everywhere, give the shard its new
secret key and restart it, then remove the old line and reload.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

KEY_FILE_BYTES_MAX = 1 << 20
KEY_CHARACTERS = 40
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class BadKeyFile(Exception):
    """A key file that is not used; the text says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A shard's own keys, in Z85."""

    name: str
    public: bytes
    secret: bytes = field(repr=False)


def generate(directory: Path, name: str) -> KeyPair:
    """Make a key pair: `NAME.secret_key` (mode 0600) and `NAME.public_key`, a line for the list of allowed keys.

    Never overwrites: a secret key that is lost cannot be had back.
    """
    if not NAME.fullmatch(name):
        raise BadKeyFile(f"{name!r} is no name for a key: use up to 63 letters, digits, '.', '_' and '-'")
    public, secret = zmq.curve_keypair()
    secret_path = directory / f"{name}.secret_key"
    public_path = directory / f"{name}.public_key"
    try:
        if public_path.exists():
            raise FileExistsError(17, os.strerror(17), str(public_path))
        _write_new(secret_path, 0o600, b"%s %s\n" % (name.encode(), secret))
        _write_new(public_path, 0o644, b"%s %s\n" % (name.encode(), public))
    except FileExistsError as error:
        raise BadKeyFile(f"{error.filename} exists: move it away, or choose another name or folder") from error
    except OSError as error:
        raise BadKeyFile(f"cannot write to {directory}: {error.strerror}") from error
    return KeyPair(name, public, secret)


def load_pair(path: Path, *, group_may_read: bool = False) -> KeyPair:
    """The key pair in a secret key file, which nobody but its owner may read.

    `group_may_read` is for files that a service manager hands over as credentials: those carry an access list, whose
    mask looks like a group's permission.
    """
    mode = _mode(path)
    if mode & (0o007 if group_may_read else 0o077):
        raise BadKeyFile(f"{path} can be read by others (mode {mode:04o}): run `chmod 600 {path}`, and make a new key")
    pairs = list(_parse(path))
    if len(pairs) != 1:
        raise BadKeyFile(f"{path} should hold one line, NAME SECRETKEY; it holds {len(pairs)}")
    _, name, secret = pairs[0]
    return KeyPair(name, zmq.curve_public(secret), secret)


class AllowedKeys:
    """The public keys of those who may connect, by name; `reload` takes over a changed file.

    Safe to read from any thread while another reloads: both tables are replaced, never changed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_name, self._by_key = self._read()

    def __contains__(self, public_key: object) -> bool:
        return public_key in self._by_key

    def __len__(self) -> int:
        return len(self._by_name)

    def key_of(self, name: str) -> bytes | None:
        """The public key of a member."""
        return self._by_name.get(name)

    def name_of(self, public_key: bytes) -> str | None:
        """Whose key this is."""
        return self._by_key.get(public_key)

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._by_name))

    def reload(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Read the file again; names that are new or have a new key, and names that are gone.

        A file that cannot be used raises `BadKeyFile` and changes nothing. Connections that stand stay, whoever is
        removed: they are checked when they are made.
        """
        by_name, by_key = self._read()
        added = tuple(sorted(name for name, key in by_name.items() if self._by_name.get(name) != key))
        removed = tuple(sorted(self._by_name.keys() - by_name.keys()))
        self._by_name, self._by_key = by_name, by_key
        return added, removed

    def _read(self) -> tuple[dict[str, bytes], dict[bytes, str]]:
        by_name: dict[str, bytes] = {}
        by_key: dict[bytes, str] = {}
        for line, name, key in _parse(self._path):
            if name in by_name:
                raise BadKeyFile(f"{self._path}:{line}: {name} is listed twice: remove one of the lines")
            if key in by_key:
                raise BadKeyFile(f"{self._path}:{line}: {name} has the key of {by_key[key]}: give each its own")
            by_name[name] = key
            by_key[key] = name
        return by_name, by_key


def _mode(path: Path) -> int:
    try:
        status = path.stat()
    except OSError as error:
        raise BadKeyFile(f"cannot read {path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise BadKeyFile(f"{path} is not a file")
    return stat.S_IMODE(status.st_mode)


def _parse(path: Path) -> Iterator[tuple[int, str, bytes]]:
    """Line number, name and key of every line that is neither empty nor a comment."""
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
        if len(words) != 2 or not NAME.fullmatch(words[0]) or not _is_key(words[1]):
            # The line itself stays out of the message: it may hold a secret.
            raise BadKeyFile(f"{path}:{number}: expected NAME KEY, the key 40 characters of Z85")
        yield number, words[0], words[1].encode()


def _is_key(text: str) -> bool:
    if len(text) != KEY_CHARACTERS:
        return False
    try:
        return len(z85.decode(text.encode("ascii"))) == 32
    except (KeyError, ValueError, ArithmeticError, UnicodeEncodeError, struct.error):
        return False


def _write_new(path: Path, mode: int, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
