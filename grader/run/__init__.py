"""What the grader does to one submission, outside of the process in which it runs."""
