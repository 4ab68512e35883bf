"""Takes the picture of a report in the README: `make demo`, then `python docs/make_report_picture.py runs/demo/report.html`.

Needs Chromium, and Pillow, which matplotlib brings along.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

OUT = Path(__file__).parent / "figures" / "report.png"
WIDTH, HEIGHT = 1200, 1345  # of the top of the page, in pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    options = parser.parse_args()
    if options.browser is None:
        parser.error("no Chromium was found; name one with --browser")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        take(options.browser, options.page, shot)
        with Image.open(shot) as picture:
            picture.convert("RGB").save(OUT, optimize=True)
    print(f"{OUT}: {OUT.stat().st_size / 1000:.0f} kB")


def take(browser: str, page: Path, out: Path) -> None:
    """The top of the page in its light colors; the browser waits until the figures are drawn."""
    look = [
        "--headless=new",
        "--no-sandbox",
        "--hide-scrollbars",
        "--virtual-time-budget=10000",
        f"--window-size={WIDTH},{HEIGHT}",
    ]
    subprocess.run([browser, *look, f"--screenshot={out}", page.resolve().as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main()
