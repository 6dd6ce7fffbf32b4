"""A checkpoint is held when every disk that should have it has it, and only a partition's primary writes it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from daemon.transfer import checkpoints as replication
from daemon.transfer.checkpoints import RESEND_FACTOR_MAX, Replication, ReplicationEffect, ReplicationMessage
from shoal.lockstep.effects import SendTick, StoreStates, TickHeld
from shoal.lockstep.messages import Checkpoint, CheckpointHeld, CheckpointMissing, CheckpointRequest

SECOND = 1_000_000_000
PRIMARIES = {0: "a", 1: "b", 2: "a", 3: "c"}
REPLICAS = {0: ("a", "b"), 1: ("b", "c"), 2: ("a", "c"), 3: ("c", "a")}
OWN = {0: b"zero", 2: b"two"}


def begun(shard: str = "a", run: int = 1) -> Replication:
    machine = Replication(shard)
    machine.begin(run, PRIMARIES)
    return machine


def stores(effects: Sequence[ReplicationEffect]) -> list[StoreStates]:
    return [effect for effect in effects if isinstance(effect, StoreStates)]


def sent(effects: Sequence[ReplicationEffect]) -> list[tuple[str, object]]:
    return [(effect.to, effect.message) for effect in effects if isinstance(effect, SendTick)]


FROM_A = Checkpoint(1, 8, 4, (0,), (b"zero",))


def test_each_replica_is_sent_its_partitions_and_own_disk_all() -> None:
    machine = begun()
    effects = machine.hold(1, 8, 4, OWN, REPLICAS, 0)
    assert sent(effects) == [("b", FROM_A), ("c", Checkpoint(1, 8, 4, (2,), (b"two",)))]
    (store,) = stores(effects)
    assert (store.run, store.tick, store.floor, dict(store.states)) == (1, 8, 4, OWN)
    assert effects[-1] is store, "the replicas' disks work while ours does"
    assert machine.lacking(1) == ("a", "b", "c")
    assert machine.step("b", CheckpointHeld(1, 8, 0), 1) == []
    assert machine.lacking(1) == ("a", "c")
    assert machine.stored(store.token, 2) == []
    assert machine.step("c", CheckpointHeld(1, 8, 2), 3) == [TickHeld(1, 8)]
    assert machine.lacking(1) == ()
    assert machine.deadline is None
    machine.validate()


def test_an_answer_of_the_disk_from_before_a_new_view_says_nothing_about_the_checkpoint_at_hand() -> None:
    machine = begun()
    (late,) = stores(machine.hold(1, 8, 4, OWN, {}, 0))
    machine.clear()
    machine.begin(1, PRIMARIES)
    (store,) = stores(machine.hold(1, 8, 4, OWN, {}, 1))
    assert machine.stored(late.token, 2) == []
    assert machine.lacking(1) == ("a",)
    assert machine.stored(store.token, 3) == [TickHeld(1, 8)]


def test_the_own_disk_may_be_the_last() -> None:
    machine = begun()
    (store,) = stores(machine.hold(1, 8, 4, OWN, REPLICAS, 0))
    machine.step("b", CheckpointHeld(1, 8, 0), 1)
    machine.step("c", CheckpointHeld(1, 8, 2), 1)
    assert machine.deadline is None, "nobody is to be asked again"
    assert machine.stored(store.token, 2) == [TickHeld(1, 8)]
    assert machine.stored(store.token, 2) == []


def test_without_replicas_the_own_disk_is_enough_and_without_states_nothing_is() -> None:
    machine = begun()
    (store,) = machine.hold(1, 8, 4, OWN, {}, 0)
    assert isinstance(store, StoreStates)
    assert machine.stored(store.token, 1) == [TickHeld(1, 8)]
    assert machine.hold(1, 9, 8, {}, REPLICAS, 0) == [TickHeld(1, 9)]


@pytest.mark.parametrize(
    ("sender", "answer"),
    [
        ("b", CheckpointHeld(1, 7, 0)),
        ("b", CheckpointHeld(2, 8, 0)),
        ("b", CheckpointHeld(1, 8, 2)),
        ("c", CheckpointHeld(1, 8, 0)),
        ("stranger", CheckpointHeld(1, 8, 0)),
    ],
)
def test_an_answer_to_something_else_is_none(sender: str, answer: CheckpointHeld) -> None:
    machine = begun()
    machine.hold(1, 8, 4, OWN, REPLICAS, 0)
    assert machine.step(sender, answer, 1) == []
    assert machine.lacking(1) == ("a", "b", "c")


def test_who_is_silent_is_asked_ever_more_rarely() -> None:
    machine = begun()
    effects = machine.hold(1, 8, 4, OWN, REPLICAS, 0)
    machine.step("c", CheckpointHeld(1, 8, 2), 0)
    asked = []
    for now in range(0, 100 * SECOND, SECOND // 2):
        assert (machine.deadline or 0) >= now - SECOND // 2
        effects = machine.wake(now)
        assert sent(effects) in ([], [("b", CheckpointRequest(1, 8, 0, 1))])
        asked += [now // SECOND] if effects else []
    assert asked[:4] == [1, 3, 7, 11]
    assert asked[-1] - asked[-2] == RESEND_FACTOR_MAX


def test_states_are_sent_again_when_they_are_lost_and_not_before() -> None:
    primary, replica = begun(), begun("b")
    primary.hold(1, 8, 4, OWN, REPLICAS, 0)
    (question,) = (message for to, message in sent(primary.wake(SECOND)) if to == "b")
    assert isinstance(question, CheckpointRequest)
    ((_, lacking),) = sent(replica.step("a", question, SECOND))
    assert lacking == CheckpointMissing(1, 8, 0, 1)
    assert sent(primary.step("b", lacking, SECOND)) == [("b", FROM_A)]
    assert primary.step("b", lacking, SECOND) == [], "of two copies one is lost"
    (store,) = stores(replica.step("a", FROM_A, SECOND))
    assert replica.step("a", replace(question, copies=2), SECOND) == [], "it is being stored"
    replica.stored(store.token, SECOND)
    assert sent(replica.step("a", question, SECOND)) == [("a", CheckpointHeld(1, 8, 0))]
    assert replica.step("a", replace(question, tick=7), SECOND) == [], "an old one"
    for stranger in ("c", "b", "stranger"):
        assert replica.step(stranger, question, SECOND) == []
    for other in (replace(lacking, tick=7), replace(lacking, first=2), replace(lacking, run=2)):
        assert primary.step("b", replace(other, copies=2), SECOND) == []
    primary.step("b", CheckpointHeld(1, 8, 0), SECOND)
    assert primary.step("b", replace(lacking, copies=2), SECOND) == []


def test_a_checkpoint_is_acknowledged_when_it_is_durable_and_again_if_it_comes_again() -> None:
    machine = begun("b")
    (store,) = stores(machine.step("a", FROM_A, 0))
    assert (store.tick, store.floor, dict(store.states)) == (8, 4, {0: b"zero"})
    assert machine.step("a", FROM_A, 1) == [], "it is being stored"
    held = SendTick("a", CheckpointHeld(1, 8, 0))
    assert machine.stored(store.token, 2) == [held]
    assert machine.step("a", FROM_A, 3) == [held]
    assert machine.step("a", replace(FROM_A, tick=7), 4) == [], "an old one"
    assert len(stores(machine.step("a", replace(FROM_A, tick=9), 5))) == 1
    machine.validate()


@pytest.mark.parametrize(
    ("sender", "message"),
    [
        ("c", FROM_A),
        ("stranger", FROM_A),
        ("a", replace(FROM_A, partitions=(1,))),
        ("a", replace(FROM_A, partitions=(0, 1), frames=(b"zero", b"x"))),
        ("a", replace(FROM_A, partitions=(77,))),
        ("a", replace(FROM_A, partitions=(-1,))),
        ("a", replace(FROM_A, partitions=(), frames=())),
        ("a", replace(FROM_A, partitions=(0, 2))),
        ("a", replace(FROM_A, partitions=(0, 0), frames=(b"zero", b"zero"))),
        ("a", replace(FROM_A, frames=(b"zero", b"two"))),
        ("a", replace(FROM_A, frames=(b"zer",))),
        ("a", replace(FROM_A, floor=9)),
        ("a", replace(FROM_A, floor=-1)),
        ("b", replace(FROM_A, partitions=(1,))),
    ],
)
def test_only_a_primary_writes_and_only_what_fits(sender: str, message: Checkpoint) -> None:
    machine = Replication("b")
    machine.begin(1, PRIMARIES, dict.fromkeys(PRIMARIES, 4))
    assert machine.step(sender, message, 0) == []
    assert machine.refused == 1
    assert len(stores(machine.step("a", FROM_A, 0))) == 1


def test_a_checkpoint_of_a_run_that_has_not_begun_is_left_without_an_answer() -> None:
    machine = begun("b", run=2)
    assert machine.step("a", FROM_A, 0) == []
    machine.begin(1, PRIMARIES)
    assert len(stores(machine.step("a", FROM_A, 0))) == 1


@pytest.mark.parametrize("how", ["clear", "forget"])
def test_what_a_disk_says_of_what_is_gone_is_heard_by_nobody(how: str) -> None:
    machine = begun("a")
    (own,) = stores(machine.hold(1, 8, 4, OWN, REPLICAS, 0))
    (other,) = stores(machine.step("c", Checkpoint(1, 8, 4, (3,), (b"three",)), 0))
    if how == "clear":
        machine.clear()
    else:
        machine.forget(1)
    assert machine.deadline is None
    assert machine.stored(own.token, 1) == machine.stored(other.token, 1) == []
    machine.begin(1, PRIMARIES)
    (later,) = stores(machine.hold(1, 8, 4, OWN, REPLICAS, 2))
    assert later.token not in (own.token, other.token)
    assert machine.stored(own.token, 3) == []
    assert machine.lacking(1) == ("a", "b", "c")
    machine.validate()


def test_a_large_checkpoint_goes_in_several_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replication, "MESSAGE_PARTITIONS_MAX", 3)
    monkeypatch.setattr(replication, "MESSAGE_BYTES_MAX", 10)
    primaries = dict.fromkeys(range(8), "a")
    states = {0: b"", 1: b"x" * 4, 2: b"y", 3: b"z", 4: b"w" * 99, 5: b"v" * 6, 6: b"u" * 6, 7: b"t"}
    machine, replica = Replication("a"), Replication("b")
    for one in (machine, replica):
        one.begin(1, primaries)
    effects = machine.hold(1, 5, 0, states, dict.fromkeys(range(8), ("a", "b")), 0)
    parts = [message for _, message in sent(effects) if isinstance(message, Checkpoint)]
    assert [part.partitions for part in parts] == [(0, 1, 2), (3,), (4,), (5,), (6, 7)]
    machine.stored(stores(effects)[0].token, 0)
    told: list[ReplicationEffect] = []
    for part in parts:
        (store,) = stores(replica.step("a", part, 0))
        for _, answer in sent(replica.stored(store.token, 0)):
            assert isinstance(answer, CheckpointHeld)
            told += machine.step("b", answer, 0)
    assert told == [TickHeld(1, 5)]


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_held_means_that_every_disk_has_it_whatever_the_network_and_the_disks_do(data: st.DataObject) -> None:
    names = "abcd"[: data.draw(st.integers(1, 4))]
    copies = data.draw(st.integers(1, 3))
    partitions = range(data.draw(st.integers(1, 6)))
    replicas = {p: tuple(names[(p + i) % len(names)] for i in range(min(copies, len(names)))) for p in partitions}
    primaries = {partition: holders[0] for partition, holders in replicas.items()}
    machines = {name: Replication(name) for name in names}
    disks: dict[str, dict[int, tuple[int, bytes]]] = {name: {} for name in names}
    bag: list[tuple[str, str, ReplicationMessage]] = []
    writing: list[tuple[str, StoreStates]] = []
    ticks = dict.fromkeys(names, 0)
    held = dict.fromkeys(names, 0)
    now = 0

    def take(name: str, effects: Sequence[ReplicationEffect]) -> None:
        for effect in effects:
            match effect:
                case SendTick(
                    to=to,
                    message=Checkpoint() | CheckpointHeld() | CheckpointRequest() | CheckpointMissing() as message,
                ):
                    bag.append((name, to, message))
                case StoreStates():
                    writing.append((name, effect))
                case TickHeld(tick=tick):
                    assert tick == ticks[name] > held[name], "told once a hold"
                    held[name] = tick
                    for partition in own(name):
                        for holder in replicas[partition]:
                            assert disks[holder][partition] == (tick, content(partition, tick)), (holder, partition)
        machines[name].validate()

    def own(name: str) -> list[int]:
        return [partition for partition in partitions if primaries[partition] == name]

    def content(partition: int, tick: int) -> bytes:
        return b"%d after %d" % (partition, tick)

    def hold(name: str) -> None:
        ticks[name] += 1
        states = {partition: content(partition, ticks[name]) for partition in own(name)}
        take(name, machines[name].hold(1, ticks[name], held[name], states, replicas, now))

    unborn = set(names)
    for step in range(4000):
        wild = step < 80
        idle = [name for name in names if name not in unborn and ticks[name] == held[name] < 3]
        done = not unborn and not idle and all(ticks[name] == held[name] for name in names)
        if done:
            break
        choices = [kind for kind, any_ in (("born", unborn), ("hold", idle), ("bag", bag), ("disk", writing)) if any_]
        kind = data.draw(st.sampled_from([*choices, "time"])) if wild else (choices or ["time"])[0]
        if kind == "born":
            name = data.draw(st.sampled_from(sorted(unborn))) if wild else min(unborn)
            unborn.remove(name)
            machines[name].begin(1, primaries)
        elif kind == "hold":
            hold(data.draw(st.sampled_from(idle)) if wild else idle[0])
        elif kind == "bag":
            place = data.draw(st.integers(0, len(bag) - 1)) if wild else 0
            fate = data.draw(st.sampled_from(["comes", "lost", "twice"])) if wild else "comes"
            sender, to, message = bag[place] if fate == "twice" else bag.pop(place)
            if fate != "lost":
                take(to, machines[to].step(sender, message, now))
        elif kind == "disk":
            name, store = writing.pop(data.draw(st.integers(0, len(writing) - 1)) if wild else 0)
            for partition, state in store.states.items():
                assert isinstance(state, bytes)
                disks[name][partition] = (store.tick, state)
            take(name, machines[name].stored(store.token, now))
        else:
            now += SECOND // 2
            for name in names:
                take(name, machines[name].wake(now))
    assert held == dict.fromkeys(names, 3), "all come to hold all"
