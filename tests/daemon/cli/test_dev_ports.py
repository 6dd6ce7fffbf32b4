"""A port that was found free stays free for the daemon that it was found for, and for nobody else."""

from __future__ import annotations

import os
import socket

import pytest
import zmq

from daemon.cli.dev_ports import ReservedPorts


def listening(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


def test_two_searches_of_one_range_find_different_ports() -> None:
    one, two = ReservedPorts("same"), ReservedPorts("same")
    found = [ports.next() for _ in range(20) for ports in (one, two)]
    assert len(set(found)) == len(found)


def test_the_daemon_that_a_port_is_meant_for_can_listen_on_it_again_and_again() -> None:
    ports = ReservedPorts("daemon")
    port = ports.next()
    for _ in range(2):
        with zmq.Context() as context, context.socket(zmq.PULL) as daemon:
            daemon.bind(f"tcp://127.0.0.1:{port}")
            assert ReservedPorts("daemon").next() != port
        with listening(port), pytest.raises(OSError, match="in use"):
            listening(port)
        assert ReservedPorts("daemon").next() != port, "it is away, and comes back"


def test_a_reservation_ends_with_its_owner() -> None:
    ports = ReservedPorts(f"owner of {os.getpid()}")
    port = ports.next()
    del ports
    assert ReservedPorts(f"owner of {os.getpid()}").next() == port


def test_a_range_without_a_free_port_is_an_error() -> None:
    taken = ReservedPorts(f"full for {os.getpid()}").next()
    with listening(taken), pytest.raises(OSError, match=f"no port from {taken} to {taken} is free"):
        ReservedPorts("full", range(taken, taken + 1)).next()
