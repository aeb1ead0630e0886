"""When a schedule of EventBridge is due."""

from __future__ import annotations

import datetime
import re

RATE = re.compile(r"rate\((\d+) (minute|minutes|hour|hours|day|days)\)")
CRON = re.compile(r"cron\(((?:\S+ ){5}\S+)\)")
#: Least and most of minutes, hours, days, months, days of the week and years.
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (1, 7), (1970, 2199))
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def due(expression: str, since: datetime.datetime, at: datetime.datetime) -> bool:
    """Whether a schedule that was made, or was due last, at `since` is due by `at`. Raises ValueError."""
    if parts := RATE.fullmatch(expression):
        unit = parts[2] if parts[2].endswith("s") else f"{parts[2]}s"
        if int(parts[1]) < 1 or (int(parts[1]) == 1) == parts[2].endswith("s"):
            raise ValueError(expression)
        return at - since >= datetime.timedelta(**{unit: int(parts[1])})
    parts = CRON.fullmatch(expression)
    if not parts:
        raise ValueError(expression)
    fields = parts[1].split(" ")
    if (fields[2] == "?") == (fields[4] == "?"):
        raise ValueError(expression)
    allowed = [_numbers(field, *bounds) for field, bounds in zip(fields, BOUNDS, strict=True)]
    minute = at.replace(second=0, microsecond=0)
    if minute <= since:
        return False
    week = minute.isoweekday() % 7 + 1  # Sunday is 1
    told = (minute.minute, minute.hour, minute.day, minute.month, week, minute.year)
    return all(number in numbers for number, numbers in zip(told, allowed, strict=True))


def _numbers(field: str, least: int, most: int) -> set[int]:
    """The numbers that a field of a cron expression stands for. Raises ValueError."""
    found: set[int] = set()
    for number, name in enumerate(MONTHS if most == 12 else DAYS if most == 7 else (), 1):
        field = re.sub(rf"\b{name}\b", str(number), field, flags=re.IGNORECASE)
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            first, last = least, most
        else:
            head, dash, tail = span.partition("-")
            first = int(head)
            last = int(tail) if dash else most if step else first
        if not least <= first <= last <= most:
            raise ValueError(field)
        found |= set(range(first, last + 1, int(step or 1)))
    return found
