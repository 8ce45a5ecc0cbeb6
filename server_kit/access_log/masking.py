"""What may be shown of a request: its text, less secrets and personal data.

Nothing here raises for what it is given, and nothing looks at a character more than a
bounded number of times: it is fed by whoever can send us a request.

Documents are not parsed. They are read as `name separator value`, wherever that stands
and in whatever quotes, so that a document that was cut or is no document is masked like
a whole one. Where it cannot be told where a secret ends, all that follows is masked.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final
from urllib.parse import quote_plus, unquote_plus

from server_kit.validation import looks_secret

MASK: Final = "***"

# The quantifiers are possessive: what they took is not tried again in another way.
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+\\?"?', re.DOTALL)
_APOSTROPHES: Final = re.compile(r"'(?:[^'\\]++|\\.)*+\\?'?", re.DOTALL)
_TOKEN: Final = re.compile(
    r'"(?P<string>(?:[^"\\]++|\\.)*+)\\?"?'
    r'|(?P<plain>[^"{}\[\],:=&;\s][^"{}\[\],:=&;\r\n]*+)'
    r"|\s++|.",
    re.DOTALL,
)
# These three are only matched where something ends: to search for them would read the
# same spaces again and again.
_SEPARATOR: Final = re.compile(r"\\{0,3}[\"']?\s*+(?:=>|[:=])\s*+")
_AFTER_VALUE: Final = re.compile(r"\s*+(?:[,\]}&;]|\Z)")
_AFTER_STRING: Final = re.compile(r"\s*+(?:[,\]}:]|\Z)")
_STRUCTURE: Final = re.compile(r'["\[\]{}]')
_OPENED_BY: Final = {"]": "[", "}": "{"}
_END_OF_NUMBER: Final = re.compile(r"""[,}\]\r\n&;"']""")
_END_OF_LINE: Final = re.compile(r"""[\r\n&"']""")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.)|\Z)", re.DOTALL)
_ESCAPED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "u": ""}

_DIGITS: Final = re.compile(r"(?<![0-9])[0-9]++(?:[ -][0-9]++)*+")
_CARD: Final = range(13, 20)
"""How many digits a card's number has (ISO/IEC 7812)."""
_NOT_IDENTIFYING: Final = 8
"""The first digits of a card, which name its issuer, are not a secret."""
_USER_INFO: Final = re.compile(r"""(?<=//)[^/\s"'?#]*@""")
_HIDDEN_USER: Final = f"{MASK}@"
_EMAIL: Final = re.compile(r"(?<![\w.+%'-])[\w.+%'-]++@[\w.-]*+")
_CREDENTIALS: Final = re.compile(
    r"\b((?:bearer|basic) {1,8})[A-Za-z0-9._~+/=-]++", re.IGNORECASE
)
_WORDS: Final = re.compile(r"[\w-]+")
_MAX_DEPTH: Final = 4
"""Text in text in text: JSON in a string of a JSON document, and so on."""


@dataclass(frozen=True, slots=True)
class Masker:
    """What is masked.

    Args:
        secret: Names whose values are masked beside those that look secret: `apikey`
            stands for `api_key`, `API-Key` and `apiKey` as well.
        shown: Names that look secret and are none.
        mask_emails: Whether e-mail addresses are masked. Card numbers always are.

    """

    secret: frozenset[str] = frozenset()
    shown: frozenset[str] = frozenset()
    mask_emails: bool = True

    def __post_init__(self) -> None:
        for name in ("secret", "shown"):
            plain = frozenset(_plain(word) for word in getattr(self, name))
            object.__setattr__(self, name, plain)

    def is_secret(self, name: str) -> bool:
        """Tell whether what is called `name` is masked."""
        if self.secret and not self.secret.isdisjoint(_spellings(name)):
            return True
        return _looks_secret(name) and _plain(name) not in self.shown

    def document(self, text: str, *, is_cut: bool = False) -> str:
        """Return JSON, or any other text, masked.

        Args:
            text: Whole, cut or broken.
            is_cut: Whether there was more of it. What may have been the beginning of a
                card's number is then masked as well.

        """
        if is_cut:
            text = _without_last_number(text)
        return self._text(text, _MAX_DEPTH)

    def pairs(self, text: str, *, is_cut: bool = False) -> str:
        """Return a query, or a form as it is sent (`a=1&b=2`), masked."""
        if is_cut:
            text = _without_last_number(text)
        if text.lstrip()[:1] in ("{", "[", '"'):  # what curl -d makes of JSON
            return self.document(text)
        return "&".join(self._pair(pair) for pair in text.split("&"))

    def url(self, text: str) -> str:
        """Return a URL or a reference, masked."""
        before, mark, query = text.partition("?")
        query, hash_, fragment = query.partition("#")
        shown = self.document(before) + mark + self.pairs(query)
        return shown + hash_ + self.pairs(fragment)

    def headers(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
        """Return headers as text, names in lower case, values masked."""
        named = [
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in headers
        ]
        return [
            (name, MASK if self.is_secret(name) else self.url(value))
            for name, value in named
        ]

    def words(self, text: str) -> str:
        """Return text that names nothing without cards, addresses and credentials."""
        if len(text) >= _CARD.start:
            text = _DIGITS.sub(_without_cards, text)
        if self.mask_emails and "@" in text:
            text = _EMAIL.sub(MASK, text)
        return _CREDENTIALS.sub(rf"\1{MASK}", text) if " " in text else text

    def _pair(self, pair: str) -> str:
        name, equals, value = pair.partition("=")
        if equals and self.is_secret(unquote_plus(name)):
            return f"{self._quoted(name)}={MASK}"
        return self._quoted(name) + equals + self._quoted(value)

    def _quoted(self, text: str) -> str:
        plain = unquote_plus(text)
        masked = self.document(plain)
        return text if masked == plain else quote_plus(masked, "*@/", errors="replace")

    def _text(self, text: str, depth: int) -> str:
        if "@" in text:
            text = _USER_INFO.sub(_HIDDEN_USER, text)
        out: list[str] = []
        at = 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:  # never: the last alternative takes anything
                return MASK
            raw, at = token[0], token.end()
            separator = _SEPARATOR.match(text, at) if token.lastgroup else None
            if separator is not None and self.is_secret(_unescaped(raw)):
                at = _end_of_value(text, separator.end(), is_quoted=raw[0] == '"')
                out += [self._token(token, depth), separator[0]]
                out.append(_mask_like(separator[0]))
            else:
                out.append(self._token(token, depth))
        return "".join(out)

    def _token(self, token: re.Match[str], depth: int) -> str:
        """Return a part of a document masked; as it was, if nothing had to be."""
        if token.lastgroup == "plain":
            return self.words(token[0])
        if token.lastgroup is None:
            return token[0]
        plain = _unescaped(token["string"])
        if depth:
            masked = self._text(plain, depth - 1)
        else:
            masked = MASK if ":" in plain or "=" in plain else self.words(plain)
        return token[0] if masked == plain else json.dumps(masked)


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _spellings(name: str) -> set[str]:
    """Return the whole of a name and its parts: `user[pin]` holds a `pin`."""
    return {_plain(name), *map(_plain, _WORDS.findall(name))}


def _bounded(function: Callable[[str], bool]) -> Callable[[str], bool]:
    """Remember what was said of short names: they come again, and take little room."""
    remembered = lru_cache(1024)(function)
    longest = 64
    return lambda name: (remembered if len(name) <= longest else function)(name)


_looks_secret: Final = _bounded(looks_secret)


def _mask_like(separator: str) -> str:
    """Return a mask that is as good JSON as what stood there."""
    return f'"{MASK}"' if ":" in separator else MASK


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_escaped, text) if "\\" in text else text


def _escaped(found: re.Match[str]) -> str:
    if found[1]:
        return chr(int(found[1], 16))
    return _ESCAPED.get(found[2] or "u", found[2] or "")


def _end_of_value(text: str, at: int, *, is_quoted: bool) -> int:
    """Return where the value that starts at `at` ends, or the end of all if in doubt.

    Args:
        text: The document.
        at: Behind the separator.
        is_quoted: Whether the name stood in quotes, so that a value without any ends
            where one of JSON does. If not, it ends with its line.

    """
    first = text[at : at + 1]
    if first in ('"', "'"):
        string = (_STRING if first == '"' else _APOSTROPHES).match(text, at)
        end = len(text) if string is None else string.end()
    elif first in ("{", "["):
        end = _end_of_structure(text, at)
    else:
        found = (_END_OF_NUMBER if is_quoted else _END_OF_LINE).search(text, at)
        end = len(text) if found is None else found.start()
        # A quote in what had none at its start: the quotes are not what they seem.
        return len(text) if text[end : end + 1] in ('"', "'") else end
    return end if _AFTER_VALUE.match(text, end) else len(text)


def _end_of_structure(text: str, at: int) -> int:
    opened: list[str] = []
    while (found := _STRUCTURE.search(text, at)) is not None:
        at = found.end()
        if found[0] == '"':
            string = _STRING.match(text, found.start())
            at = len(text) if string is None else string.end()
            if not _AFTER_STRING.match(text, at):
                return len(text)
        elif found[0] in ("{", "["):
            opened.append(found[0])
        elif opened.pop() != _OPENED_BY[found[0]]:
            return len(text)
        if not opened:
            return at
    return len(text)


def _without_last_number(text: str) -> str:
    kept = text.rstrip("0123456789 -+")
    digits = sum(map(str.isdigit, text[len(kept) :]))
    return text if digits <= _NOT_IDENTIFYING else kept + MASK


def _without_cards(found: re.Match[str]) -> str:
    """Return digits in groups without those groups that make up a card's number."""
    text = found[0]
    if len(text) < _CARD.start:
        return text
    places = [group.span() for group in re.finditer("[0-9]+", text)]
    ends = [0, *accumulate(end - start for start, end in places)]
    is_card = _luhn([int(char) for char in text if char not in " -"])
    out: list[str] = []
    shown = first = 0
    while first < len(places):
        last = _longest_card(ends, first, is_card)
        if last is not None:
            out += [text[shown : places[first][0]], MASK]
            shown, first = places[last - 1][1], last
        else:
            first += 1
    return "".join(out) + text[shown:]


def _longest_card(
    ends: list[int], first: int, is_card: Callable[[int, int], bool]
) -> int | None:
    """Return behind which group the longest card ends that starts with group `first`.

    Args:
        ends: How many digits there are before each group, and in all.
        first: A group.
        is_card: Tells of a range of digits.

    """
    found = None
    for last in range(first + 1, len(ends)):
        size = ends[last] - ends[first]
        if size >= _CARD.stop:
            break
        if size in _CARD and is_card(ends[first], ends[last]):
            found = last
    return found


def _luhn(digits: list[int]) -> Callable[[int, int], bool]:
    """Return what tells whether the last of a range of `digits` is its check digit.

    Every second digit counts double, from the right; 10 and above as the sum of their
    digits. The sums of all beginnings are made once, for either parity.
    """
    doubled = [digit * 2 - 9 if digit * 2 > 9 else digit * 2 for digit in digits]  # noqa: PLR2004 - one digit
    even, odd = list(digits), list(digits)
    even[1::2] = doubled[1::2]
    odd[::2] = doubled[::2]
    sums = [0, *accumulate(even)], [0, *accumulate(odd)]

    def is_card(start: int, end: int) -> bool:
        total = sums[(end - 1) % 2]
        return (total[end] - total[start]) % 10 == 0

    return is_card
