"""What every answer tells a browser: nothing that the gateway sends is a page.

A browser that shows it runs nothing, frames nothing, keeps nothing and passes nothing on.
"""

from __future__ import annotations

HEADERS = (
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
)
