"""What shards are called and where they are reached, as far as a message may say so.

Names and addresses of others stand in logs, tables, metrics and host names: what has another form is nobody's.
"""

from __future__ import annotations

import re
from typing import Final

from shoal.client.key_files import NAME

NAME_RULE: Final = "1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit"
_ADDRESS: Final = re.compile(r"[a-z]+://[!-~]+")


def is_name(text: str) -> bool:
    """Whether a shard can be called so.

    >>> is_name("shard-1.example"), is_name("a\\x1b[2J"), is_name("")
    (True, False, False)
    """
    return NAME.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Whether a shard may say that it is reached there: which transports there are is the host's to say."""
    return _ADDRESS.fullmatch(text) is not None
