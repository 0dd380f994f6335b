"""Take 1 GB in a file in memory that nothing maps, where 900 MB are allowed."""

hidden = os.memfd_create("hidden")
for _ in range(256):
    os.write(hidden, bytes(4 << 20))
print("SUCCEEDED")
