"""The people of the sample warehouse: names, addresses, telephone numbers and e-mails of three countries, all invented.

Pools come from faker's providers (ja_JP, zh_TW, de_DE) and are drawn by numpy, so that a million people take seconds.
Mail addresses end in domains kept free for examples (RFC 2606; example.jp, JPRS). Giving information is voluntary:
kana, a birth date, a gender, a telephone or a mail address may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from faker.providers.address.de_DE import Provider as GermanAddress
from faker.providers.address.ja_JP import Provider as JapaneseAddress
from faker.providers.address.zh_TW import Provider as TaiwaneseAddress
from faker.providers.person.de_DE import Provider as GermanPerson
from faker.providers.person.ja_JP import Provider as JapanesePerson
from faker.providers.person.zh_TW import Provider as TaiwanesePerson

_FULL_WIDTH = str.maketrans("0123456789-", "０１２３４５６７８９－")
_DOMAINS = ("example.jp", "example.com", "example.net", "example.org")
_COUNTRIES = ("JP", "TW", "DE")
_COUNTRY_SHARES = (0.93, 0.05, 0.02)
_JP, _TW, _DE = range(3)

# Shares of the population by prefecture lean to where most people live; the others share what is left.
_LARGE_PREFECTURES = {
    "東京都": 11,
    "神奈川県": 7,
    "大阪府": 7,
    "愛知県": 6,
    "埼玉県": 6,
    "千葉県": 5,
    "兵庫県": 4,
    "福岡県": 4,
}


@dataclass(frozen=True)
class Pool:
    """Words to draw from, each with its share."""

    words: pa.Array
    shares: np.ndarray

    @classmethod
    def of(cls, words: Iterable[str | None], shares: Iterable[float] | None = None) -> Pool:
        """A pool of `words`, evenly shared unless `shares` are given."""
        listed = list(words)
        weights = np.ones(len(listed)) if shares is None else np.fromiter(shares, dtype=float)
        return cls(pa.array(listed, pa.string()), weights / weights.sum())

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """`count` places in this pool, drawn by share."""
        return np.minimum(np.searchsorted(np.cumsum(self.shares), rng.random(count)), len(self.words) - 1)


def people(rng: np.random.Generator, count: int) -> dict[str, pa.Array]:
    """Columns of `count` invented customers, from family name to country."""
    country = np.searchsorted(np.cumsum(_COUNTRY_SHARES)[:-1], rng.random(count), side="right")
    gender = rng.choice(4, count, p=(0.46, 0.43, 0.02, 0.09))  # female, male, other, not given
    return {
        **_names(rng, country, gender),
        **_reach(rng, country),
        **_places(rng, country),
        "birth_date": _birth_dates(rng, count),
        "gender": pa.array(["female", "male", "other", None], pa.string()).take(pa.array(gender)),
        "country": pa.array(_COUNTRIES).take(pa.array(country)),
    }


def blank(values: pa.Array, where: np.ndarray) -> pa.Array:
    """`values` with NULL wherever `where` holds."""
    return pc.if_else(pa.array(where), pa.scalar(None, values.type), values)


def joined(*parts: pa.Array | str) -> pa.Array:
    """The parts of each row, written one after the other."""
    return pc.binary_join_element_wise(*parts, "")


def numbered(prefix: str, numbers: np.ndarray, digits: int) -> pa.Array:
    """Ids such as C0000001."""
    return joined(prefix, pc.utf8_lpad(pa.array(numbers).cast(pa.string()), digits, "0"))


def _by_country(country: np.ndarray, columns: Sequence[pa.Array]) -> pa.Array:
    return pc.choose(pa.array(country), *columns)


def _names(rng: np.random.Generator, country: np.ndarray, gender: np.ndarray) -> dict[str, pa.Array]:
    count = len(country)
    family = Pool.of((name for name, _, _ in JapanesePerson.last_name_pairs), JapanesePerson.last_name_pairs.values())
    family_kana = pa.array([kana for _, kana, _ in JapanesePerson.last_name_pairs])
    chosen = pa.array(family.draw(rng, count))
    given, given_kana = _japanese_given_names(rng, gender)
    without_kana = (country != _JP) | (rng.random(count) < 0.04)
    return {
        "family_name": _by_country(
            country,
            [
                family.words.take(chosen),
                _drawn(rng, Pool.of(TaiwanesePerson.last_names, TaiwanesePerson.last_names.values()), count),
                _drawn(rng, Pool.of(GermanPerson.last_names), count),
            ],
        ),
        "given_name": _by_country(
            country,
            [
                given,
                _drawn(rng, Pool.of(TaiwanesePerson.first_names), count),
                _drawn(rng, Pool.of(GermanPerson.first_names), count),
            ],
        ),
        "family_name_kana": blank(family_kana.take(chosen), without_kana),
        "given_name_kana": blank(given_kana, without_kana),
    }


def _japanese_given_names(rng: np.random.Generator, gender: np.ndarray) -> tuple[pa.Array, pa.Array]:
    female, male = list(JapanesePerson.first_name_female_pairs), list(JapanesePerson.first_name_male_pairs)
    share = rng.random(len(gender))
    is_female = (gender == 0) | ((gender >= 2) & (share < 0.5))
    place = np.where(
        is_female, rng.integers(0, len(female), len(gender)), len(female) + rng.integers(0, len(male), len(gender))
    )
    pairs = female + male
    names = pa.array([name for name, _, _ in pairs]).take(pa.array(place))
    return names, pa.array([kana for _, kana, _ in pairs]).take(pa.array(place))


def _drawn(rng: np.random.Generator, pool: Pool, count: int) -> pa.Array:
    return pool.words.take(pa.array(pool.draw(rng, count)))


def _reach(rng: np.random.Generator, country: np.ndarray) -> dict[str, pa.Array]:
    """Mail addresses and telephone numbers; one telephone in twelve is written with full-width digits."""
    count = len(country)
    romaji = Pool.of(name.lower() for _, _, name in JapanesePerson.last_name_pairs)
    mail = joined(
        _drawn(rng, romaji, count), ".", pa.array(rng.integers(100, 10_000_000, count)).cast(pa.string()), "@",
        _drawn(rng, Pool.of(_DOMAINS), count),
    )  # fmt: skip
    wide = rng.random(count) < 1 / 12
    prefix = _either_width(["070", "080", "090", "+886-9", "+49-15"])
    kind = np.where(country == _JP, rng.integers(0, 3, count), 2 + country)
    quads = _either_width([f"-{number:04d}" for number in range(10_000)])
    telephone = joined(
        prefix.take(pa.array(kind + wide * 5)),
        quads.take(pa.array(rng.integers(0, 10_000, count) + wide * 10_000)),
        quads.take(pa.array(rng.integers(0, 10_000, count) + wide * 10_000)),
    )
    return {
        "email": blank(mail, rng.random(count) < 0.06),
        "telephone": blank(telephone, rng.random(count) < 0.22),
    }


def _either_width(words: list[str]) -> pa.Array:
    """Each word as it is, then each word with full-width digits."""
    return pa.array(words + [word.translate(_FULL_WIDTH) for word in words])


def _places(rng: np.random.Generator, country: np.ndarray) -> dict[str, pa.Array]:
    """Postal codes, prefectures (Japan only, and voluntary) and addresses."""
    count = len(country)
    prefectures = JapaneseAddress.prefectures
    pool = Pool.of(prefectures, (_LARGE_PREFECTURES.get(name, 1.2) for name in prefectures))
    chosen = pool.draw(rng, count)
    # The first two digits of a Japanese postal code follow the region: here, the prefecture's place in the list.
    codes = pa.array([f"{number:04d}" for number in range(10_000)])
    area = pa.array([f"{10 + number:02d}" for number in range(90)])
    japanese_code = joined(
        area.take(pa.array(chosen)), pa.array(rng.integers(0, 10, count)).cast(pa.string()), "-",
        codes.take(pa.array(rng.integers(0, 10_000, count))),
    )  # fmt: skip
    taiwanese_code = pa.array(rng.integers(100, 984, count)).cast(pa.string())
    german_code = pa.array(rng.integers(10_115, 99_999, count)).cast(pa.string())
    prefecture = pool.words.take(pa.array(chosen))
    unknown = rng.random(count) < 0.05
    japanese, taiwanese, german = _japanese_address(rng, prefecture), _taiwanese(rng, count), _german(rng, count)
    return {
        "postal_code": blank(_by_country(country, [japanese_code, taiwanese_code, german_code]), unknown),
        "prefecture": blank(prefecture, unknown | (country != _JP)),
        "address": blank(_by_country(country, [japanese, taiwanese, german]), unknown),
    }


def _japanese_address(rng: np.random.Generator, prefecture: pa.Array) -> pa.Array:
    count = len(prefecture)
    wide = rng.random(count) < 0.3
    numbers = _either_width([str(number) for number in range(1, 31)])
    chome, ban, gou = (numbers.take(pa.array(rng.integers(0, top, count) + wide * 30)) for top in (6, 30, 20))
    return joined(
        prefecture, _drawn(rng, Pool.of(JapaneseAddress.cities), count),
        _drawn(rng, Pool.of(JapaneseAddress.towns), count), chome, "丁目", ban, "番", gou, "号",
    )  # fmt: skip


def _taiwanese(rng: np.random.Generator, count: int) -> pa.Array:
    streets = Pool.of(TaiwaneseAddress.street_names)
    number = pa.array(rng.integers(1, 400, count)).cast(pa.string())
    return joined(
        _drawn(rng, Pool.of(TaiwaneseAddress.cities), count), "市", _drawn(rng, streets, count), "路", number, "號"
    )


def _german(rng: np.random.Generator, count: int) -> pa.Array:
    number = pa.array(rng.integers(1, 200, count)).cast(pa.string())
    names, cities = Pool.of(GermanPerson.last_names), Pool.of(GermanAddress.cities)
    return joined(_drawn(rng, names, count), "straße ", number, ", ", _drawn(rng, cities, count))


def _birth_dates(rng: np.random.Generator, count: int) -> pa.Array:
    years = np.clip(rng.normal(1984, 14, count), 1936, 2008).astype(np.int64)
    days = (years - 1970) * 365.2425 + rng.integers(0, 365, count)
    dates = pa.array(days.astype(np.int32)).cast(pa.date32())
    return blank(dates, rng.random(count) < 0.18)
