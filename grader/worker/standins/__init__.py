"""What a script expects and this machine lacks."""
