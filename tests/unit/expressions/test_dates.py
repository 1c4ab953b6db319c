"""Dates: reference §10.4 and §10.5, and Java's patterns (java.time.format.DateTimeFormatter)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

ZONED = datetime(2013, 9, 8, 16, 19, 12, 123456, tzinfo=timezone(timedelta(hours=1)))
VARIABLES = {
    "zoned": ZONED,
    "instant": ZONED.astimezone(UTC),
    "local": datetime(2013, 9, 8, 16, 19, 12, 123456),  # noqa: DTZ001 - a local date-time is meant
    "day": date(2013, 9, 8),
    "paris": datetime(2024, 3, 30, 12, 0, tzinfo=ZoneInfo("Europe/Paris")),
    "odd": datetime(2024, 1, 1, 0, 5, 9, 7000, tzinfo=timezone(-timedelta(hours=3, minutes=30))),
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("zoned | date(format='iso', timeZone='Europe/Paris')", "2013-09-08T17:19:12.123456+02:00"),
        ("instant | date(format='iso_sec', timeZone='Europe/Paris')", "2013-09-08T17:19:12+02:00"),
        ("local | date(format='yyyy-MM-dd HH:mm:ss.SSSSSSXXX', timeZone='UTC')", "2013-09-08 16:19:12.123456Z"),
        ("'July 24, 2001' | date('yyyy-MM-dd', existingFormat='MMMM dd, yyyy')", "2001-07-24"),
        ("'2013-09-08' | date(timeZone='Europe/Paris')", "2013-09-08T00:00:00.000000+02:00"),
        (
            "'Tue, 08 Feb 2022 19:38:26 GMT' | date(existingFormat='rfc_1123_date_time', timeZone='Europe/Paris')",
            "2022-02-08T20:38:26.000000+01:00",
        ),
        ("zoned | dateAdd(-1, 'DAYS', timeZone='Europe/Paris')", "2013-09-07T17:19:12.123456+02:00"),
        ("zoned | timestamp", 1378653552),
        ("zoned | timestampMilli", 1378653552123),
        ("zoned | timestampMicro", 1378653552123456),
        ("zoned | timestampNano", 1378653552123456000),
        ("local | timestamp(timeZone='Europe/Paris')", 1378649952),
        ("'08/09/2013' | timestamp(existingFormat='dd/MM/yyyy')", 1378598400),
        # kinds of input
        ("day | date('yyyy-MM-dd HH:mm')", "2013-09-08 00:00"),
        ("1378653552123 | date('iso_milli')", "2013-09-08T15:19:12.123Z"),
        ("'2013-09-08T16:19:12+01:00' | date('iso_sec')", "2013-09-08T15:19:12Z"),
        ("'2013-09-08T16:19:12.123456789+01:00[Europe/London]' | date", "2013-09-08T15:19:12.123456Z"),
        ("'2013-09-08T16:19Z' | date('HH:mm')", "16:19"),
        ("'2013-09-08 16:19:12' | date('HH:mm:ss')", "16:19:12"),
        ("null | date", None),
        # named formats
        ("zoned | date('iso')", "2013-09-08T15:19:12.123456Z"),
        ("zoned | date('sql')", "2013-09-08 15:19:12.123456"),
        ("zoned | date('sql_seq')", "2013-09-08 15:19:12"),
        ("zoned | date('iso_date_time', timeZone='Europe/Paris')", "2013-09-08T17:19:12.123456+02:00[Europe/Paris]"),
        ("zoned | date('iso_zoned_date_time')", "2013-09-08T15:19:12.123456Z"),
        ("zoned | date('iso_offset_date_time', timeZone='Europe/Paris')", "2013-09-08T17:19:12.123456+02:00"),
        ("zoned | date('iso_local_date_time')", "2013-09-08T15:19:12.123456"),
        ("zoned | date('iso_date', timeZone='Europe/Paris')", "2013-09-08+02:00"),
        ("zoned | date('iso_local_date')", "2013-09-08"),
        ("zoned | date('iso_time', timeZone='Europe/Paris')", "17:19:12.123456+02:00"),
        ("zoned | date('iso_offset_time')", "15:19:12.123456Z"),
        ("zoned | date('iso_local_time')", "15:19:12.123456"),
        ("zoned | date('iso_instant', timeZone='Europe/Paris')", "2013-09-08T15:19:12.123456Z"),
        ("zoned | date('iso_ordinal_date')", "2013-251"),
        ("zoned | date('iso_week_date')", "2013-W36-7Z"),
        ("zoned | date('rfc_1123_date_time')", "Sun, 8 Sep 2013 15:19:12 GMT"),
        ("zoned | date('rfc_1123_date_time', timeZone='Europe/Paris')", "Sun, 8 Sep 2013 17:19:12 +0200"),
        ("zoned | date('short')", "9/8/13, 3:19 PM"),
        ("zoned | date('medium')", "Sep 8, 2013, 3:19:12 PM"),
        ("zoned | date('long')", "September 8, 2013 at 3:19:12 PM UTC"),
        ("zoned | date('full', timeZone='Europe/Paris')",
         "Sunday, September 8, 2013 at 5:19:12 PM Central European Summer Time"),
        ("zoned | date('medium', locale='fr')", "8 sept. 2013, 15:19:12"),
        # patterns
        ("odd | date('G yy yyyy u M MM MMM MMMM MMMMM d dd D', timeZone='-03:30')",
         "AD 24 2024 2024 1 01 Jan January J 1 01 1"),
        ("odd | date('E EEEE EEEEE e Q QQQ QQQQ w W F', timeZone='-03:30')", "Mon Monday M 2 1 Q1 1st quarter 1 1 1"),
        ("odd | date('H HH k h hh K a m mm s ss S SSS SSSSSSSSS n A', timeZone='-03:30')",
         "0 00 24 12 12 0 AM 5 05 9 09 0 007 007000000 7000000 309007"),
        ("odd | date('X XX XXX x xx xxx Z ZZZZ ZZZZZ O OOOO VV z', timeZone='-03:30')",
         "-0330 -0330 -03:30 -0330 -0330 -03:30 -0330 GMT-03:30 -03:30 GMT-3:30 GMT-03:30 -03:30 -03:30"),
        ("odd | date('X x Z O VV')", "Z +00 +0000 GMT Z"),
        ("zoned | date('VV z zzzz', timeZone='Europe/Paris')", "Europe/Paris CEST Central European Summer Time"),
        ("zoned | date(\"yyyy-MM-dd'T'HH:mm:ssX\", timeZone='UTC')", "2013-09-08T15:19:12Z"),
        ("zoned | date(\"h 'o''clock' a\")", "3 o'clock PM"),
        ("zoned | date('[yyyy][-MM]')", "2013-09"),
        ("zoned | date('ppppd')", "   8"),
        ("zoned | date('EEEE d MMMM yyyy', locale='fr')", "dimanche 8 septembre 2013"),
        ("zoned | date('EEE MMM', locale='de-DE')", "So. Sept."),
        # existingFormat
        ("'8/9/13 5:07 PM' | date('iso_sec', existingFormat='d/M/yy h:mm a')", "2013-09-08T17:07:00Z"),
        ("'20130908171912' | date('iso_sec', existingFormat='yyyyMMddHHmmss')", "2013-09-08T17:19:12Z"),
        ("'2013-251' | date('iso_local_date', existingFormat='iso_ordinal_date')", "2013-09-08"),
        ("'2013-09-08 17:19:12.123456' | date('iso', existingFormat='sql')", "2013-09-08T17:19:12.123456Z"),
        ("'Sun 8 Sep 2013 12:00 +0130' | date('iso_sec', existingFormat='EEE d MMM yyyy HH:mm Z')",
         "2013-09-08T10:30:00Z"),
        ("'2013-09-08 12:00 Europe/Paris' | date('iso_sec', existingFormat='yyyy-MM-dd HH:mm VV')",
         "2013-09-08T10:00:00Z"),
        ("'2013-09-08' | date('iso_sec', existingFormat='yyyy-MM-dd[ HH:mm]')", "2013-09-08T00:00:00Z"),
        ("'8 septembre 2013' | date('iso_local_date', existingFormat='d MMMM yyyy', locale='fr')", "2013-09-08"),
        ("'2013-09-08T17:19:12Z' | date('HH', existingFormat='iso')", "17"),
        # dateAdd
        ("day | dateAdd(1, 'MONTHS', 'yyyy-MM-dd')", "2013-10-08"),
        ("'2024-01-31' | dateAdd(1, 'MONTHS', format='yyyy-MM-dd')", "2024-02-29"),
        ("'2024-02-29' | dateAdd(-1, 'YEARS', format='yyyy-MM-dd')", "2023-02-28"),
        ("'2024-02-29' | dateAdd(2, 'WEEKS', format='yyyy-MM-dd')", "2024-03-14"),
        ("'2024-02-29' | dateAdd('90', 'minutes', format='HH:mm')", "01:30"),
        # a day is a day and 24 hours are 24 hours when the clock changes
        ("paris | dateAdd(1, 'DAYS', timeZone='Europe/Paris', format='iso_sec')", "2024-03-31T12:00:00+02:00"),
        ("paris | dateAdd(24, 'HOURS', timeZone='Europe/Paris', format='iso_sec')", "2024-03-31T13:00:00+02:00"),
        ("'2024-03-30T02:30:00' | dateAdd(1, 'DAYS', timeZone='Europe/Paris', format='iso_sec')",
         "2024-03-31T03:30:00+02:00"),
        # now: the step's instant
        ("now()", "2024-07-09T06:17:01.171193Z"),
        ("now(timeZone='Europe/Paris')", "2024-07-09T08:17:01.171193+02:00"),
        ("now(format='sql_seq')", "2024-07-09 06:17:01"),
        ("now() | dateAdd(-1, 'DAYS') | date('yyyy-MM-dd')", "2024-07-08"),
        # functions on dates
        ("isWeekend('2024-07-06')", True),
        ("isWeekend('2024-07-08T01:00:00+02:00')", False),
        ("dayOfWeek('2024-07-08')", "MONDAY"),
        ("dayOfMonth(day)", 8),
        ("monthOfYear(zoned)", 9),
        ("hourOfDay('2024-07-08T01:00:00+02:00')", 1),
        ("isDayWeekInMonth('2024-07-01', 'MONDAY', 'FIRST')", True),
        ("isDayWeekInMonth('2024-07-08', 'MONDAY', 'FIRST')", False),
        ("isDayWeekInMonth('2024-07-22', 'MONDAY', 'FOURTH')", True),
        ("isDayWeekInMonth('2024-07-29', 'monday', 'LAST')", True),
        ("isDayWeekInMonth('2024-07-22', 'MONDAY', 'LAST')", False),
        ("isDayWeekInMonth('2024-07-02', 'MONDAY', 'FIRST')", False),
        ("isLastWorkingDay('2024-08-30')", True),
        ("isLastWorkingDay('2024-08-31')", False),
        ("isLastWorkingDay('2024-08-29')", False),
        ("isLastWorkingDay('2024-08-29', 'MONDAY,TUESDAY,WEDNESDAY,THURSDAY')", True),
        ("isDateBetween('2026-01-01T00:00:00Z', '2025-12-31T23:59:59Z', '2026-06-30T23:59:59Z')", True),
        ("isDateBetween('2026-01-01T00:00:00+01:00', '2025-12-31T23:00:00Z', '2026-06-30T23:59:59Z')", False),
    ],
)  # fmt: skip
def test_dates(value, expression, expected):
    found = value(expression, **VARIABLES)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("'x' | date", "`x` is not an ISO date; give its `existingFormat`"),
        ("'2024-02-30' | date", "`2024-02-30` is not a date: day is out of range for month"),
        ("[] | date", "`[]` of type java.util.ArrayList is not a date"),
        ("day | date(timeZone='Mars/Base')", "Unknown time zone `Mars/Base`"),
        ("day | date(timeZone='../../etc/passwd')", "Unknown time zone `../../etc/passwd`"),
        ("day | date(timeZone='+19:00')", "The offset `+19:00` is beyond 18 hours"),
        ("day | date('yyyy-J')", "The date pattern `yyyy-J` has the unknown letter `J`"),
        ("day | date(\"yyyy'\")", "The date pattern `yyyy'` has an open quote"),
        ("day | date('{yyyy}')", "The date pattern `{yyyy}` has the reserved character `{`"),
        ("day | date('MMMM', locale='xx-yy')", "Unknown locale `xx-yy`"),
        ("'2024' | date(existingFormat='MM')", "The date `2024` does not fit the format `MM`: unexpected `24`"),
        ("'12' | date(existingFormat='MM')", "The date `12` does not fit the format `MM`: the pattern gives no year"),
        ("'x' | date(existingFormat='yyyy')", "The date `x` does not fit the format `yyyy`: 4 digits expected at `x`"),
        ("'2024-13' | date(existingFormat='yyyy-MM')",
         "The date `2024-13` does not fit the format `yyyy-MM`: month must be in 1..12"),
        ("'x' | date(existingFormat='full')", "The format `full` can be written but not read; give a pattern"),
        ("day | dateAdd(1, 'EONS')", "Unknown unit `EONS`: use one of NANOS, MICROS, MILLIS, SECONDS, MINUTES, HOURS, "
         "HALF_DAYS, DAYS, WEEKS, MONTHS, YEARS, DECADES, CENTURIES, MILLENNIA"),
        ("day | dateAdd(9999999, 'YEARS')", "The date plus 9999999 YEARS is out of range"),
        ("day | dateAdd(99999999999999, 'DAYS')", "The date plus 99999999999999 DAYS is out of range"),
        ("9999999999999999 | date", "The date 9999999999999999 is out of range"),
        ("isWeekend(null)", "A date is needed, not null"),
        ("isDayWeekInMonth(day, 'FUNDAY', 'LAST')", "Unknown day `FUNDAY`: use one of MONDAY, TUESDAY, WEDNESDAY, "
         "THURSDAY, FRIDAY, SATURDAY, SUNDAY"),
        ("isDayWeekInMonth(day, 'SUNDAY', 'FIFTH')", "Unknown position `FIFTH`: use FIRST, SECOND, THIRD, FOURTH or LAST"),
        ("isDateBetween('2026-01-01', '2025-01-01', '2027-01-01')",
         "The date `2026-01-01` has no offset: write `Z` or `+HH:MM` behind it"),
    ],
)  # fmt: skip
def test_date_errors(error, expression, message):
    assert error("{{ " + expression + " }}", **VARIABLES).message == message


def test_public_holidays(value, error):
    pytest.importorskip("holidays")
    assert value("isPublicHoliday('2024-07-04', 'US')") is True
    assert value("isPublicHoliday('2024-07-05T10:00:00Z', 'us')") is False
    assert value("isPublicHoliday('2024-08-15', 'DE', 'DE-BY')") is False  # only in some towns of Bavaria
    assert value("isPublicHoliday('2024-11-01', 'DE', 'DE-BY')") is True
    assert value("isPublicHoliday('2024-11-01', 'DE', 'BE')") is False
    assert error("{{ isPublicHoliday('2024-07-04', 'XX') }}").message == "There is no holiday calendar of `XX`"
