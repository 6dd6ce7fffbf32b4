"""CURVE keys: the members of a cluster, and its operators.

Every shard has a key pair (Curve25519, through libzmq), and so has everyone who operates the cluster from another
machine. A secret key stays on its machine, in a file that only its owner may read; one file, the same on every machine,
lists the public ones:

    # allowed_keys: NAME PUBLICKEY [operator]
    alpha  rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7
    beta   ...
    carol  ...                                        operator

A line without a role is a member: it may use the control and the tick plane, and nothing else. An operator may use the
operators' endpoint (`daemon.admin.endpoint`), and nothing else: an operator's key can't pose as a shard, and a
compromised shard can't give orders to another by its key alone. `shoal.client.key_files` reads such files.

Rotation: add the new public key under a name of its own (`alpha-2026`), reload everywhere, give the shard its new
secret key and restart it, then remove the old line and reload.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from shoal.client.key_files import NAME, BadKeyFile, KeyLine, KeyPair, check_list, key_lines, load_pair

__all__ = ["AllowedKeys", "BadKeyFile", "KeyPair", "allowed_line", "generate", "load_pair"]


def generate(directory: Path, name: str, *, operator: bool = False) -> KeyPair:
    """Creates a key pair: `NAME.secret_key` (mode 0600) and `NAME.public_key`, a line for the list of allowed keys.

    Never overwrites: a lost secret key can't be recovered.
    """
    if not NAME.fullmatch(name):
        raise BadKeyFile(f"{name!r} can't be the name of a key: use up to 63 letters, digits, '.', '_' and '-'")
    public, secret = zmq.curve_keypair()
    secret_path = directory / f"{name}.secret_key"
    public_path = directory / f"{name}.public_key"
    try:
        if public_path.exists():
            raise FileExistsError(17, os.strerror(17), str(public_path))
        _write_new(secret_path, 0o600, f"{name} {secret.decode('ascii')}\n")
        _write_new(public_path, 0o644, f"{allowed_line(name, public, operator=operator)}\n")
    except FileExistsError as error:
        raise BadKeyFile(f"{error.filename} exists: move it away, or choose another name or folder") from error
    except OSError as error:
        raise BadKeyFile(f"cannot write to {directory}: {error.strerror}") from error
    return KeyPair(name, public, secret)


def allowed_line(name: str, public_key: bytes, *, operator: bool) -> str:
    """Returns the line for a key in the list of allowed ones."""
    return f"{name} {public_key.decode('ascii')}{' operator' if operator else ''}"


@dataclass(frozen=True, slots=True)
class _Listed:
    """The contents of a list of allowed keys."""

    lines: dict[str, KeyLine] = field(default_factory=dict)
    """By name."""
    members: dict[bytes, str] = field(default_factory=dict)
    operators: dict[bytes, str] = field(default_factory=dict)
    """Names by key."""


class AllowedKeys:
    """The public keys that may connect, with their roles; `reload` takes over a changed file.

    Safe to read from any thread while another reloads: the tables are replaced, never changed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listed = self._read()

    def __contains__(self, public_key: object) -> bool:
        """Whether this is the key of a member."""
        return public_key in self._listed.members

    def __len__(self) -> int:
        return len(self._listed.lines)

    def key_of(self, name: str) -> bytes | None:
        """Returns the public key of a member."""
        line = self._listed.lines.get(name)
        return line.key if line is not None and not line.is_operator else None

    def name_of(self, public_key: bytes) -> str | None:
        """Returns the member that owns this key."""
        return self._listed.members.get(public_key)

    def operator_of(self, public_key: bytes) -> str | None:
        """Returns the operator that owns this key."""
        return self._listed.operators.get(public_key)

    def names(self) -> tuple[str, ...]:
        """Returns all members, sorted."""
        return tuple(sorted(self._listed.members.values()))

    def reload(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Reads the file again; returns the names that are new or have a new key or role, and those that are gone.

        A file that can't be used raises `BadKeyFile` and changes nothing. Afterwards, check established connections
        again (`Host.keys_changed`, `OperatorDoor.check`).
        """
        now, before = self._read(), self._listed
        if not now.members:  # truncated while it is being written, say
            raise BadKeyFile(f"{self._path} lists no member: it should have a line NAME KEY for each")
        added = tuple(sorted(name for name, line in now.lines.items() if _changed(line, before.lines.get(name))))
        removed = tuple(sorted(before.lines.keys() - now.lines.keys()))
        self._listed = now
        return added, removed

    def _read(self) -> _Listed:
        listed = _Listed()
        owners: dict[bytes, str] = {}
        check_list(self._path)
        for line in key_lines(self._path):
            if line.name in listed.lines:
                raise BadKeyFile(f"{self._path}:{line.number}: {line.name} is listed twice: remove one of the lines")
            if line.key in owners:
                raise BadKeyFile(
                    f"{self._path}:{line.number}: {line.name} has the key of {owners[line.key]}: give each its own"
                )
            owners[line.key] = line.name
            listed.lines[line.name] = line
            (listed.operators if line.is_operator else listed.members)[line.key] = line.name
        return listed


def _changed(now: KeyLine, before: KeyLine | None) -> bool:
    return before is None or (now.key, now.is_operator) != (before.key, before.is_operator)


def _write_new(path: Path, mode: int, content: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content.encode())
        file.flush()
        os.fsync(file.fileno())
