"""`python -m grader`: see cli.py."""

from grader.cli import main

if __name__ == "__main__":
    main()
