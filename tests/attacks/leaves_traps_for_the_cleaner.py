"""Leave a link to the grader's folder, a tree 1,500 deep, and a folder that nobody may enter."""

os.symlink(os.path.dirname(target["witness"]), "trap")
os.makedirs("closed/inner")
os.chmod("closed", 0)
for _ in range(1500):
    os.mkdir("d")
    os.chdir("d")
