"""That a cut cuts, with real packets between real namespaces."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos import leftovers, nets
from chaos.nets import Nets, address

pytestmark = pytest.mark.skipif(bool(nets.why_not()), reason=nets.why_not() or "-")

ECHO = """
import socket
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.bind(("0.0.0.0", 9))
print("up", flush=True)
while True:
    message, sender = echo.recvfrom(9)
    echo.sendto(message, sender)
"""
ASK = """
import socket, sys, time
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(float(sys.argv[2]))
began, heard = time.monotonic(), 0
for _ in range(int(sys.argv[3])):
    asker.sendto(b"?", (sys.argv[1], 9))
    try:
        asker.recv(9)
        heard += 1
    except TimeoutError:
        pass
print(heard, time.monotonic() - began)
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nets]:
    """Three, each of which answers; module-wide, as it takes a second to start them."""
    # A name of its own: several test processes may run at once, and none may clear up what is another's.
    with Nets(f"{leftovers.own_name()}-test", 3, tmp_path_factory.mktemp("nets"), seed=1) as made:
        echoes = [
            subprocess.Popen([*made.prefix(host), sys.executable, "-S", "-c", ECHO], stdout=subprocess.PIPE)
            for host in (1, 2, 3)
        ]
        try:
            for echo in echoes:
                assert echo.stdout is not None
                assert echo.stdout.readline() == b"up\n"
            yield made
        finally:
            for echo in echoes:
                echo.kill()
                echo.communicate()


@pytest.fixture
def net(hosts: Nets) -> Iterator[Nets]:
    """The same, without a rule before and after."""
    hosts.heal()
    yield hosts
    hosts.heal()


def _asked(net: Nets, host: int, other: int, times: int = 1, patience: float = 0.3) -> tuple[int, float]:
    command = [*net.prefix(host), sys.executable, "-S", "-c", ASK, address(other), str(patience), str(times)]
    heard, seconds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(heard), float(seconds)


def test_all_hear_all(net: Nets) -> None:
    assert all(_asked(net, a, b, patience=5.0)[0] for a in (1, 2, 3) for b in (1, 2, 3) if a != b)


def test_a_cut_silences_a_pair_and_no_other(net: Nets) -> None:
    net.cut([1], [2])
    net.cut([2], [1])
    assert _asked(net, 1, 2)[0] == 0
    assert _asked(net, 2, 1)[0] == 0
    assert _asked(net, 1, 3, patience=5.0)[0] == 1
    assert _asked(net, 2, 3, patience=5.0)[0] == 1
    assert net.heal()["dropped"] >= 2
    assert _asked(net, 1, 2, patience=5.0)[0] == 1


def test_a_cut_may_be_one_way(net: Nets) -> None:
    """An answer is lost as a question is; only what leaves 1 for 2 is dropped, so that 2 is never asked."""
    before = net.heal()["dropped"]
    net.cut([1], [2])
    assert _asked(net, 1, 2)[0] == 0
    assert net.heal()["dropped"] == before + 1
    net.cut([2], [1])
    assert _asked(net, 1, 2)[0] == 0  # the question arrives, the answer does not
    assert net.heal()["dropped"] == before + 2


def test_a_minority_is_cut_off_from_the_rest(net: Nets) -> None:
    net.cut([3], [1, 2])
    net.cut([1, 2], [3])
    assert not any(_asked(net, host, 3)[0] for host in (1, 2))
    assert _asked(net, 1, 2, patience=5.0)[0] == 1


def test_a_delay_counts_on_the_way_there_and_back(net: Nets) -> None:
    net.impair(1, delay=0.1)
    heard, seconds = _asked(net, 1, 2, patience=5.0)
    assert heard == 1
    assert seconds >= 0.15  # 2 * 100 ms, a quarter less
    assert _asked(net, 2, 3, patience=5.0)[1] < seconds


def test_some_are_lost(net: Nets) -> None:
    net.impair(1, loss=0.5)
    assert 0 < _asked(net, 1, 2, times=40, patience=0.02)[0] < 40


def test_nothing_is_left(tmp_path: Path) -> None:
    name = f"{leftovers.own_name()}-gone"
    with Nets(name, 2, tmp_path, seed=1):
        assert [space for space in leftovers.namespaces() if space.startswith(name)] == [f"{name}-1", f"{name}-2"]
    assert not [space for space in leftovers.namespaces() if space.startswith(name)]


def test_what_cannot_be_made_whole_is_not_made(tmp_path: Path) -> None:
    name = f"{leftovers.own_name()}-half"
    subprocess.run(["ip", "netns", "add", f"{name}-2"], check=True)
    with pytest.raises(nets.NetsFailed, match="netns add"):
        Nets(name, 2, tmp_path, seed=1)
    assert not os.path.exists(f"/run/netns/{name}-1")
