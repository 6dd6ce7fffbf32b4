"""An example of every message of the control plane. Fields are given by name, so swapped fields are detected."""

from __future__ import annotations

import consensus
from consensus.configuration import Configuration
from consensus.stored import Entry, SnapshotHeader
from daemon.control import messages as cluster
from daemon.control.leader import messages as reports
from daemon.membership import messages as swim
from daemon.services.graphs import messages as graphs
from daemon.services.results import messages as results
from daemon.state.commands import to_bits
from daemon.vocabulary import CONTROL_TYPES
from tests.golden.bytes.messages import NUMBERS, section_of

BETA = swim.Member(
    name="beta",
    generation=1_700_000_000_000_000_007,
    control="tcp://10.0.0.2:7101",
    ticks="tcp://10.0.0.2:7102",
    public_key=b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
    tags=(("cluster", "a6ff9791bf71d665"), ("disk", "41"), ("zone", "north")),
)
ALPHA = swim.Member(
    name="alpha", generation=3, control="tcp://a:1", ticks="tcp://a:2", public_key=b"alpha's", tags=(("disk", "40"),)
)
SUSPECTED = swim.Record(member=BETA, incarnation=5, status=swim.SUSPECT, accuser="gamma")
RECORDS = (
    swim.Record(member=ALPHA, incarnation=9, status=swim.ALIVE),
    SUSPECTED,
    swim.Record(member=ALPHA, incarnation=2**62, status=swim.DEAD, accuser="beta"),
    swim.Record(member=ALPHA, incarnation=10, status=swim.LEFT),
)
SERVERS = Configuration(voters=("alpha/40", "beta/41"), learners=("gamma/42",))
ENTRIES = (
    Entry(index=41, term=8, data=b"command"),
    Entry(index=42, term=9, configuration=SERVERS),
)

MEMBERSHIP = (
    swim.Ping(sequence=6, target="beta", generation=7, reply_to="tcp://a:1", gossip=(SUSPECTED,)),
    swim.PingRequest(
        sequence=6,
        target="beta",
        generation=7,
        address="tcp://b:1",
        nack_after_ns=800_000_000,
        reply_to="tcp://a:1",
        gossip=(SUSPECTED,),
    ),
    swim.Ack(sequence=6, name="beta", generation=7, gossip=(SUSPECTED,)),
    swim.Nack(sequence=6, gossip=(SUSPECTED,)),
    swim.Gossip(gossip=RECORDS),
    swim.PushPull(records=RECORDS, reply_to="tcp://a:1"),
    swim.PushPullReply(records=RECORDS),
    swim.NameTaken(generation=7, control="tcp://b:1"),
)
CONSENSUS = (
    consensus.PreVoteRequest(term=9, last_index=41, last_term=8),
    consensus.PreVoteReply(term=9, granted=True),
    consensus.VoteRequest(term=9, last_index=41, last_term=8, transfer=True),
    consensus.VoteReply(term=9, granted=True),
    consensus.Append(term=9, prev_index=40, prev_term=7, entries=ENTRIES, commit=39, round=12),
    consensus.AppendReply(term=9, accepted=True, index=42, conflict_term=6, conflict_index=38, round=12),
    consensus.InstallSnapshot(
        term=9, header=SnapshotHeader(42, 8, SERVERS, 3, bytes(range(16))), number=1, chunk=b"chunk"
    ),
    consensus.TimeoutNow(term=9),
    consensus.SnapshotReply(term=9, index=42, digest=bytes(range(16)), held=2),
)
STATES = reports.RunStates(run=7, tick=30, partitions=to_bits({0, 9}), epoch=4)
CLUSTER = (
    cluster.Proposal(sequence=9, answered=7, machine="cluster", command=b"command"),
    cluster.ProposalRefused(sequence=10, reason="the log is full"),
    reports.RunReport(
        run=7,
        epoch=4,
        tick=30,
        outcome="failed",
        failure="ZeroDivisionError",
        cross_bytes=4096,
        figures='{"total": 2.5}',
        result_bytes=8192,
    ),
    reports.StatesHeld(epoch=4, states=(STATES,), reached=((7, 31), (8, 2))),
    cluster.Grant(run=7, tick=30),
    cluster.StepRequest(request="r-1", run=7),
    cluster.StepReply(request="r-1", run=7, tick=30),
    cluster.Progress(
        run=7,
        epoch=4,
        shards=(cluster.ShardProgress(shard="beta", sequence=13, entry=122, tick=30, doing="act", seconds=1.5),),
    ),
    cluster.ReadIndexRequest(request="r-1", term=9),
    cluster.ReadIndexReply(request="r-1", index=42),
    cluster.DiskForgets(server="beta/41", generation=7, lived=6, term=9, index=42, is_led=True),
    cluster.ClockRequest(asked_ns=9),
    cluster.ClockReply(asked_ns=10, unix_ns=1_700_000_000_000_000_000),
)
HOST = (
    results.RowsRequest(
        request="r-1", run="pagerank-7", tick=30, columns=("rank", "share"), first=100, last=200, top=10, least=True
    ),
    results.RowsReply(
        request="r-1", error="no such column", total=2, dtypes=("float64", "int64"), ids=b"spec", frames=NUMBERS
    ),
    graphs.PartitionRequest(request="fetch/1", load="load-1", partition=9),
    graphs.PartitionMissing(request="fetch/1"),
    graphs.PartStatsRequest(request="r-1", load="load-1"),
    graphs.PartStatsReply(request="r-1", nodes=11, edges=12, ghosts=13, cross_edges=14, held_bytes=15),
    graphs.StatesRequest(request="fetch/1", run=7, tick=30, partitions=to_bits({1, 8})),
    results.KeptTicksRequest(request="r-1", run=7),
    results.KeptTicksReply(request="r-1", committed=31, states=(STATES,)),
    results.TableRequest(request="r-1", run="colony-7", tick=30, table="agents", partition=9, first=100),
    results.TableReply(
        request="r-1", error="no such table", count=11, total=12, specs=b'[["id", {}]]', frames=NUMBERS
    ),
    results.SearchRequest(
        request="r-1", epoch=4, load="load-1", column="text", terms=("salt", "sea"), weights=(0.5, 1.5), top=10
    ),
    results.SearchReply(
        request="r-1", error="no such column", documents=20, frequencies=(3, 4), total=2, ids=b"spec", frames=NUMBERS
    ),
)  # fmt: skip

SECTION = section_of("control", CONTROL_TYPES, (*MEMBERSHIP, *CONSENSUS, *CLUSTER, *HOST))
