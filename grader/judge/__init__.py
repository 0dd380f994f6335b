"""From what was seen of a network to a verdict on it: outside, without torch, and nothing of a student's runs here."""
