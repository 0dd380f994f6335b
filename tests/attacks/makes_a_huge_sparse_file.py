"""Make a file of 10 GB that takes no space, for whoever copies it."""

with open("huge", "wb") as file:
    file.truncate(10 << 30)
print("SUCCEEDED")
