"""What people read: the tables, and the summary on the terminal."""
