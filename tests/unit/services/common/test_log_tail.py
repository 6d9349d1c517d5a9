"""The end of a log: its last lines, what is added, and whatever becomes of the file."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from services.common.web.errors import NotThere, Outdated
from services.common.web.log_tail import LogFile, LogLine
from services.common.web.streams import Event


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log"


async def take(events: object, count: int) -> list[Event[LogLine]]:
    async with asyncio.timeout(30):
        return [await anext(events) for _ in range(count)]  # type: ignore[call-overload]


async def texts(events: object, count: int) -> list[str]:
    return [event.data.text for event in await take(events, count)]


@pytest.mark.parametrize("ending", ["", "\n"])
@pytest.mark.parametrize("lines", [0, 1, 3, 99])
async def test_the_last_lines_and_what_comes(
    file: Path, lines: int, ending: str
) -> None:
    written = [f"line {number}" for number in range(10)]
    file.write_text("\n".join(written) + ending)
    events = await LogFile(file).tail(lines=lines)
    past = written[len(written) - min(lines, 10) :]
    assert await texts(events, len(past)) == past
    with file.open("a") as log:
        log.write("\nmore\n" if not ending else "more\n")
    rest = await texts(events, 1 if ending else 2)
    assert rest[-1] == "more"
    await events.aclose()


async def test_lines_of_many_blocks_are_found(file: Path) -> None:
    written = [f"{number} " + "x" * 997 for number in range(1000)]
    file.write_text("\n".join(written) + "\n")
    events = await LogFile(file).tail(lines=500)
    assert await texts(events, 500) == written[-500:]
    await events.aclose()


async def test_a_reader_goes_on_where_it_was(file: Path) -> None:
    file.write_text("a\nb\nc\nd\n")
    events = await LogFile(file).tail(lines=4)
    second = (await take(events, 2))[1]
    await events.aclose()
    again = await LogFile(file).tail(after=second.id)
    assert await texts(again, 2) == ["c", "d"]
    await again.aclose()
    with pytest.raises(Outdated):
        await LogFile(file).tail(after="no place")


async def test_a_file_that_is_put_away_is_read_to_its_end(file: Path) -> None:
    file.write_text("a\n")
    events = await LogFile(file).tail()
    (first,) = await take(events, 1)
    with file.open("a") as log:
        file.rename(file.with_suffix(".1"))
        log.write("b\n")
    assert await texts(events, 1) == ["b"]
    file.write_text("c\n")
    news, line = await take(events, 2)
    assert (news.kind, line.data.text) == ("replaced", "c")
    await events.aclose()
    late = await LogFile(file).tail(after=first.id)
    news, line = await take(late, 2)
    assert (news.kind, line.data.text) == ("replaced", "c")
    await late.aclose()


async def test_a_file_that_is_cut_begins_anew(file: Path) -> None:
    file.write_text("a long line\n")
    events = await LogFile(file).tail()
    await take(events, 1)
    file.write_text("new\n")
    news, line = await take(events, 2)
    assert (news.kind, line.data.text) == ("truncated", "new")
    await events.aclose()


async def test_bytes_are_harmless(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00\x1b[31m\n\r\n" + "ü\u2028\n".encode() + b"\xc3\n")
    events = await LogFile(file).tail()
    bad = "\N{REPLACEMENT CHARACTER}"
    assert await texts(events, 4) == [f"{bad * 4}[31m", "", "ü\u2028", bad]
    await events.aclose()


async def test_a_line_without_end_comes_in_pieces(file: Path) -> None:
    file.write_text("x" * 100_000 + "\nnext\n")
    events = await LogFile(file).tail()
    pieces = []
    while not pieces or not pieces[-1].ends:
        pieces += [event.data for event in await take(events, 1)]
    assert "".join(piece.text for piece in pieces) == "x" * 100_000
    assert await texts(events, 1) == ["next"]
    with file.open("ab") as log:
        log.write("50 % ü".encode()[:-1])
    (half,) = await take(events, 1)
    assert (half.data.text, half.data.ends) == ("50 % ", False)
    with file.open("ab") as log:
        log.write("ü".encode()[1:] + b"!\n")
    assert await texts(events, 1) == ["ü!"]
    await events.aclose()


async def test_what_is_no_file_is_not_there(file: Path) -> None:
    with pytest.raises(NotThere):
        await LogFile(file).tail()
    os.mkfifo(file)
    with pytest.raises(NotThere):
        await LogFile(file).tail()
    link = file.with_suffix(".link")
    link.symlink_to("/etc/passwd")
    with pytest.raises(NotThere):
        await LogFile(link).tail()


async def test_it_lets_go_of_its_file(file: Path) -> None:
    file.write_text("a\n")
    opened = Path("/proc/self/fd")
    before = len(list(opened.iterdir()))
    for _ in range(20):
        events = await LogFile(file).tail()
        await take(events, 1)
        await events.aclose()
        never_read = await LogFile(file).tail()
        await never_read.aclose()
    assert len(list(opened.iterdir())) <= before + 2
