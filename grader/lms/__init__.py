"""Learning systems, each on one page: how its archive is read, what goes back to it; below them what they share."""
