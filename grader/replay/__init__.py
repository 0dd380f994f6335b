"""The process in which a trained network is tested: test images come here, and no line of a student's ever runs."""
