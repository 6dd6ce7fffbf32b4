"""Faults in the runtime and the services."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

RUNS = "daemon/services/runs/controller.py"
MESSENGER = "daemon/runtime/messenger.py"
ORDERS = ("tests/daemon/services/runs/test_run_orders.py",)
VIEW_CHANGE = ("tests/daemon/services/cluster/test_view_change.py",)
MUTANTS = (
    Mutant(
        "what follows a promise is done before the promise is durable",
        "daemon/runtime/effect_runner.py",
        "WRITES: Final = (Persist, KeepPromise, KeepVersion)",
        "WRITES: Final = (Persist, KeepVersion)",
        ("tests/daemon/runtime/test_effect_runner.py",),
    ),
    Mutant(
        "a member may send in the name of another",
        MESSENGER,
        "if self._allowed is not None and owner != envelope.sender:",
        "if self._allowed is None and owner != envelope.sender:",
        ("tests/daemon/runtime/test_messenger.py",),
    ),
    Mutant(
        "a key that gossip tells of is trusted without being allowed",
        MESSENGER,
        "return public_key if public_key in self._allowed else None",
        "return public_key",
        ("tests/daemon/runtime/test_messenger.py",),
    ),
    Mutant(
        "another shard's answer is taken for the one that was asked for",
        "daemon/runtime/rpc.py",
        "if waiting is None or waiting.sender != sender or type(answer) not in waiting.kinds:",
        "if waiting is None or type(answer) not in waiting.kinds:",
        ("tests/daemon/runtime/test_rpc.py",),
    ),
    Mutant(
        "frames of an older epoch are acted on",
        "daemon/runtime/tick_thread.py",
        "        if epoch == self._epoch:\n",
        "        if epoch <= self._epoch:\n",
        ("tests/daemon/runtime/test_tick_thread.py",),
    ),
    Mutant(
        "frames of a member's former life are acted on",
        "daemon/runtime/tick_thread.py",
        "if self._roster.get(sender) != generation:",
        "if sender not in self._roster:",
        ("tests/daemon/runtime/test_tick_thread.py",),
    ),
    Mutant(
        "a new epoch leaves the runs of the old one",
        "daemon/runtime/tick_thread.py",
        "            self.runner.leave_epoch()\n",
        "            pass\n",
        ("tests/daemon/runtime/test_tick_thread.py",),
    ),
    Mutant(
        "partitions are given to a shard that is not in the view",
        "daemon/services/graphs/fetch.py",
        "if not registry.has_member(sender) or self._ticks.is_shipping(request, to):",
        "if self._ticks.is_shipping(request, to):",
        ("tests/daemon/services/graphs/test_fetch.py",),
    ),
    Mutant(
        "states of another epoch are taken for those that a run goes on from",
        "daemon/services/graphs/fetch.py",
        "            if made_in in (None, epoch)\n",
        "",
        ("tests/daemon/services/graphs/test_fetch.py",),
    ),
    Mutant(
        "states that nobody asked for are taken",
        "daemon/services/graphs/fetch.py",
        "if fetched.frames or set(came.values()) != {(run, tick)} or not came.keys() <= set(partitions):",
        "if fetched.frames:",
        ("tests/daemon/services/graphs/test_fetch.py",),
    ),
    Mutant(
        "the runtime drops what gossip says of a barrier",
        RUNS,
        "self._with_run(number, lambda machine, now: machine.relayed(entries, now))",
        "pass",
        ORDERS,
    ),
    Mutant(
        "a run begins in a view that is no longer the present one",
        RUNS,
        "return known is not None and known.active and registry.epoch == view.epoch",
        "return known is not None and known.active",
        ORDERS,
    ),
    Mutant(
        "states from before a run are left where they are taken for its own",
        RUNS,
        "            self._disk.order(lambda store: store.drop_void(run.number, is_older))\n",
        "            pass\n",
        ORDERS,
    ),
    Mutant(
        "states of a run that the log has yet to come to are deleted",
        RUNS,
        "if run <= known and run not in wanted:",
        "if run not in wanted:",
        ORDERS,
    ),
    Mutant(
        "a state is kept with another epoch than the one it was made in",
        "daemon/services/runs/checkpoints.py",
        "made_in = begun.made_in(states.tick) if begun is not None else ticks.epoch",
        "made_in = ticks.epoch",
        ORDERS,
    ),
    Mutant(
        "states are looked up before those that are being written",
        "daemon/services/runs/checkpoints.py",
        "self._context.ticks.order(lambda: self._look_up(asked, reached))",
        "self._look_up(asked, reached)",
        ORDERS,
    ),
    Mutant(
        "a graph that was dropped while its part was built stays on the disk",
        "daemon/services/cluster/view_change.py",
        "        if registry.graphs.get(graph.name) != graph:\n",
        "        if graph.name not in registry.graphs and registry.graphs.get(graph.name) == graph:\n",
        VIEW_CHANGE,
    ),
    Mutant(
        "an older view than the present one is entered",
        "daemon/services/cluster/view_change.py",
        "        if view != registry.view:\n            return\n",
        "",
        VIEW_CHANGE,
    ),
    Mutant(
        "a deletion that finds no room is forgotten",
        "daemon/runtime/disk.py",
        "call_later(self.again_seconds, self.order, job, attempts)",
        "call_later(self.again_seconds, int)",
        ("tests/daemon/runtime/test_store_thread.py",),
    ),
    Mutant(
        "a question that finds no room ends the daemon",
        "daemon/runtime/questions.py",
        "if isinstance(error, StoreFailed) and not isinstance(error, NotHeld | NoRoom):",
        "if isinstance(error, StoreFailed):",
        ("tests/daemon/runtime/test_questions.py",),
    ),
)
