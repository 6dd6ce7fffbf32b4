"""A registry's snapshot with one of everything, how a cluster is founded, and the tags that gossip carries."""

from __future__ import annotations

from daemon.control.bootstrap import CLUSTER_TAG, Promise, _mark, read, spell, write
from daemon.control.lives import LIFE_TAG, Life, life_of
from daemon.control.seat import LEAVING_TAG, Seat
from daemon.control.versions import CLUSTER_VERSION_TAG, VERSION_TAG, Version, version_of
from daemon.control.voters import server_of
from daemon.state import Decided, Registry, ReplicatedState, snapshot
from daemon.state.cluster import _codec as _cluster_codec
from daemon.state.commands import Identity, StateSource, to_bits
from daemon.state.machine import Applied, Request
from daemon.state.programs import _codec as _programs_codec
from daemon.state.records import COMPLETED, FAILED, QUEUED, RUNNING, STOPPED, STOPPING, Disk, RunRecord, View
from daemon.state.registry import DroppedRun
from daemon.state.sessions import _codec as _sessions_codec
from daemon.wire.version import NEWEST
from shoal.program.phase import Phase
from tests.golden.bytes.commands import ALPHA, BETA, GRAPH, PROGRAM
from tests.golden.bytes.section import Section, from_hex, only, same, to_hex, told
from tests.golden.golden_file import Entries, Entry

FOUNDERS = (Identity(name="alpha", generation=40), Identity(name="beta", generation=41))
PROMISE = Promise(round=2, founders=FOUNDERS)
LIFE = Life(disk=40, before=10, term=3, last_index=42, forgot=True)
VERSION = Version(shoal="0.1.0", oldest=4, newest=5)
PLACED = (("alpha", "beta"), ("beta",), (), *[("beta", "alpha")] * 7)
RUN = RunRecord(
    name="rank-7",
    number=7,
    program="rank",
    graph="web",
    load="load-1",
    params=(("damping", "0.85"), ("seed", "3")),
    ticks=50,
    interval_ns=1_000_000_000,
    paced=True,
    phases=(Phase.SENSE, Phase.ACT, Phase.ADVANCE),
    columns=("rank", "share"),
    started_unix_ns=1_700_000_000_000_000_012,
    checkpoint_ticks=5,
    digest="d1",
    epoch=4,
    resumed=28,
    reached=31,
    sources=(StateSource(shard="beta", partitions=to_bits({1, 8})),),
    state=STOPPING,
    tick=30,
    failure="ZeroDivisionError",
    cross_bytes=4096,
    ended_unix_ns=1_700_000_000_000_000_013,
    figures='{"total": 2.5}',
    is_forced=True,
    origin=2,
    begun_in=1,
    runs_max=6,
    result_bytes=8192,
    has_expired=False,
)


def _run(
    number: int, state: str, *, paced: bool = False, is_forced: bool = False, has_expired: bool = False
) -> RunRecord:
    """Returns a run with defaults in most fields."""
    return RunRecord(
        name=f"rank-{number}",
        number=number,
        program="rank",
        graph="web",
        load="load-1",
        params=(),
        ticks=9,
        interval_ns=0,
        paced=paced,
        phases=(Phase.DECAY, Phase.ADVANCE),
        columns=(),
        started_unix_ns=77,
        state=state,
        is_forced=is_forced,
        has_expired=has_expired,
    )


RUNS = (
    RUN,
    _run(1, QUEUED, is_forced=True),
    _run(2, RUNNING),
    _run(3, COMPLETED, has_expired=True),
    _run(4, STOPPED, paced=True),
    _run(5, FAILED),
)
REGISTRY = Registry(
    cluster=spell(FOUNDERS),
    view=View(epoch=4, members=(ALPHA, BETA), virtual_nodes=150, replicas=2),
    graphs={"web": GRAPH},
    placements={"web": PLACED},
    disks={
        "alpha": Disk(generation=3, loads={}, number=40),
        "beta": Disk(generation=7, loads={"load-1": frozenset({0, 9})}, number=41),
    },
    draining={"beta", "gamma"},
    settled={"alpha"},
    runs={run.name: run for run in RUNS},
    runs_begun=9,
    dropped={"rank-6": DroppedRun(name="rank-6", graph="roads", load="load-0", had_result=True)},
    cluster_version=NEWEST,
)
OUTCOMES = (
    Decided(request=Request(shard="alpha", generation=3, sequence=9), error="no", name="", index=40),
    Decided(request=Request(shard="alpha", generation=3, sequence=10), error="", name="rank-7", index=41),
)


def _state() -> ReplicatedState:
    """Returns a state with one of everything."""
    state = ReplicatedState()
    state.registry.put_back(REGISTRY.kept())
    state.programs.put_back({(PROGRAM.name, PROGRAM.digest): PROGRAM})
    state.time_ns = 1_700_000_000_000_000_016
    for decided in OUTCOMES:
        state.sessions.hear(Applied(decided.index, state.time_ns, decided.request), 8)
        state.sessions.record(decided)
    return state


STATES = {"a state": _state(), "a state at the founding": ReplicatedState(spell(FOUNDERS))}
FROZEN = tuple(
    codec().decode([piece]).message
    for name, codec in {"cluster": _cluster_codec, "programs": _programs_codec, "sessions": _sessions_codec}.items()
    for piece in snapshot.read(STATES["a state"].freeze())[name]
)
"""The same state in the snapshot's own classes."""


def _tags() -> dict[str, str]:
    """Returns the tags of a shard that has promised to found a cluster, and of a member that is leaving."""
    seat = Seat("alpha", LIFE.disk, 2, 5, {LIFE_TAG: LIFE.tag, VERSION_TAG: VERSION.tag}, promise=PROMISE)
    belongs = {CLUSTER_TAG: spell(FOUNDERS), CLUSTER_VERSION_TAG: "4"}
    return {**seat.declaration(), **belongs, LEAVING_TAG: "1"}


def make() -> Entries:
    """Freezes the registries, and encodes the values that are texts."""
    texts = {
        "founding's id": spell(FOUNDERS),
        "promise": write(PROMISE),
        "server": server_of("beta", 41),
        **{f"tag {name}": value for name, value in _tags().items()},
    }
    return {
        **{name: _packed(state) for name, state in STATES.items()},
        **{name: {"text": text} for name, text in texts.items()},
    }


def _packed(state: ReplicatedState) -> Entry:
    """Creates an entry of a snapshot, which reads as its pieces."""
    chunks = list(state.freeze())
    sections = snapshot.read(chunks).items()
    return {"hex": to_hex(chunks), "reads": [f"{name}: {told(piece)}" for name, pieces in sections for piece in pieces]}


def check(entries: Entries) -> None:
    """Restores the pinned snapshots and reads the texts."""
    only(entries, make())
    for name, state in STATES.items():
        again = ReplicatedState()
        again.restore(again.thaw(from_hex(entries[name]["hex"])))
        same(name, again.registry, state.registry)
        same(name, again.programs.versions, state.programs.versions)
        same(name, list(again.freeze()), list(state.freeze()))
    tags = {name.removeprefix("tag "): entry["text"] for name, entry in entries.items() if name.startswith("tag ")}
    same("promise", read(entries["promise"]["text"]), PROMISE)
    same("tag version", version_of(tags), VERSION)
    same("tag life", life_of(tags), LIFE)
    same("tag founders", _mark(tags), PROMISE.mark)
    same("tag cluster", tags[CLUSTER_TAG], entries["founding's id"]["text"])


SECTION = Section(
    "registry",
    f"cluster version {NEWEST}",
    make,
    check,
    filled=(REGISTRY, *FROZEN, PROMISE, LIFE),
)
