"""Text that others have written, for the two places where it does harm: in what is sent or kept, and on a terminal.

encodable   as it can be said in UTF-8: half of a surrogate pair (what Python makes of bytes that it can't decode) is
            written out
printable   as it can be shown: what would move the cursor, colour the line or turn its direction is written out
fault_in    why a text can't be said in UTF-8, for whoever gave it
"""

from __future__ import annotations

import re
from typing import Final

_SILENT: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""Controls of both sets, of direction and of annotation, invisible tags and what is no character. The joiners of
U+200C and U+200D stay: languages and pictures are written with them.
"""

LINES: Final = "\n\t"
"""To be kept where a text has several lines."""


def encodable(text: str) -> str:
    """The text with what UTF-8 has no bytes for as escapes.

    >>> encodable("caf\\udce9"), encodable("café")
    ('caf\\\\udce9', 'café')
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def printable(text: str, keep: str = "") -> str:
    """The text with whatever does something to a terminal as escapes, but for the characters in `keep`.

    >>> print(printable("a\\x1b[2J\\u202eb\\n"), printable("two\\nlines\\r", keep="\\n"))
    a\\x1b[2J\\u202eb\\n two
    lines\\r
    """
    if text.isprintable():
        return text
    return _SILENT.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def json_printable(text: str) -> str:
    """The same of a line of JSON, in JSON's own escapes: it stays the same object."""
    return text if text.isprintable() else _SILENT.sub(lambda found: _json_escape(found[0]), text)


def fault_in(text: str) -> str:
    """What about a text can't be said in UTF-8; empty if all of it can.

    >>> fault_in("gewicht\\udce9")
    "character 8 ('\\\\udce9') is the byte E9, which is not UTF-8"
    >>> fault_in("\\ud83d"), fault_in("gewicht é")
    ("character 1 ('\\\\ud83d') is half of a surrogate pair", '')
    """
    if text.isascii():
        return ""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        escaped_byte = 0xDC80 <= code <= 0xDCFF  # how Python keeps a byte of a command line or a file name (PEP 383)
        what = f"the byte {code - 0xDC00:02X}, which is not UTF-8" if escaped_byte else "half of a surrogate pair"
        return f"character {error.start + 1} ('\\u{code:04x}') is {what}"
    return ""


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
