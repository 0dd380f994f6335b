"""Errors that stop the grader. A student's fault is never one of them: it is a value (see records.Outcome)."""


class Mistake(Exception):
    """The person at the keyboard can mend it: one sentence that says what is wrong and the way out."""


class InfrastructureError(Exception):
    """A fault of the grader or of its machine while one submission was graded: it never becomes points."""


class Cancelled(Exception):
    """The run was stopped from outside; whatever was in flight is not recorded."""
