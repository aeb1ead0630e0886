"""Schedules of EventBridge."""

from __future__ import annotations

import datetime

import pytest

from sagegen.local.schedules import due

MADE = datetime.datetime(2026, 11, 27, 10, 0, 30, tzinfo=datetime.UTC)  # a Friday


@pytest.mark.parametrize(
    "expression, first",
    [
        ("rate(1 minute)", "2026-11-27 10:01:30"),
        ("rate(2 hours)", "2026-11-27 12:00:30"),
        ("cron(15 * * * ? *)", "2026-11-27 10:15:00"),
        ("cron(0/20 11-12 * * ? *)", "2026-11-27 11:00:00"),
        ("cron(0 3 ? * MON *)", "2026-11-30 03:00:00"),
        ("cron(0 0 1 DEC ? 2026)", "2026-12-01 00:00:00"),
    ],
)
def test_a_schedule_is_due_first_at_its_time(expression: str, first: str) -> None:
    at = MADE
    while not due(expression, MADE, at):
        at += datetime.timedelta(seconds=30)
    assert f"{at:%Y-%m-%d %H:%M:%S}" == first
    assert not due(expression, at, at)


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 minutes)",
        "rate(0 days)",
        "cron(0 3 * * MON *)",
        "cron(61 * * * ? *)",
        "daily",
        "cron(* * * ?)",
    ],
)
def test_an_expression_that_eventbridge_does_not_read_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        due(expression, MADE, MADE)
