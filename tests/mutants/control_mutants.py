"""Faults in the control plane, in replicated state, and in the assumptions of bulk transfer and the disk."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

MUTANTS = (
    Mutant(
        "the leader resumes runs before all members have reported in this epoch",
        "daemon/control/leader/duties.py",
        "self._epoch_of(name) != registry.epoch for name in registry.view.names",
        "not self._epoch_of(name) for name in registry.view.names",
        ("tests/daemon/control/leader",),
    ),
    Mutant(
        "a report of another view still counts",
        "daemon/control/leader/duties.py",
        '''        """Discards reports of the previous view: runs end and resume within one view."""
        self._reports.clear()
''',
        '''        """Discards reports of the previous view: runs end and resume within one view."""
''',
        ("tests/daemon/control/leader",),
    ),
    Mutant(
        "a run is over as soon as one member says so",
        "daemon/control/leader/end.py",
        "if not failures and not all(member in reports for member in members):",
        "if not failures and not any(member in reports for member in members):",
        ("tests/daemon/control/leader",),
    ),
    Mutant(
        "states of another run that had the same number count for this one",
        "daemon/control/leader/duties.py",
        "if held.run == run.number and held.epoch >= run.begun_in",
        "if held.run == run.number",
        ("tests/daemon/control/leader",),
    ),
    Mutant(
        "a member in a new life counts as the former one",
        "daemon/control/leader/view_policy.py",
        "if name in registry.disks and registry.disks[name].generation == generation",
        "if name in registry.disks",
        ("tests/daemon/control/leader",),
    ),
    Mutant(
        "a replica takes states from a shard that is not their primary",
        "daemon/transfer/checkpoints.py",
        "if sender == self.shard or any(known.primaries.get(partition) != sender for partition in partitions):",
        "if sender == self.shard:",
        ("tests/daemon/transfer",),
    ),
    Mutant(
        "a checkpoint counts as held without the replicas",
        "daemon/transfer/checkpoints.py",
        "if hold is None or hold.token is not None or hold.messages:",
        "if hold is None or hold.token is not None:",
        ("tests/daemon/transfer",),
    ),
    Mutant(
        "a late answer from the disk counts in the next view",
        "daemon/transfer/checkpoints.py",
        """        self._runs.clear()
        self._tokens.clear()
""",
        """        self._runs.clear()
""",
        ("tests/daemon/transfer",),
    ),
    Mutant(
        "a chunk of another offer is taken",
        "daemon/transfer/intake.py",
        "piece.sender != sender or piece.handed_over or chunk.offer != piece.digest:",
        "piece.sender != sender or piece.handed_over:",
        ("tests/daemon/transfer",),
    ),
    Mutant(
        "states below the floor are kept for ever",
        "daemon/store/states.py",
        '"DELETE FROM state WHERE run = ? AND partition = ? AND (tick < ? OR tick = ?)"',
        '"DELETE FROM state WHERE run = ? AND partition = ? AND (tick < ? - tick OR tick = ?)"',
        ("tests/daemon/store/test_store.py", "daemon/store/store.py"),
    ),
    Mutant(
        "a seal counts a slice that is not whole",
        "daemon/store/blobs.py",
        "WHERE load = ? AND partition = ? AND stage >= ?",
        "WHERE load = ? AND partition = ? AND stage <= ?",
        ("tests/daemon/store/test_store.py",),
    ),
    Mutant(
        "a generation does not rise",
        "daemon/store/folder.py",
        'self.generation = max(int(meta["generation"]) + 1, self._clock())',
        'self.generation = max(int(meta["generation"]), self._clock())',
        ("tests/daemon/store/test_folder.py",),
    ),
    Mutant(
        "a deletion ends the daemon on a full disk",
        "daemon/store/database.py",
        "        self.despite_full_disk(write)",
        "        write()",
        ("tests/daemon/store/test_room.py",),
    ),
    Mutant(
        "a snapshot takes the reserve",
        "daemon/store/database.py",
        "for release in (False, may_release):",
        "for release in (False, True):",
        ("tests/daemon/store/test_room.py",),
    ),
    Mutant(
        "a decision does not wait for another thread's checkpoint",
        "daemon/store/database.py",
        "with self.turn.checkpointing:",
        "with threading.Lock():",
        ("tests/daemon/store/test_room.py",),
    ),
    Mutant(
        "a committed command that can't be decoded is skipped",
        "daemon/control/replica.py",
        """            self._committed.clear()
            self._stop(why_of_command(entry, unreadable, self._versions()))
            return self._flush()
""",
        "            read = None\n",
        ("tests/daemon/control/test_plane_versions.py",),
    ),
    Mutant(
        "a proposal that is sent again is appended again",
        "daemon/control/replica.py",
        "if request in self._under_way or self._state.sessions.has_kept(request):",
        "if self._state.sessions.has_kept(request):",
        ("tests/daemon/control/test_batches.py", "tests/daemon/control/test_plane.py"),
    ),
    Mutant(
        "commands are appended while those before are on their way",
        "daemon/control/gathering.py",
        "(is_committed or now >= self.due_ns)",
        "True",
        ("tests/daemon/control/test_batches.py",),
    ),
    Mutant(
        "commands gather for as long as those before are not committed",
        "daemon/control/gathering.py",
        "(is_committed or now >= self.due_ns)",
        "is_committed",
        ("tests/daemon/control/test_batches.py",),
    ),
    Mutant(
        "a command of a former life takes effect",
        "daemon/state/sessions.py",
        "if request.generation < session.generation or request.sequence < session.answered:",
        "if request.sequence < session.answered:",
        ("tests/daemon/state/test_sessions.py",),
    ),
    Mutant(
        "a command takes effect again once its shard has its answer",
        "daemon/state/sessions.py",
        "if request.generation < session.generation or request.sequence < session.answered:",
        "if request.generation < session.generation:",
        ("tests/daemon/state/test_sessions.py",),
    ),
    Mutant(
        "a leader with a slow clock moves the log's time back",
        "daemon/state/dispatch.py",
        "self.time_ns = max(self.time_ns, entry.time_ns)",
        "self.time_ns = entry.time_ns",
        ("tests/daemon/state/test_dispatch.py",),
    ),
    Mutant(
        "nobody is told of the outcomes in a snapshot",
        "daemon/state/dispatch.py",
        "return [*news, *self.sessions.decided]",
        "return news",
        ("tests/daemon/control/test_events.py",),
    ),
    Mutant(
        "what a snapshot says of an unknown machine is passed over",
        "daemon/state/dispatch.py",
        "        if unknown:\n",
        "        if unknown and not pieces:\n",
        ("tests/daemon/state/test_dispatch.py",),
    ),
    Mutant(
        "the programs of a command that broke half-way are not put back",
        "daemon/state/programs.py",
        "        self.versions = saved\n",
        "        pass\n",
        ("tests/daemon/state/test_dispatch.py",),
    ),
    Mutant(
        "all entries that come at once are applied before anything follows from them",
        "daemon/control/plane.py",
        "while (more := self._replica.apply_next(now)) is not None:",
        "for more in [*iter(lambda: self._replica.apply_next(now), None)]:",
        ("tests/daemon/control/test_events.py",),
    ),
    Mutant(
        "progress of another epoch moves a barrier",
        "daemon/control/progress.py",
        "if known is None or message.epoch != self._epoch:",
        "if known is None:",
        ("tests/daemon/control/test_progress.py",),
    ),
    Mutant(
        "somebody else says how far this shard is",
        "daemon/control/progress.py",
        "if shard.shard not in self._members or shard.shard == self._shard:",
        "if shard.shard not in self._members:",
        ("tests/daemon/control/test_progress.py",),
    ),
    Mutant(
        "a former life speaks for a shard's disk",
        "daemon/control/holdings.py",
        """        if disk is not None and disk.generation > self._shard.generation:
            return None  # a later life of this shard speaks for it
""",
        "",
        ("tests/daemon/control/test_holdings.py",),
    ),
    Mutant(
        "slices of a load that is not decided yet are deleted as unknown",
        "daemon/control/holdings.py",
        "for load in self.held if load in self._found and load not in known",
        "for load in self.held if load not in known",
        ("tests/daemon/control/test_holdings.py",),
    ),
    Mutant(
        "a surplus copy is deleted although the log has refused",
        "daemon/control/holdings.py",
        "return asked if isinstance(asked, DropParts) and not error else None",
        "return asked if isinstance(asked, DropParts) else None",
        ("tests/daemon/control",),
    ),
    Mutant(
        "a shard believes of itself what was said of its former life",
        "daemon/control/trust.py",
        "if (told.server, told.generation) != (mine, self._shard.generation) or sender.name == self._shard.name:",
        "if told.server != mine or sender.name == self._shard.name:",
        ("tests/daemon/control/test_trust.py",),
    ),
    Mutant(
        "a shard whose disk went back goes on as a server while nobody leads",
        "daemon/control/trust.py",
        "return self.led() if told.is_led else []",
        "return self.led()",
        ("tests/daemon/control",),
    ),
    Mutant(
        "two messages of the control plane swap their tags",
        "daemon/control/routing.py",
        "    Proposal,\n    ProposalRefused,\n    RunReport,\n    StatesHeld,\n    Grant,",
        "    ProposalRefused,\n    Proposal,\n    RunReport,\n    StatesHeld,\n    Grant,",
        ("tests/golden/test_bytes.py",),
    ),
    Mutant(
        "two commands of the log swap their tags",
        "daemon/state/graphs.py",
        "    handler(2, AddGraph, add_graph),\n    handler(3, DropGraph, drop_graph),",
        "    handler(3, AddGraph, add_graph),\n    handler(2, DropGraph, drop_graph),",
        ("tests/golden/test_bytes.py",),
    ),
    Mutant(
        "the voter whose clock is ahead of all others says what time it is",
        "daemon/control/log_time.py",
        "known[len(voters) // 2]",
        "known[0]",
        ("tests/daemon/control/test_log_time.py",),
    ),
    Mutant(
        "a log that is ahead of the clocks keeps its lead",
        "daemon/control/log_time.py",
        "(now - self._at_ns) * SLOWED // PACE",
        "(now - self._at_ns)",
        ("tests/daemon/control/test_log_time.py",),
    ),
    Mutant(
        "a shard that is away does not hold the cluster version down",
        "daemon/control/raising.py",
        "if one.version is None or one.version.newest <= cluster_version}",
        "if one.version is not None and one.version.newest <= cluster_version}",
        ("tests/daemon/control/test_plane_raising.py",),
    ),
)
