"""Putting a unix socket at a path that a dead daemon may have left one at, and a live one may hold."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

PATH_BYTES_MAX: Final = 107
"""What fits in sockaddr_un beside its final zero (Linux, unix(7))."""


class SocketTaken(Exception):
    """The path is held by a daemon that lives, or by something that is no socket."""


def listen_at(path: Path, mode: int) -> socket.socket:
    """A listening socket at `path`; what a dead daemon left there is removed, a live one's is not."""
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise SocketTaken(f"{path}: the path of a unix socket has at most {PATH_BYTES_MAX} bytes: choose a shorter one")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        _clear(path)
        # No one may connect in the moment between bind and chmod.
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
