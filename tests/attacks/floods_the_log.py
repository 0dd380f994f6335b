"""Print 1 GB where 4 MB are allowed."""

line = "x" * (1 << 20)
for _ in range(1024):
    print(line)
print("SUCCEEDED")
