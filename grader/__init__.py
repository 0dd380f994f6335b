"""An autograder for a PyTorch homework. Start at cli.py, then pipeline.py."""
