"""Open 2,000 files where 256 are allowed."""

kept = [open("/dev/null") for _ in range(2000)]
print("SUCCEEDED")
