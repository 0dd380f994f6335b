"""`python -m grader try hw6.py`: a student's own run under the grader's budget; needs Python, torch and torchvision."""
