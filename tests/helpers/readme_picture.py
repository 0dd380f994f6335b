"""Make the README's picture of a made-up class's report; needs Chromium: `python tests/helpers/readme_picture.py`."""

import os
import shutil
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from command import ROOT
from page_examples import class_of, page

PICTURE = ROOT / ".github" / "report.png"
STUDENTS, WIDTH, HEIGHT, COLOURS = 120, 1100, 1100, 64


def main() -> None:
    """Render the page of a class, take its first screen, and keep it as a PNG with a palette."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        file = Path(name, "report.html")
        Path(name, "any.log").write_text("")
        file.write_text(page(class_of(STUDENTS), Path(name)), encoding="utf-8")
        # Chromium's own sandbox does not start as root.
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.goto(file.as_uri())
        seen = tab.screenshot()
        browser.close()
    Image.open(BytesIO(seen)).convert("RGB").quantize(COLOURS).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
