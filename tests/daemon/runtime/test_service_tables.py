"""The tables map each type to one service, and refuse types without one or with several."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.control.effects import GrantTicks
from daemon.runtime.service import EVENTS, BadComposition, Beat, KeysChanged, Service, ServiceTables
from daemon.services.graphs.messages import PartitionMissing, PartitionRequest, PartStatsReply, PartStatsRequest


def service(name: str, **declared: Any) -> Service[Any, Any]:
    made: Service[Any, Any] = type(name, (Service,), declared)()
    return made


HEARS_ALL = service("All", events=EVENTS)
PARTS = service("Parts", messages=(PartStatsRequest,), replies=(PartStatsReply,))
WIRE = (PartStatsRequest, PartStatsReply)


def test_a_message_goes_to_who_declares_it_and_an_event_to_all_who_listen_in_their_order() -> None:
    heard: list[tuple[str, object]] = []

    class Listener(Service[Any, Beat]):
        events = (Beat,)

        def __init__(self, name: str) -> None:
            self._name = name

        def on_event(self, event: Beat) -> None:
            heard.append((self._name, event))

    rest = service("Rest", events=tuple(kind for kind in EVENTS if kind is not Beat))
    tables = ServiceTables([PARTS, Listener("first"), rest, Listener("second")], WIRE)
    assert tables.answering(PartStatsRequest("q", "load")) is PARTS
    assert tables.answering(PartStatsReply("q", 1, 2, 3, 4, 5)) is None
    tables.tell(Beat(7))
    assert heard == [("first", Beat(7)), ("second", Beat(7))]


@pytest.mark.parametrize(
    ("services", "wire", "complaint"),
    [
        ([HEARS_ALL, PARTS, service("More", messages=(PartStatsRequest,))], WIRE, "more than one .* PartStatsRequest"),
        ([HEARS_ALL, PARTS, service("More", replies=(PartStatsReply,))], WIRE, "more than one .* PartStatsReply"),
        ([HEARS_ALL, PARTS, service("Odd", replies=(PartStatsRequest,))], WIRE, "more than one .* PartStatsRequest"),
        ([HEARS_ALL, PARTS], (*WIRE, PartitionRequest, PartitionMissing), "PartitionMissing, PartitionRequest"),
        ([HEARS_ALL, PARTS], (PartStatsRequest,), "vocabulary does not contain PartStatsReply"),
        ([PARTS, service("Some", events=EVENTS[1:])], WIRE, f"no service subscribes to {EVENTS[0].__name__}"),
        ([HEARS_ALL, PARTS, service("Late", events=(GrantTicks,))], WIRE, "more than one .* executes GrantTicks"),
        (
            [HEARS_ALL, PARTS, service("Odd", events=(PartStatsRequest,))],
            WIRE,
            "PartStatsRequest, which is not an event",
        ),
    ],
)
def test_what_does_not_add_up_is_refused(services: list[Service[Any, Any]], wire: Any, complaint: str) -> None:
    with pytest.raises(BadComposition, match=complaint):
        ServiceTables(services, wire)


def test_an_event_may_have_several_listeners() -> None:
    ServiceTables([HEARS_ALL, PARTS, service("Too", events=(Beat, KeysChanged))], WIRE)
