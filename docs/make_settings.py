"""Writes docs/settings.md and src/planish/settings.json from the configs: `python docs/make_settings.py`; a test compares."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from planish.base.settings import Setting, settings_of
from planish.commands import COMMANDS

ROOT = Path(__file__).parents[1]
PAGE, DATA = ROOT / "docs" / "settings.md", ROOT / "src" / "planish" / "settings.json"

HEAD = """# Settings

Every setting of every command. A recipe is a YAML file with these names; `key=value` on the command line changes one
(`optim.lr=1e-4`). `planish settings COMMAND WORD` searches them in the terminal. A component that may be absent, such as
`model.lora`, is set to `true` to get its defaults. A key with `*` takes a name of your choice. An unknown name stops the run
before anything is loaded. Made by `python docs/make_settings.py`.
"""

LIKE_SFT = ("pretrain", "reward", "dpo")  # told by how they differ
NEW = "A new model has an architecture in place of `model.path`."
WORLD = "These are the values of `size=base`; `size=ci` and `size=large` change them (src/planish/world/settings.py)."
# Components with the settings of one that a section before them lists: theirs are not repeated.
LIKE_MODEL = dict.fromkeys(("model", "reward", "models.*"), "model")
LIKE_DATA = dict.fromkeys(("data", "pretraining", "documents"), "data")


def settings_by_command() -> dict[str, list[Setting]]:
    return {name: settings_of(command.load_config_class()) for name, command in COMMANDS.items() if command.config}


def data() -> str:
    """The JSON file: a row a line, so that two changes to it can be merged."""

    def row(setting: Setting) -> str:
        return json.dumps([setting.key, setting.default, setting.meaning, setting.of], ensure_ascii=False)

    every = settings_by_command()
    commands = [f'"{name}": [\n' + ",\n".join(map(row, settings)) + "\n]" for name, settings in every.items()]
    return "{\n" + ",\n".join(commands) + "\n}\n"


def page() -> str:
    every = settings_by_command()
    known = lines(every["sft"])
    sections = ["## `planish sft`", table(known)]
    for name, settings in every.items():
        if name == "sft":
            continue
        rows = lines(settings, {} if name in LIKE_SFT else LIKE_DATA if name == "ppo" else LIKE_MODEL | LIKE_DATA)
        notes = {"pretrain": NEW, "world make": WORLD}.get(name, "")
        if name in LIKE_SFT:
            own = {setting.key.split(".")[0] for setting in settings}
            lacking = [key for key in dict.fromkeys(s.key.split(".")[0] for s in every["sft"]) if key not in own]
            notes = f"All of `planish sft` but {', '.join(f'`{key}`' for key in lacking)}, and these. {notes}".strip()
            rows = [row for row in rows if row not in known]
        sections += [f"## `planish {name}`", *([notes] if notes else []), table(rows)]
    return HEAD + "\n" + "\n\n".join(sections) + "\n"


def table(rows: list[str]) -> str:
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def lines(settings: Iterable[Setting], like: Mapping[str, str] | None = None) -> list[str]:
    """A row of the table for each setting; of components that are `like` another, the path alone."""
    found: dict[str, None] = {}
    for setting in settings:
        above = next((name for name in like or () if setting.key.startswith(f"{name}.")), None)
        if above is not None and not setting.key.endswith("path"):
            found[f"| `{above}.…` | | as `{(like or {})[above]}` of `planish sft` |"] = None
            continue
        key = f"`{setting.key}`" + (f" of `{setting.of}`" if setting.of else "")
        default = setting.default if setting.default in ("needed", "absent") else f"`{setting.default}`"
        found[f"| {key} | {default} | {setting.meaning} |"] = None
    return list(found)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    DATA.write_text(data(), encoding="utf-8")
