"""The check of a file and of its network. Standard library, torch and torchvision only: a student can run it too."""
