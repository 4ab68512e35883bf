"""Adds to a wheel what lies outside src/: the recipes with their data, and the page of settings."""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
README = (HERE / "README.md").read_text(encoding="utf-8")


class BuildPyWithRecipes(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # in a clone they are where they always are
            package = Path(self.build_lib) / "planish"
            shutil.rmtree(package / "recipes", ignore_errors=True)
            shutil.copytree(HERE / "recipes", package / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(HERE / "docs" / "settings.md", package)


def for_an_index(text: str) -> str:
    """The README without pictures, and with links into the repository as plain text: on an index page they lead nowhere."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)\n*", "", text)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text)


setup(
    cmdclass={"build_py": BuildPyWithRecipes},
    long_description=for_an_index(README),
    long_description_content_type="text/markdown",
)
