"""The grade files that the learning systems let a teacher download, with names that need quoting."""

from grader.lms.rehearsal import Rows, blackboard_gradebook, canvas_gradebook, moodle_worksheet

# Id, name, old score. Names hold what breaks tables.
STUDENTS = (("kim", "김민수", ""), ("lee", 'Lee, "Sam"', "6.00"), ("park", "=cmd|' /C calc'!A0", "20"))
BB_COLUMN = "Project 6 [Total Pts: 20 Score] |_9876543_1"
CANVAS_COLUMN = "HW6: ResNet (4711)"

moodle = moodle_worksheet


def blackboard(students: Rows = STUDENTS, other: str = "HW5") -> bytes:
    return blackboard_gradebook(students, BB_COLUMN, other, first_name="민\n수")


def canvas(students: Rows = STUDENTS, delimiter: str = ",", mark: bool = True, split: bool = False) -> bytes:
    return canvas_gradebook(students, CANVAS_COLUMN, delimiter, mark, split, section="A,B\nC")
