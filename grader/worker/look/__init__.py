"""What is seen of a network and of a script from inside their process."""
