"""Contracts from YAML: the project's own load; every spoilt one is refused with the file, the line and the reason."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
from open_data_contract_standard.model import OpenDataContractStandard
from ruamel.yaml import YAML
from support.contracts_kit import COMPLETE_JOURNEY, SAMPLE, Folder, sample

from kaianalytics.custody.contracts import load, load_roles
from kaianalytics.custody.documents import read_document
from kaianalytics.errors import ContractFaults
from kaianalytics.policy.changes import changes
from kaianalytics.policy.consistency import Folder as ReadFolder
from kaianalytics.policy.consistency import check
from kaianalytics.policy.contract import Access, Contracts, PreAggregateRule, WindowRule
from kaianalytics.policy.leaving import BYTES_PER_QUERY, DOWNLOAD_BYTES, RowsCaps
from kaianalytics.policy.odcs import read_contract
from kaianalytics.policy.reading import Document, Faults
from kaianalytics.policy.views import store_plan
from kaianalytics.privacy.unit import ContributionBounds

ACCESS: tuple[Access, ...] = get_args(Access)
SESSIONS, PURPOSES, ROLES, POLICY = "sessions.odcs.yaml", "purposes.yaml", "roles.yaml", "privacy_policy.yaml"
CUSTOMERS, CONSENTS, IMPRESSIONS = "customers.odcs.yaml", "consents.odcs.yaml", "ad_impressions.odcs.yaml"
STOPS, CONTACTS, ORDERS = "stop_requests.odcs.yaml", "campaign_contacts.odcs.yaml", "orders.odcs.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """The sample without the product that no other file speaks of, and with one prefecture: it reads faster."""
    spoilable = Folder(tmp_path / "contracts")
    (spoilable.path / "inquiries.odcs.yaml").unlink()
    prefectures = sample().products["customers"].column("prefecture").enum
    lines = spoilable.text(CUSTOMERS).splitlines(keepends=True)
    spoilable.write(CUSTOMERS, "".join(line for line in lines if not any(word in line for word in prefectures[1:])))
    return spoilable


@pytest.mark.parametrize("path", [SAMPLE, COMPLETE_JOURNEY], ids=["sample", "complete journey"])
def test_the_projects_own_contracts_have_no_fault(path: Path) -> None:
    contracts = load(path)
    assert len(contracts.purposes.purposes) == 8
    assert {purpose.clause for purpose in contracts.purposes.purposes.values()} == {f"3.{n}" for n in range(1, 9)}


def test_the_sample_opens_three_purposes_and_keeps_three_products_out_of_every_store() -> None:
    contracts = sample()
    assert contracts.purposes.open == ("ad-targeting", "campaign-analysis", "service-improvement")
    closed = {name for name, product in contracts.products.items() if not product.purposes}
    assert closed == {"consents", "inquiries", "stop_requests"}


@pytest.mark.parametrize("file", sorted([*SAMPLE.glob("*.odcs.yaml"), *COMPLETE_JOURNEY.glob("*.odcs.yaml")]), ids=str)
def test_each_contract_is_valid_under_the_official_package_and_its_json_schema(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    data = YAML(typ="safe", pure=True).load(text)
    OpenDataContractStandard.model_validate(data, extra="forbid")
    as_json = json.loads(json.dumps(data, default=str))
    schema = Path(inspect.getfile(OpenDataContractStandard)).with_name("schema.json")
    jsonschema.validate(as_json, json.loads(schema.read_text(encoding="utf-8")))


# What is spoilt: file, the text, what stands there instead, and a piece of the fault at that line.
SPOILT = {
    # the text itself
    "syntax": (SESSIONS, "status: active", "status: [active", "no valid YAML"),
    "a key twice": (SESSIONS, "status: active", "kind: DataContract", "key `kind` stands twice"),
    "an anchor": (SESSIONS, "name: Sessions on the services", "name: &a Sessions", "anchors and aliases"),
    "a tag": (SESSIONS, "status: active", "status: !!binary aGk=", "tags have no place"),
    "a merge": (ROLES, "    name: Aiko", "    <<: {name: Aiko}", "no merge"),
    "infinity": (SESSIONS, "maximum: 20}", "maximum: .inf}", "no plain number"),
    # the standard
    "an unknown version": (SESSIONS, "apiVersion: v3.2.0", "apiVersion: v9.0.0", "not known to `apiVersion`"),
    "a float as version": (SESSIONS, "version: 1.1.0", "version: 1.0", "`version` is a text"),
    "a misspelt field": (SESSIONS, "primaryKey: true", "primarykey: true", "no field `primarykey`"),
    "a misspelt custom property": (SESSIONS, "kai.contribution", "kai.contributions", "unknown property"),
    "a required that is no flag": (SESSIONS, "required: true", "required: maybe", "valid boolean"),
    # columns
    "no classification": (
        CUSTOMERS, "classification: quasi-identifier", "businessName: x", "`classification` is missing",
    ),
    "an unknown classification": (
        SESSIONS, "classification: personal", "classification: secret", "`secret` is not known",
    ),
    "an unknown type": (SESSIONS, "logicalType: timestamp", "logicalType: array", "`array` is not known"),
    "a key without a domain": (IMPRESSIONS, "kai.keyDomain", "other.keyDomain", "names no kai.keyDomain"),
    "an unknown rule": (
        SESSIONS, "{service-improvement: pseudonym}", "{service-improvement: hash}", "`hash` is not known",
    ),
    "a key that is kept": (SESSIONS, "{service-improvement: pseudonym}", "{service-improvement: keep}", "not allowed"),
    "a rule for an unknown purpose": (
        SESSIONS, "{service-improvement: keep}", "{service-improvment: keep}", "not stated",
    ),
    "a rule for an ungranted purpose": (
        SESSIONS, "{service-improvement: keep}", "{campaign-analysis: keep}", "does not grant",
    ),
    "an unknown generalisation": (SESSIONS, "generalise: month", "generalise: fortnight", "is no generalisation"),
    "a generalisation of another type": (SESSIONS, "generalise: month", "generalise: prefix:3", "texts alone"),
    "a misspelt generalise": (SESSIONS, "generalise: month", "generalize: month", "unknown field `generalize`"),
    "a minimum above the maximum": (
        SESSIONS, "minimum: 0, maximum: 20", "minimum: 50, maximum: 20", "below the maximum",
    ),
    "a date that is none": (SESSIONS, "minimum: 2025-11-01", "minimum: 2025-13-01", "no value of a timestamp"),
    "a fraction in an integer": (SESSIONS, "maximum: 20}", "maximum: 20.5}", "no value of a integer"),
    "half a step": (IMPRESSIONS, "multipleOf: 0.01", "multipleOf: 0.03", "whole multiples"),
    "an enum value twice": (SESSIONS, "{value: computer}", "{value: phone}", "each value once"),
    "an enum of another type": (SESSIONS, "{value: computer}", "{value: 7}", "lists string values"),
    "a column twice": (SESSIONS, "- name: device", "- name: service", "is described twice"),
    "a column's bad name": (SESSIONS, "- name: device", "- name: Device Type", "no column name"),
    # units, bounds, bases
    "a unit that is no column": (
        SESSIONS, "column: customer_id}", "column: client_id}", "there is no column `client_id`",
    ),
    "an unknown population": (SESSIONS, "{population: customers", "{population: clients", "population `clients`"),
    "a key that refers nowhere": (
        SESSIONS, "to: customers.customer_id", "to: customers.client_id", "no column `client_id`",
    ),
    "a reference to no product": (
        SESSIONS, "to: customers.customer_id", "to: clients.customer_id", "no contract describes",
    ),
    "a unit in another domain": (SESSIONS, "value: customer\n", "value: client\n", "different key domains"),
    "a unit without a pseudonym": (
        SESSIONS, "{service-improvement: pseudonym, ad", "{ad", "no rule `service-improvement",
    ),
    "no contribution bounds": (SESSIONS, "kai.contribution", "other.contribution", "statistics need kai.contribution"),
    "a contribution of nothing": (CONTACTS, "{groups: 3", "{groups: 0", "whole number from 1"),
    "an unknown basis": (SESSIONS, "basis: notified", "basis: legitimate-interest", "is no basis"),
    "an unknown choice": (IMPRESSIONS, "prior-consent(behavioural", "prior-consent(behavioral", "is no choice"),
    "an unknown access": (SESSIONS, "access: [rows, statistics]", "access: [raw]", "`raw` is not known"),
    "an empty access": (SESSIONS, "access: [rows, statistics]", "access: []", "not empty"),
    "rows without statistics": (SESSIONS, "access: [rows, statistics]", "access: [rows]", "list statistics too"),
    "a purpose nobody stated": (SESSIONS, "service-improvement: {basis", "service: {basis", "`service` is not stated"),
    "a retention of no column": (
        SESSIONS, "element: sessions.started_at", "element: sessions.began", "no column `began`",
    ),
    "a retention in years": (SESSIONS, "unit: d", "unit: y", "counted in days"),
    "an approver nobody knows": (
        SESSIONS, "firstLevelApprovers: sora", "firstLevelApprovers: nobody", "approver `nobody`",
    ),
    "a company outside": (SESSIONS, "kai-taiwan]", "kai-mars]", "`kai-mars` is not in the joint use"),
    "no joint use": (SESSIONS, "[kai-corporation, kai-media, kai-taiwan]", "[]", "names no company"),
    "a country not assessed": (SESSIONS, "value: [JP, TW]", "value: [JP, US]", "`US` is not assessed"),
    "a file of another name": (SESSIONS, "  - name: sessions\n", "  - name: visits\n", "a file of its name"),
    "a source outside the folder": (SESSIONS, "path: sessions.parquet", "path: ../sessions.parquet", "no file inside"),
    "an absolute source": (SESSIONS, "path: sessions.parquet", "path: /sessions.parquet", "no file inside"),
    # purposes and populations
    "a purpose that is not open or closed": (PURPOSES, "    open: false\n", "    open: no\n", "true or false"),
    "a budget as a float": (PURPOSES, 'rho: "1.2"', "rho: 1.2", "in quotes"),
    "a budget without end": (PURPOSES, 'rho: "1.2"', 'rho: "Infinity"', "above zero"),
    "a budget that no ledger holds": (PURPOSES, 'rho: "1.2"', 'rho: "1e9"', "lies between 0"),
    "a cap above the account": (PURPOSES, 'ad-targeting: {rho: "0.4"', 'ad-targeting: {rho: "4"', "above the account"),
    "no cap for an open purpose": (PURPOSES, "      ad-targeting: {rho", "      customer-care: {rho", "has no cap"),
    "a clause that is none": (PURPOSES, 'clause: "3.8"', 'clause: "3.9"', "`3.9` is not known"),
    "a clause that nobody states": (PURPOSES, 'clause: "3.8"', 'clause: "3.7"', "no purpose states clause 3.8"),
    "a population without a product": (
        PURPOSES, "    product: customers", "    product: clients", "no contract describes",
    ),
    "a residence that is no column": (PURPOSES, "{column: country,", "{column: land,", "no column `land`"),
    "a country nobody lives in": (PURPOSES, "countries: [JP, TW]", "countries: [JP, XX]", "`XX` is no value"),
    "a choice source without its column": (
        PURPOSES, "      state: state", "      state: status", "no column `status`",
    ),
    "a grant that is no state": (PURPOSES, "granted: granted", "granted: yes", "no value that `state` declares"),
    "stops without a sentence": (PURPOSES, "stops: {product", "stops: {absent: '', product", "text that is not empty"),
    # how statistics may be asked
    "half a bound": (CONTACTS, "rowsPerGroup: 1, ", "", "or `rows`, or all three"),
    "no bound at all": (SESSIONS, "value: {rows: 60}", "value: {}", "or `rows`, or all three"),
    "a bound of nought": (SESSIONS, "value: {rows: 60}", "value: {rows: 0}", "whole number from 1"),
    "a misspelt bound": (SESSIONS, "value: {rows: 60}", "value: {row: 60}", "unknown field `row`"),
    "a profile without units": (SESSIONS, "          units: 42000\n", "", "`units` is missing"),
    "a profile of nothing": (
        SESSIONS, '          rows: {"0.25": 2, "0.5": 4, "0.75": 8, "0.9": 16, "0.99": 50, "0.999": 110, "1": 5000}\n'
        "          totals:", "          total:", "unknown field `total`",
    ),
    "a profile that ends early": (SESSIONS, '"0.999": 110, "1": 5000}', '"0.999": 110}', "the last share is 1"),
    "a profile that falls": (SESSIONS, '"0.5": 4', '"0.5": 1', "what they have does not fall"),
    "a share above one": (SESSIONS, '"0.99": 50', '"1.5": 50', "`1.5` is no share"),
    "a share that is none": (SESSIONS, '"0.99": 50', '"most": 50', "`most` is no share"),
    "a profile below nought": (SESSIONS, '"0.25": 2,', '"0.25": -2,', "number from 0 upwards"),
    "a profile in words": (SESSIONS, '"0.25": 2,', '"0.25": few,', "number from 0 upwards"),
    "a total of no column": (SESSIONS, "            pages: {", "            page: {", "there is no column `page`"),
    "a total of a text": (SESSIONS, "            pages: {", "            device: {", "column `device` has no total"),
    "windows of no column": (ORDERS, "column: ordered_at,", "column: placed_at,", "there is no column `placed_at`"),
    "windows of no time": (ORDERS, "column: ordered_at,", "column: category,", "no date and no timestamp"),
    "windows of an unknown span": (ORDERS, "span: month}", "span: fortnight}", "`fortnight` is not known"),
    "windows of a time that may lack": (
        ORDERS, "physicalType: TIMESTAMP\n        required: true", "physicalType: TIMESTAMP", "may lie in no window",
    ),
    "windows without a range": (
        ORDERS, "{minimum: 2025-11-01, maximum: 2026-10-31}", "{minimum: 2025-11-01}", "declares no range",
    ),
    "windows without end": (ORDERS, "minimum: 2025-11-01", "minimum: 1900-01-01", "more than 1,000 windows"),
    "a week in two windows": (
        ORDERS, "service-improvement: {generalise: month}", "service-improvement: {generalise: week}", "in two windows",
    ),
    "windows whose time is not seen": (
        ORDERS, "service-improvement: {generalise: month}, ", "", "does not see the windows' time",
    ),
    "an arrival that is no column": (ORDERS, "span: month}", "span: month, arrived: at}", "there is no column `at`"),
    "windows without a cap": (PURPOSES, "    window_cap", "    # window_cap", "has no window_cap"),
    "a pre-aggregate without keys": (CONTACTS, "keys: [campaign, arm], ", "", "`keys` is a list of texts"),
    "a pre-aggregate of no column": (CONTACTS, "keys: [campaign, arm]", "keys: [campaigns]", "no column `campaigns`"),
    "a sum of no column": (CONTACTS, "sums: [converted, ", "sums: [conversions, ", "no column `conversions`"),
    "a key without declared values": (
        CONTACTS, "keys: [campaign, arm]", "keys: [spend_yen]", "no purpose can have `contacts_by_arm`",
    ),
    "a sum without bounds": (CONTACTS, "sums: [converted, ", "sums: [arm, ", "no purpose can have `contacts_by_arm`"),
    "a key twice in a pre-aggregate": (CONTACTS, "keys: [campaign, arm]", "keys: [arm, arm]", "each column once"),
    "a pre-aggregate's bad name": (CONTACTS, "{name: contacts_by_arm", "{name: By Arm", "`By Arm` is no name"),
    "a pre-aggregate beside windows": (
        ORDERS, "      - property: kai.windows",
        "      - property: kai.preAggregates\n        value: [{name: by_category, keys: [category]}]\n"
        "      - property: kai.windows", "a product with windows has no pre-aggregates",
    ),
    "two pre-aggregates of one name": (
        SESSIONS, "      - property: kai.contribution",
        "      - property: kai.preAggregates\n        value: [{name: contacts_by_arm, keys: [device]}]\n"
        "      - property: kai.contribution", "has a pre-aggregate `contacts_by_arm` already",
    ),
    "a time bucket of nothing": (PURPOSES, 'time_bucket: "0.25"', 'time_bucket: "0.001"', "0.05 to 60 seconds"),
    "a time bucket of hours": (PURPOSES, 'time_bucket: "0.25"', 'time_bucket: "7200"', "0.05 to 60 seconds"),
    "a time bucket as a float": (PURPOSES, 'time_bucket: "0.25"', "time_bucket: 0.25", "written in quotes"),
    # how much leaves
    "a cap of nought": (SESSIONS, "rowsPerQuery: 2000000", "rowsPerQuery: 0", "whole number from 1"),
    "a cap in words": (SESSIONS, "rowsPerQuery: 2000000", "rowsPerQuery: many", "whole number from 1"),
    "a misspelt cap": (SESSIONS, "rowsPerQuery: 2000000", "rowPerQuery: 2000000", "unknown field `rowPerQuery`"),
    "a day below an answer": (SESSIONS, "rowsPerDay: 8000000", "rowsPerDay: 1", "`rowsPerDay` is below `rowsPerQuery`"),
    "more than memory": (SESSIONS, "bytesPerQuery: 134217728", "bytesPerQuery: 5000000000", "at most 2,147,483,648"),
    "caps that name nothing": (
        SESSIONS, "{rowsPerQuery: 2000000, bytesPerQuery: 134217728, rowsPerDay: 8000000, bytesPerDay: 536870912}",
        "{}", "no cap is named",
    ),
    "a download below nought": (IMPRESSIONS, "value: 262144", "value: -1", "whole number from 0"),
    "a download that Lab can't carry": (IMPRESSIONS, "value: 262144", "value: 99999999", "at most 67,108,864"),
    "a column of the sandbox": (SESSIONS, "- name: device", "- name: kai_unit", "belong to the sandbox"),
    "a primary key that is no flag": (SESSIONS, "primaryKey: true", "primaryKey: first", "is true or false"),
    "a delta above the account's": (PURPOSES, 'question_delta: "0.00000001"', 'question_delta: "0.1"', "account's δ"),
    "a delta that is no text": (PURPOSES, 'question_delta: "0.00000001"', "question_delta: 0.1", "written in quotes"),
    "a window's cap above the account": (PURPOSES, 'window_cap: {rho: "0.05"', 'window_cap: {rho: "5"', "above the"),
    "a product's cap above the account": (
        PURPOSES, "    analyst_cap", '    product_caps: {sessions: {rho: "9", delta: "0.000001"}}\n    analyst_cap',
        "above the account",
    ),
    "a cap of no product": (
        PURPOSES, "    analyst_cap", '    product_caps: {visits: {rho: "0.1", delta: "0.000001"}}\n    analyst_cap',
        "no contract describes product `visits`",
    ),
    # roles
    "an unknown company": (ROLES, "company: kai-media", "company: kai-moon", "`kai-moon` is not registered"),
    "an unknown role": (ROLES, "roles: [analyst]", "roles: [root]", "`root` is not known"),
    "an appointment backwards": (ROLES, "expires: 2027-12-31", "expires: 2025-12-31", "expires before it begins"),
    "a grant to nobody": (ROLES, "identity: aiko", "identity: nobody", "`nobody` is not registered"),
    "a grant to oneself": (ROLES, "granted_by: sora", "granted_by: aiko", "nobody grants to themselves"),
    "a grant by no steward": (ROLES, "granted_by: sora", "granted_by: ren", "no registered steward"),
    "a grant for a closed purpose": (ROLES, "purpose: ad-targeting", "purpose: customer-care", "is not open"),
    "a grant backwards": (ROLES, "    to: 2027-12-31", "    to: 2025-12-31", "ends before it begins"),
    # policy
    "a control that proves nothing": (POLICY, "        evidence: kai contracts check", "", "`evidence` is missing"),
    "a control that is there and absent": (
        POLICY, "evidence: kai contracts check", "absent: why", "says what it `does`",
    ),
    "a clause without its purpose": (
        POLICY, "purposes: [ad-targeting]", "purposes: []", "does not list `ad-targeting`",
    ),
    "a clause too many": (POLICY, '  "11":', '  "12":', "no clause 12"),
}  # fmt: skip


# What is missing, or what clashes with something elsewhere, is told at the part that should hold it or that clashes.
ELSEWHERE = {
    *("syntax", "a key twice", "a merge", "a column twice", "no classification", "a key without a domain"),
    *("a rule for an ungranted purpose", "a unit in another domain", "a unit without a pseudonym"),
    *(
        "no contribution bounds",
        "a retention of no column",
        "no cap for an open purpose",
        "a clause that nobody states",
    ),
    *("stops without a sentence", "a grant backwards", "a control that proves nothing"),
    *("half a bound", "a profile without units", "a profile of nothing", "windows of a time that may lack"),
    *("windows without a range", "windows without end", "windows whose time is not seen", "windows without a cap"),
    *("a pre-aggregate without keys", "a pre-aggregate beside windows", "two pre-aggregates of one name"),
    *("a product's cap above the account", "a cap of no product"),
    *("a control that is there and absent", "a clause without its purpose"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_contract_is_refused_with_file_line_and_reason(folder: Folder, name: str) -> None:
    file, old, new, reason = SPOILT[name]
    line = folder.edit(file, old, new)
    faults = [fault for fault in folder.faults() if reason in str(fault)]
    assert faults, f"no fault says {reason!r}: {[str(fault) for fault in folder.faults()]}"
    # A custom property is told at its value, one line below its name.
    assert name in ELSEWHERE or any(fault.file == file and 0 <= fault.line - line <= 1 for fault in faults), faults


def test_every_fault_of_every_file_is_told_at_once(folder: Folder) -> None:
    spoilt = (
        "a misspelt field",
        "an unknown basis",
        "an unknown choice",
        "a cap above the account",
        "a grant to oneself",
    )
    for name in spoilt:
        folder.edit(*SPOILT[name][:3])
    told = "\n".join(str(fault) for fault in folder.faults())
    assert all(SPOILT[name][3] in told for name in spoilt), told
    assert {fault.file for fault in folder.faults()} >= {SESSIONS, IMPRESSIONS, PURPOSES, ROLES}


def test_a_product_whose_contract_is_broken_is_not_also_called_absent(folder: Folder) -> None:
    folder.edit(CUSTOMERS, "status: active", "status: [active")
    assert [fault.file for fault in folder.faults()] == [CUSTOMERS]


def test_direct_identifiers_free_text_and_special_categories_can_never_be_kept(folder: Folder) -> None:
    rules = (
        "classification: {}\n        customProperties: [{{property: kai.purposeRules, value: {{ad-targeting: {}}}}}]"
    )
    for classification in ("direct-identifier", "free-text", "special-category"):
        for action in ("keep", "pseudonym", "{generalise: prefix:1}"):
            spoilt = Folder(folder.path.parent / f"{classification}-{action[:4]}")
            spoilt.edit(CUSTOMERS, "classification: direct-identifier", rules.format(classification, action))
            assert any("is not allowed" in fault.message for fault in spoilt.faults()), (classification, action)


def test_a_product_about_people_can_not_leave_its_unit_out(folder: Folder) -> None:
    folder.edit(SESSIONS, "kai.privacyUnit", "other.privacyUnit")
    assert any("names no privacy unit" in fault.message for fault in folder.faults())


@pytest.mark.parametrize(
    "stated",
    [
        ("kai.contribution", "{rows: 3}"),
        ("kai.profile", '{units: 3, rows: {"1": 3}}'),
        ("kai.windows", "{column: start_date, span: month}"),
        ("kai.preAggregates", "[{name: a, keys: [campaign_type]}]"),
    ],
)
def test_a_public_table_is_about_nobody_whom_statistics_could_bound(tmp_path: Path, stated: tuple[str, str]) -> None:
    folder = Folder(tmp_path / "journey", COMPLETE_JOURNEY)
    assert folder.faults() == ()
    name, value = stated
    end = "      - property: kai.appiStatus"
    folder.edit("campaign_descriptions.odcs.yaml", end, f"      - property: {name}\n        value: {value}\n{end}")
    [fault] = folder.faults()
    assert f"a product without a privacy unit has no {name}" in fault.message


def test_terms_are_what_was_written() -> None:
    orders, contacts = sample().products["orders"], sample().products["campaign_contacts"]
    assert orders.contribution == ContributionBounds(rows=8)
    assert orders.windows == WindowRule("ordered_at", "month")
    assert orders.profile is not None
    assert orders.profile.rows[:2] == ((Decimal("0.75"), Decimal(1)), (Decimal("0.9"), Decimal(2)))
    assert set(orders.profile.totals) == {"amount_yen", "quantity"}
    assert contacts.contribution == ContributionBounds(3, 1, 3)
    assert contacts.pre_aggregates == (
        PreAggregateRule("contacts_by_arm", ("campaign", "arm"), ("converted", "spend_yen")),
    )
    assert contacts.key is contacts.column("contact_id")


def test_a_key_of_two_columns_is_neithers(folder: Folder) -> None:
    folder.edit(CONTACTS, "      - name: campaign\n", "      - name: campaign\n        primaryKey: true\n")
    assert folder.load().products["campaign_contacts"].key is None


def test_an_arrival_may_lengthen_the_windows(folder: Folder) -> None:
    folder.edit(ORDERS, "span: month}", "span: month, arrived: came_at}")
    column = """      - name: came_at
        logicalType: date
        physicalType: DATE
        required: true
        classification: personal
        logicalTypeOptions: {minimum: 2025-11-01, maximum: 2026-12-24}
"""
    folder.edit(ORDERS, "      - name: category\n", column + "      - name: category\n")
    view = store_plan(folder.load(), "campaign-analysis", "statistics").tables["orders"].statistics
    assert view is not None and view.windows is not None
    assert (view.windows.first, view.windows.last) == (date(2025, 11, 1), date(2026, 12, 24))


def test_a_folder_without_contracts_is_a_fault(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ContractFaults) as caught:
            load(path)
        assert {fault.file for fault in caught.value.faults} >= {PURPOSES, ROLES, POLICY, path.name}
        assert str(tmp_path.parent) not in str(caught.value)  # a path of the custody is nobody's business


@pytest.mark.parametrize("register", [PURPOSES, ROLES, POLICY])
def test_a_missing_or_empty_register_is_a_fault(folder: Folder, register: str) -> None:
    folder.write(register, "# nothing\n")
    assert any(fault.file == register and "empty" in fault.message for fault in folder.faults())
    (folder.path / register).unlink()
    assert any(fault.file == register and "missing" in fault.message for fault in folder.faults())


def test_a_yaml_file_that_nobody_knows_is_a_fault(folder: Folder) -> None:
    folder.write("sessions.odcs.yml", folder.text(SESSIONS))
    assert [fault.file for fault in folder.faults()] == ["sessions.odcs.yml"]


def test_two_contracts_of_one_product_are_a_fault(folder: Folder) -> None:
    folder.write("zz.odcs.yaml", folder.text(SESSIONS))
    assert any(fault.file == "zz.odcs.yaml" and "another contract" in fault.message for fault in folder.faults())


def test_a_file_that_is_no_text_is_a_fault(folder: Folder) -> None:
    (folder.path / SESSIONS).write_bytes(b"\xff\xfe\x00")
    assert any(fault.file == SESSIONS and "UTF-8" in fault.message for fault in folder.faults())
    (folder.path / SESSIONS).write_bytes(b"a: \x7f")
    assert any(fault.file == SESSIONS and "no valid YAML" in fault.message for fault in folder.faults())


@pytest.mark.parametrize("text", ["- a list", "just text", "{", "a: b: c", "? [1]\n: 2", "x: " + "[" * 300])
def test_what_is_no_mapping_is_a_fault_and_not_a_crash(folder: Folder, text: str) -> None:
    for file in (SESSIONS, PURPOSES, ROLES, POLICY):
        folder.write(file, text)
    assert {fault.file for fault in folder.faults()} == {SESSIONS, PURPOSES, ROLES, POLICY}


def test_dates_and_fractions_are_what_was_written() -> None:
    customers, impressions = sample().products["customers"], sample().products["ad_impressions"]
    assert customers.column("birth_date").minimum == "1930-01-01"
    assert str(impressions.column("cost_yen").step) == "0.01"


def test_the_digest_follows_what_stores_depend_on_and_not_who_may_ask(folder: Folder) -> None:
    digest = folder.load().digest
    folder.edit(SESSIONS, "servers:", "# a comment\nservers:")
    folder.edit(ROLES, "expires: 2027-12-31", "expires: 2028-12-31")
    assert folder.load().digest == digest
    folder.edit(SESSIONS, "generalise: month", "generalise: year")
    assert folder.load().digest != digest


def test_roles_are_read_alone_and_refused_alone(folder: Folder) -> None:
    path = folder.path / ROLES
    first = load_roles(path)
    assert first == sample().roles
    folder.edit(ROLES, "expires: 2027-12-31", "expires: 2026-12-31")
    assert load_roles(path).digest != first.digest
    folder.edit(ROLES, "roles: [analyst]", "roles: [root]")
    with pytest.raises(ContractFaults):
        load_roles(path)


@pytest.mark.parametrize("file", [SESSIONS, CUSTOMERS, IMPRESSIONS])
def test_no_line_can_be_lost_to_the_customers_harm(folder: Folder, file: str) -> None:
    """Without any one of its lines a contract is refused, or its stores hold nothing that they did not hold before."""
    product = file.removesuffix(".odcs.yaml")
    before = _held(sample(), product)
    lines = folder.text(file).splitlines(keepends=True)
    refused = 0
    for index, lost in enumerate(lines):
        folder.write(file, "".join(lines[:index] + lines[index + 1 :]))
        contracts = _with_one_read_anew(folder.path / file)
        refused += contracts is None
        assert contracts is None or _held(contracts, product) <= before, lost
    assert refused > len(lines) / 3  # most lines matter: the check above is not passed by reading nothing


def _with_one_read_anew(file: Path) -> Contracts | None:
    """The sample with one contract read again, which takes milliseconds; None where it has a fault."""
    faults = Faults()
    document = read_document(file, faults)
    product = read_contract(document, faults) if document else None
    if document is None or product is None or product.product not in sample().products:
        return None
    contracts = replace(sample(), products={**sample().products, product.product: product})
    documents = {**_sample_documents(), file.name: document}
    registers = (contracts.purposes, False, contracts.policy, contracts.roles)
    check(ReadFolder(*registers, contracts.products, documents, False), faults)
    return None if faults.noted else contracts


@cache
def _sample_documents() -> dict[str, Document]:
    read = {file.name: read_document(file, Faults()) for file in SAMPLE.glob("*.yaml")}
    return {name: document for name, document in read.items() if document}


def _held(contracts: Contracts, product: str) -> set[object]:
    """Every column that a store holds of the product, with its rule, and on which basis and how long."""
    stores = [(purpose, access) for purpose in contracts.purposes.open for access in ACCESS]
    tables = [(store, store_plan(contracts, *store).tables.get(product)) for store in stores]
    return {
        (store, column.name, column.rule, table.basis, table.unit, table.population, table.retention)
        for store, table in tables
        if table
        for column in table.columns
    }


# How much leaves


@pytest.mark.parametrize(
    ("stated", "caps"),
    [
        ("{rowsPerQuery: 10}", RowsCaps(10, BYTES_PER_QUERY, 40, 4 * BYTES_PER_QUERY)),
        ("{rowsPerDay: 10}", RowsCaps(10, BYTES_PER_QUERY, 10, 4 * BYTES_PER_QUERY)),
        ("{bytesPerQuery: 7, rowsPerQuery: 10, rowsPerDay: 11}", RowsCaps(10, 7, 11, 28)),
        ("{bytesPerDay: 5000000000}", RowsCaps(bytes_per_day=5_000_000_000)),
    ],
)
def test_what_caps_leave_out_fits_what_they_say(folder: Folder, stated: str, caps: RowsCaps) -> None:
    whole = "{rowsPerQuery: 2000000, bytesPerQuery: 134217728, rowsPerDay: 8000000, bytesPerDay: 536870912}"
    folder.edit(SESSIONS, whole, stated)
    assert folder.load().products["sessions"].rows_caps == caps


def test_a_product_that_names_no_cap_has_the_default_and_a_purpose_the_least_download() -> None:
    contracts = sample()
    assert contracts.products["customers"].rows_caps == RowsCaps()
    assert contracts.download_bytes("ad-targeting") == 262_144 < contracts.download_bytes("service-improvement")
    assert contracts.download_bytes("nobody-has-it") == DOWNLOAD_BYTES


# Who gains and who loses what


CHANGED = {
    "a higher cap": (SESSIONS, "rowsPerDay: 8000000", "rowsPerDay: 9000000", "gains", "8,000,000 → 9,000,000"),
    "a lower cap": (SESSIONS, "bytesPerQuery: 134217728", "bytesPerQuery: 1024", "loses", "134,217,728 → 1,024"),
    "a larger download": (IMPRESSIONS, "value: 262144", "value: 524288", "gains", "workspace: 262,144 → 524,288"),
    "rows no longer": (SESSIONS, "access: [rows, statistics]", "access: [statistics]", "loses", "rows"),
    "rows now": (ORDERS, "service-improvement: {basis: notified, access: [statistics]}",
        "service-improvement: {basis: notified, access: [rows, statistics]}", "gains", "rows"),
    "a column less": (ORDERS, "campaign-analysis: keep}", "campaign-analysis: drop}", "loses", "column category"),
    "a coarser column": (SESSIONS, "generalise: month", "generalise: year",
        "changes", "generalise to month → generalise to year"),
    "another basis": (IMPRESSIONS, "prior-consent(behavioural-advertising), access: [rows", "notified, access: [rows",
        "changes", "prior-consent(behavioural-advertising) → notified"),
    "a company less": (SESSIONS, "[kai-corporation, kai-media, kai-taiwan]", "[kai-corporation, kai-media]", "loses",
        "the use of the product"),
    "a longer retention": (ORDERS, "value: 730", "value: 800", "gains", "730 days → 800 days"),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGED)
def test_a_change_says_who_gains_or_loses_what(folder: Folder, case: str) -> None:
    file, old, new, effect, what = CHANGED[case]
    before = folder.load()
    folder.edit(file, old, new)
    after = folder.load()
    found = changes(before, after)
    assert any(change.effect == effect and what in change.what for change in found), found
    assert len(found) <= 3, "one edit changes one thing"
    opposite = {"gains": "loses", "loses": "gains", "changes": "changes"}
    assert [opposite[change.effect] for change in found] == [change.effect for change in changes(after, before)]


def test_a_product_that_is_gone_and_a_purpose_that_closes_are_losses(folder: Folder) -> None:
    before = folder.load()
    assert changes(before, before) == ()
    less = replace(before, products={name: each for name, each in before.products.items() if name != "sessions"})
    lost = {(change.who, change.what) for change in changes(before, less) if change.effect == "loses"}
    assert {("service-improvement", "rows"), ("ad-targeting", "statistics")} <= lost
    shut = replace(before.purposes.purposes["ad-targeting"], open=False)
    stated = replace(before.purposes, purposes={**before.purposes.purposes, "ad-targeting": shut})
    [closed] = changes(before, replace(before, purposes=stated))
    assert (closed.who, closed.effect) == ("ad-targeting", "loses")
