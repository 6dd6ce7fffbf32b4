"""Shows where the code's output differs from the golden files, and rewrites them on request.

    python -m tests.golden.bytes             what differs
    python -m tests.golden.bytes --write     pin what the code writes now

Other daemons, later versions and disks rely on the bytes, so `--write` adds and renames entries, but refuses to change
one while its file's version is unchanged. `--force` overrides this, for an edited example, or for bytes that no release
has written.
"""

from __future__ import annotations

import sys
from typing import Final

import click

from tests.golden.bytes.section import HOW_TO_PIN
from tests.golden.bytes.sections import SECTIONS
from tests.golden.golden_file import differences, harm, read

RAISE_IT: Final = "raise the number that tells others how to read these bytes"


@click.command()
@click.option("--write", is_flag=True, help="Pin what the code writes now.")
@click.option("--force", is_flag=True, help="With --write: also where bytes have changed and their version has not.")
def main(write: bool, force: bool) -> None:
    """Compare the bytes that the code writes with the golden files."""
    found = []
    for section in SECTIONS:
        pinned, made = read(section.path), section.made()
        broken = harm(pinned, made)
        if not write:
            said = differences(pinned, made, HOW_TO_PIN)
        elif broken and not force:
            said = [f"{name} would change, and '{pinned.version}' stays: {RAISE_IT}" for name in broken]
        else:
            said = []
            if pinned != made:
                made.write(section.path)
                click.echo(f"{section.path.name} rewritten")
        found += [f"{section.path.name}: {sentence}" for sentence in said]
    click.echo("\n".join(found) or "nothing differs")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
