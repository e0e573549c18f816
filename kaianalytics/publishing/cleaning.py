"""What of a notebook's HTML may stand in a published page: words, tables and pictures that are in the page itself.

Laws:
1. Nothing that a page could act by or fetch with stays: no script, style sheet, form, frame, link relation or `meta`
   (a browser follows `<meta http-equiv="refresh">` whatever the page's content security policy says).
2. Nothing that could close, cover or hide what the page says of itself: no element of the page's own frame, no
   positions, and of inline styles only what shapes words and cells.
3. What is not allowed is shown as text, not swallowed; style sheets alone are dropped with what they hold.
"""

from __future__ import annotations

import re

import bleach  # type: ignore[import-untyped]  # bleach ships no types
from bleach.css_sanitizer import CSSSanitizer  # type: ignore[import-untyped]  # as above


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TAGS = _words(
    """a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6
    hr i img ins kbd li meter ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead tr u ul
    var"""
)
_ATTRIBUTES = _words(
    "align alt class colspan height high id low max min open optimum rowspan scope start style title value width"
)
_STYLES = CSSSanitizer(
    allowed_css_properties=_words(
        """background-color border border-bottom border-collapse border-left border-right border-top color font-family
        font-size font-style font-variant-numeric font-weight line-height max-width min-width overflow-x padding
        padding-bottom padding-left padding-right padding-top text-align text-decoration vertical-align white-space
        width"""
    )
)
_STYLE_SHEET = re.compile(r"<style\b[^>]*>.*?</style\s*>", re.IGNORECASE | re.DOTALL)
_LINK = re.compile(r"(https?://|mailto:|#)", re.IGNORECASE)
_PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);", re.IGNORECASE)


def clean_html(html: object) -> str:
    """The HTML with what a published page may hold, and everything else as text."""
    text = html.decode() if isinstance(html, bytes) else str(html)
    cleaned: str = bleach.clean(
        _STYLE_SHEET.sub("", text),
        tags=_TAGS,
        attributes=_is_allowed,
        protocols=_words("http https mailto data"),
        css_sanitizer=_STYLES,
    )
    return cleaned


def _is_allowed(tag: str, name: str, value: str) -> bool:
    if name == "href":
        return tag == "a" and _LINK.match(value) is not None
    if name == "src":
        return tag == "img" and _PICTURE.match(value) is not None
    return name in _ATTRIBUTES
