"""What the ledger holds, and the points that follow from it."""
