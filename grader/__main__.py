"""`python -m grader`: see cli."""

from grader.cli import main

if __name__ == "__main__":
    main()
