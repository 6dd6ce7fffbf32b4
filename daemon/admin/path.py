"""Binds a unix socket at a path where a dead daemon may have left one, or a live one may listen."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

PATH_BYTES_MAX: Final = 107
"""The room for a path in sockaddr_un, without its final zero (Linux, unix(7))."""


class SocketTaken(Exception):
    """A live daemon holds the path, or something that is no socket."""


def listen_at(path: Path, mode: int) -> socket.socket:
    """Returns a listening socket at `path`; removes what a dead daemon has left there, but not a live one's socket."""
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise SocketTaken(f"{path}: the path of a unix socket has at most {PATH_BYTES_MAX} bytes: choose a shorter one")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        _clear(path)
        # Nobody may connect between bind and chmod.
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(mode)
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise SocketTaken(f"{path}: cannot be created: {error.strerror}") from error
    except BaseException:
        listener.close()
        raise
    return listener


def _clear(path: Path) -> None:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise SocketTaken(f"{path}: exists and is not a socket: move it away, or set admin.socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.ETIMEDOUT}:
                raise
    raise SocketTaken(f"{path}: another daemon listens on it: stop that daemon first, or set admin.socket")
