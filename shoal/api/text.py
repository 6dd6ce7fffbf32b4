"""Makes untrusted text safe to encode and to show on a terminal.

encodable   escapes what UTF-8 can't encode: lone surrogates, by which Python represents bytes that it can't decode
printable   escapes what would move the cursor, colour the line or change its direction
fault_in    explains why a text can't be encoded in UTF-8
"""

from __future__ import annotations

import re
from typing import Final

_SILENT: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""C0 and C1 controls, direction and annotation controls, invisible tags and noncharacters. The joiners U+200C and
U+200D are not among them: some languages and emoji need them.
"""

LINES: Final = "\n\t"
"""Characters to keep in a text of several lines."""


def encodable(text: str) -> str:
    """Returns the text with escapes for everything that UTF-8 can't encode.

    >>> encodable("caf\\udce9"), encodable("café")
    ('caf\\\\udce9', 'café')
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def printable(text: str, keep: str = "") -> str:
    """Returns the text with escapes for everything that controls a terminal, except the characters in `keep`.

    >>> print(printable("a\\x1b[2J\\u202eb\\n"), printable("two\\nlines\\r", keep="\\n"))
    a\\x1b[2J\\u202eb\\n two
    lines\\r
    """
    if text.isprintable():
        return text
    return _SILENT.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def json_printable(text: str) -> str:
    """Returns a printable line of JSON that decodes to the same object, because it uses JSON's escapes."""
    return text if text.isprintable() else _SILENT.sub(lambda found: _json_escape(found[0]), text)


def fault_in(text: str) -> str:
    """Returns why UTF-8 can't encode a text; empty if it can.

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
