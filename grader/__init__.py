"""An autograder for a PyTorch homework. Start at cli/, then pipeline.py."""
