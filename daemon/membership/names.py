"""The permitted forms of shard names and addresses in messages.

Names and addresses of others end up in logs, tables, metrics and host names, so any other form is rejected.
"""

from __future__ import annotations

import re
from typing import Final

from shoal.client.key_files import NAME

NAME_RULE: Final = "1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit"
_ADDRESS: Final = re.compile(r"[a-z]+://[!-~]+")


def is_name(text: str) -> bool:
    """Whether a shard can have this name.

    >>> is_name("shard-1.example"), is_name("a\\x1b[2J"), is_name("")
    (True, False, False)
    """
    return NAME.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Whether a shard may announce this address; the host decides which transports it supports."""
    return _ADDRESS.fullmatch(text) is not None
