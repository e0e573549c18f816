"""Pseudonyms: what they are, and that one purpose's tell nothing of another's."""

from __future__ import annotations

import hashlib
import hmac

import duckdb
import pytest
from sqlglot import exp

from kaianalytics.warehouse.pseudonyms import PSEUDONYM, Pseudonymiser, write_pseudonyms

KEY, OTHER_KEY = b"k" * 32, b"o" * 32


def test_a_pseudonym_is_the_first_128_bits_of_the_keyed_hash() -> None:
    expected = hmac.new(KEY, b"customer\x00C0000001", hashlib.sha256).digest()[:16].hex()
    assert Pseudonymiser(KEY, "customer").name("C0000001") == expected
    assert PSEUDONYM.fullmatch(expected)


def test_the_same_value_is_another_pseudonym_in_another_purpose_or_domain() -> None:
    seen = {
        Pseudonymiser(key, domain).name("C0000001") for key in (KEY, OTHER_KEY) for domain in ("customer", "session")
    }
    assert len(seen) == 4


def test_domain_and_value_cannot_run_into_each_other() -> None:
    assert Pseudonymiser(KEY, "a").name("bc") != Pseudonymiser(KEY, "ab").name("c")


def test_many_values_keep_their_order() -> None:
    pseudonymiser = Pseudonymiser(KEY, "customer")
    values = ["b", "a", "ｂ", ""]
    assert pseudonymiser.names(values) == [pseudonymiser.name(value) for value in values]
    assert len(set(pseudonymiser.names(values))) == 4


@pytest.mark.parametrize(("key", "domain"), [(b"short", "customer"), (KEY, ""), (KEY, "cus\0tomer")])
def test_a_weak_key_or_an_ambiguous_domain_is_refused(key: bytes, domain: str) -> None:
    with pytest.raises(ValueError):
        Pseudonymiser(key, domain)


def test_the_key_is_not_in_the_repr() -> None:
    assert "kkkk" not in repr(Pseudonymiser(KEY, "customer"))


def test_a_table_of_pseudonyms_has_one_row_for_each_value_across_batches() -> None:
    with duckdb.connect(":memory:") as con:
        values = exp.select("CAST(i AS VARCHAR) AS raw").from_("range(5000) AS r(i)")
        write_pseudonyms(con, values, Pseudonymiser(KEY, "customer"), "pseudonyms of customers", 2048)
        table = con.execute('SELECT raw, pseudonym FROM "pseudonyms of customers"').fetchall()
    assert len(table) == 5000
    assert dict(table) == {str(i): Pseudonymiser(KEY, "customer").name(str(i)) for i in range(5000)}
