"""Make archives as the learning systems do, after the facts that are known of them, and hostile ones."""

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

BLACKBOARD = "gradebook_2026-ML-01_Project_6_2026-11-27-09-30-00.zip"
TITLE = "Project_6"


def bb(student: str, time: str, file: str | None = None, title: str = TITLE) -> str:
    """The name of a Blackboard entry; without a file, of the attempt's .txt."""
    return f"{title}_{student}_attempt_{time}" + (".txt" if file is None else f"_{file}")


def account(student: str, *pairs: tuple[str, str], name: str = "김민수", comments: str = "") -> bytes:
    """Blackboard's .txt of an attempt; a pair is a file's name as it was, and the entry's."""
    lines = [
        f"Name: {name} ({student})",
        "Assignment: Project 6",
        "Date Submitted: Friday, November 20, 2026 11:58:03 PM KST",
        "Current Grade: Needs Grading",
        "",
        "Submission Field:",
        "There is no student submission text data for this assignment.",
        "",
        "Comments:",
        comments or "There are no student comments for this assignment.",
        "",
        "Files:",
    ]
    for original, entry in pairs:
        lines += [f"\tOriginal filename: {original}", f"\tFilename: {entry}", ""]
    if not pairs:
        lines.append("\tNo files were attached to this submission.")
    return "\r\n".join(lines).encode()


def attempt(student: str, time: str, title: str = TITLE, **files: bytes) -> dict[str, bytes]:
    """One attempt's entries, with its .txt; a file's keyword has two underscores for its dot."""
    named = {name.replace("__", "."): content for name, content in files.items()}
    entries = {bb(student, time, name, title): content for name, content in named.items()}
    pairs = [(name, bb(student, time, name, title)) for name in named]
    return {bb(student, time, title=title): account(student, *pairs), **entries}


def packed(entries: Mapping[str, bytes]) -> bytes:
    """A zip archive in memory."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def write_archive(path: Path, entries: Mapping[str, bytes]) -> Path:
    path.write_bytes(packed(entries))
    return path


def unpack(path: Path, folder: Path) -> Path:
    """The archive's folder, as a teacher's file manager would make it."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


def linked(name: str, target: bytes) -> zipfile.ZipInfo:
    """The entry of a symbolic link."""
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = 0o120777 << 16
    return info


def canvas_entry(name: str, user: str, attachment: int, file: str = "hw6.py", late: bool = False) -> str:
    """The name of a Canvas entry, after content_zipper.rb; `name` is a student's or a group's, empty if hidden."""
    sortable = re.sub(r"_([0-9]+)_", r"\1", name).lower()
    parts = [*([sortable] if name else []), *(["LATE"] if late else []), user]
    cleaned = re.sub(r"\W", "", "_".join(parts))
    display = re.sub(r'[\x00/\\:*?"<>|]+', "_", file)
    return f"{cleaned}_{attachment}_{display}"


def moodle_entry(name: str, number: str, file: str = "hw6.py", kind: str = "file") -> str:
    """The name of a Moodle entry, as downloader.php makes it: underscores in a name become blanks."""
    cleaned = re.sub(r'[\x00-\x1f\\/:*?"<>|&]', "", name.replace("_", " "))
    return f"{cleaned}_{number}_assignsubmission_{kind}_/{file}"
