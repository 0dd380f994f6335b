"""The only code that shares a process with a student's hw6.py. It is started inside a sandbox, never imported."""

from grader.check.compiler import defer

# Before torchvision is imported, which imports it.
defer()
