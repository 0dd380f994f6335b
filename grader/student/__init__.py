"""What a student is given: the self-check, a trial under the grader's budget, and the zip file that has both."""
