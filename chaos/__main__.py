"""`python -m chaos`: injects faults from a seed, and prints a table. Exit status 0: all runs passed; 1: a run failed;
2: it cannot run here.

However it ends (normally, by an error, Ctrl-C or SIGTERM), it first removes daemons, switch, namespaces and mounts.
After SIGKILL the next start does so.
"""

from __future__ import annotations

import json
import signal
import sys
from types import FrameType

from rich.console import Console
from rich.markup import escape

from chaos import leftovers
from chaos.campaign import Campaign, NothingToDo
from chaos.options import parse
from chaos.table import as_json, show

WIDTH_PIPED = 160


class Interrupted(KeyboardInterrupt):
    """Raised when a signal requests the end. As a KeyboardInterrupt it passes handlers of mere errors."""


class Signals:
    """Turns the first SIGINT, SIGTERM or SIGHUP into an `Interrupted`; ignores later ones, and all after `ignore`."""

    def __init__(self) -> None:
        self.number = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, self._arrived)

    def _arrived(self, number: int, _: FrameType | None) -> None:
        if not self.number:
            self.number = number
            raise Interrupted

    def ignore(self) -> None:
        """Ignores interrupts from now on, because the end is already in progress."""
        self.number = self.number or -1


def main() -> int:
    """Runs the command and returns the exit status."""
    options = parse()
    talk = Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH_PIPED)
    for name in leftovers.sweep():
        talk.print(f"cleared up after {name}, which was killed", highlight=False)
    name = leftovers.own_name()
    folder = leftovers.BASE / name
    signals = Signals()
    keep, campaign = options.keep, None
    try:
        folder.mkdir(mode=0o700)
        campaign = Campaign(options, folder, lambda words: talk.print(f"  {words}", highlight=False))
        talk.print(f"seed {options.seed}, folder {folder}", highlight=False)
        campaign.run()
    except NothingToDo as error:
        talk.print(f"[red]{escape(str(error))}[/]")
    except Interrupted:
        talk.print("interrupted: what was started is ended again")
    except BaseException:
        keep = True
        raise
    finally:
        signals.ignore()
        keep = keep or (campaign is not None and any(outcome.failures for outcome in campaign.report.outcomes))
        if campaign is not None and keep:
            (folder / "report.json").write_text(json.dumps(as_json(campaign.report), indent=2))
        leftovers.remove(name, keep=keep)
    if campaign is None:
        return 128 + signals.number if signals.number > 0 else 2
    if options.json:
        print(json.dumps(as_json(campaign.report), indent=2))
    else:
        show(campaign.report, Console(width=None if sys.stdout.isatty() else WIDTH_PIPED))
    if keep:
        talk.print(f"kept: {folder}", highlight=False)
    if signals.number > 0:
        return 128 + signals.number
    return int(campaign.report.failed)


if __name__ == "__main__":
    sys.exit(main())
