"""What makes a script's training faster."""
