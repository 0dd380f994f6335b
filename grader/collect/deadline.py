"""Deadlines: a moment with its zone, and how long after it a file came."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from grader.errors import UserError
from grader.text import duration_in_words

_FORM = re.compile(
    r"(?P<day>\d{4}-\d\d?-\d\d?)"
    r"(?:(?:T|\s+)(?P<time>\d\d?:\d\d(?::\d\d)?))?"
    r"\s*(?P<zone>[+-]\d\d:?[0-5]\d|[A-Za-z][\w+/-]*)?",
    re.ASCII,
)
_EXAMPLES = "2026-12-01T23:59+09:00 or 2026-12-01 23:59 Asia/Seoul"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_deadline(text: str, source: str) -> datetime | None:
    """Read a date, a time and a zone: an offset, Z, or an IANA name. No zone is ever assumed.

    Where clocks are changed, an hour comes twice or not at all: of the two moments that the text can then mean, it is
    the later one. 23:59 means 23:59:00.

    Args:
        source: What the sentence about a mistake puts before the text.

    Returns:
        Time zone aware, to the second; None if there is no text.

    Raises:
        UserError: The text is not of that form. Where the zone or the time is missing, the likely spellings are shown.
    """
    text = text.strip()
    if not text:
        return None
    form = _FORM.fullmatch(text)
    if form is None:
        raise UserError(f"{source}{text} cannot be read: write a date, a time and a zone, as {_EXAMPLES}")
    try:
        time = form["time"] or "23:59:59"
        wall = datetime.strptime(f"{form['day']} {time}", f"%Y-%m-%d %H:%M{':%S' * (time.count(':') == 2)}")
        if form["time"] is None:
            spellings = _spellings(wall, form["zone"])
            raise UserError(f"{source}{text} has no time of day: for the end of that day write {spellings}")
        if form["zone"] is None:
            raise UserError(f"{source}{text} names no time zone: write {_spellings(wall)}")
        return _moment(wall, _zone(form["zone"]))
    except (ZoneInfoNotFoundError, OSError):  # OSError: a folder of zones, such as `Asia`
        reason = f"this machine knows no time zone {form['zone']}"
    except (ValueError, OverflowError):
        reason = "there is no such date, time or zone"
    raise UserError(f"{source}{text} cannot be read, {reason}: write it as {_EXAMPLES}")


def seconds_late(modified: int | None, deadline: datetime | None) -> int:
    """Count the whole seconds from the deadline to a file's time; 0 if it is not late, or if either is not known.

    Args:
        modified: Nanoseconds since 1970. The fraction of its second is dropped: a table shows whole seconds, and a
            file that bears the deadline's own time there is not late.
    """
    if modified is None or deadline is None:
        return 0
    return max(0, modified // 1_000_000_000 - (deadline - _EPOCH) // timedelta(seconds=1))


def how_late(seconds: int, deadline: datetime) -> str:
    """Say it in the two largest units, as `1 day 2 hours after the deadline, 2026-12-01 23:59:00+09:00`."""
    return f"{duration_in_words(seconds)} after the deadline, {shown(deadline)}"


def shown(deadline: datetime) -> str:
    """Show a deadline with its offset, as `2026-12-01 23:59:00+09:00`."""
    return deadline.isoformat(" ", "seconds")


def doubts_about_times(times: Sequence[datetime], today: date) -> Iterator[str]:
    """Say what of the files' times cannot be when they were handed in, one sentence each, without a full stop.

    Args:
        times: Of all files, in one zone.
        today: In the same zone.
    """
    minute, same = Counter(f"{time:%Y-%m-%d %H:%M}" for time in times).most_common(1)[0] if times else ("", 0)
    if same > 1 and 2 * same > len(times):
        yield (
            f"{same} of {len(times)} files have the same minute, {minute}: copying or unpacking may have set it; "
            "keep the times (cp -a), or pass the learning system's archive"
        )
    if later := [time for time in times if time.date() > today]:
        yield (
            f"{len(later)} of {len(times)} files have a time after today, up to {shown(max(later))}: check the clock "
            "and the zone of whatever unpacked them"
        )


def _zone(name: str) -> tzinfo:
    if name.upper() in ("Z", "UTC"):
        return UTC
    if name[0] in "+-":
        offset = timedelta(hours=int(name[1:3]), minutes=int(name[-2:]))
        return timezone(-offset if name[0] == "-" else offset)
    return ZoneInfo(name)


def _moment(wall: datetime, zone: tzinfo) -> datetime:
    # In one zone Python compares clocks, not moments: hence UTC. Back from there, a clock time that never was is gone.
    return max(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)).astimezone(zone)


def _spellings(wall: datetime, zone: str | None = None) -> str:
    if zone:
        return f"{wall} {zone}"
    local, utc = wall.astimezone().isoformat(), wall.isoformat()
    return f"{local} (this machine's zone) or {utc}Z (UTC); a name such as Asia/Seoul after the time works too"
