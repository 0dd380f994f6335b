"""Where submissions are worked on: this machine now; others can stand beside it with the same one function."""
