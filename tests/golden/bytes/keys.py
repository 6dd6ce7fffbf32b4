"""Key files, as `shoalctl keys` writes them and daemons and operators read them."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path
from typing import Final
from unittest.mock import patch

import zmq

from daemon.config.keys import AllowedKeys, generate
from shoal.client.key_files import load_pair, member_key
from tests.golden.bytes.section import Section, only, same
from tests.golden.golden_file import Entries

PAIRS: Final = {
    name: (zmq.curve_public(secret), secret)
    for name, secret in {
        "alpha": b"JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6",
        "carol": b"D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs",
    }.items()
}
OPERATOR: Final = "carol"


def make() -> Entries:
    """Writes the files of a shard's pair and of an operator's; only the keys themselves are fixed, not random."""
    entries = {}
    with tempfile.TemporaryDirectory(prefix="shoal-") as at:
        for name, pair in PAIRS.items():
            with patch.object(zmq, "curve_keypair", lambda pair=pair: pair):
                generate(Path(at), name, operator=name == OPERATOR)
        for path in sorted(Path(at).iterdir()):
            entries[path.name] = {"mode": f"{stat.S_IMODE(path.stat().st_mode):04o}", "text": path.read_text()}
    return entries


def check(entries: Entries) -> None:
    """Reads the pinned files, and a list built from the public ones."""
    only(entries, [f"{name}.{kind}_key" for name in PAIRS for kind in ("public", "secret")])
    with tempfile.TemporaryDirectory(prefix="shoal-") as at:
        for name, (public, secret) in PAIRS.items():
            entry, path = entries[f"{name}.secret_key"], Path(at) / f"{name}.secret_key"
            path.write_text(entry["text"])
            path.chmod(int(entry["mode"], 8))
            pair = load_pair(path)
            same(path.name, (pair.name, pair.public, pair.secret), (name, public, secret))
        listed = Path(at) / "allowed_keys"
        listed.write_text("".join(entry["text"] for name, entry in entries.items() if name.endswith(".public_key")))
        listed.chmod(0o644)
        allowed, alpha, carol = AllowedKeys(listed), PAIRS["alpha"][0], PAIRS["carol"][0]
        same("alpha.public_key", (allowed.name_of(alpha), member_key(listed, "alpha")), ("alpha", alpha))
        same("carol.public_key", (allowed.operator_of(carol), allowed.name_of(carol)), ("carol", None))


SECTION = Section("keys", "keys", make, check)
