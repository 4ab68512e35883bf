"""A finished run, to look at and to use."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.base.files import read_lines

if TYPE_CHECKING:
    import pandas

    from planish.models.loaded import LoadedModel


@dataclass(frozen=True)
class Run:
    """A run's folder and what can be done with it.

    >>> run = planish.sft(model="models/smollm2", data="chats.jsonl", out="runs/sft", steps=20)
    >>> run.held_out()
    {'before': {'all': 2.41, 'chats': 2.41}, 'after': {'all': 1.87, 'chats': 1.87}}
    >>> run.sample(["What is a verb?"])
    ['A word for something that is done.']
    """

    path: Path

    @property
    def config(self) -> dict[str, Any]:
        """The resolved settings, as in config.yaml."""
        import yaml

        return yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8"))

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl: one for each step, evaluation and iteration; docs/runs.md says what they hold."""
        return read_lines(self.path / "metrics.jsonl")

    def to_frame(self) -> pandas.DataFrame:
        """The metrics as a DataFrame with one row for each step: lines of the same step are joined."""
        import pandas

        joined: dict[int, dict[str, Any]] = {}
        for line in self.metrics():
            joined.setdefault(line["step"], {}).update(line)
        return pandas.DataFrame([joined[step] for step in sorted(joined)])

    def held_out(self) -> dict[str, dict[str, float]]:
        """Held-out losses by source `before` the first step and `after` the last, in nats per token or per comparison."""
        lines = [
            {key.removeprefix("held_out/"): value for key, value in line.items() if key.startswith("held_out/")}
            for line in self.metrics()
        ]
        found = [line for line in lines if line]
        return {"before": found[0], "after": found[-1]} if found else {}

    def model(self) -> LoadedModel:
        """The trained model with its tokenizer and chat template, on the best device."""
        from planish.base.distributed import local_device
        from planish.models.load import ModelConfig
        from planish.models.loaded import load_chat_model

        return load_chat_model(ModelConfig(path=str(self.path)), local_device())

    def sample(self, prompts: Any, **settings: Any) -> list[str]:
        """A completion of each prompt: texts, conversations, or a file. `settings` are those of `planish sample`."""
        from planish.api.functions import sample

        return [row["completion"] for row in sample(self, prompts, **settings)]

    def report(self, out: str | Path | None = None) -> Path:
        """Writes the page about the run; returns its path."""
        from planish.api.functions import report

        return report(self, out=out)

    def _repr_html_(self) -> str:
        losses = self.held_out()
        rows = [("folder", str(self.path)), ("steps", str(max((line["step"] for line in self.metrics()), default=0)))]
        if losses:
            before, after = (losses[when].get("all") for when in ("before", "after"))
            rows.append(("held-out loss", f"{before:.3f} → {after:.3f}" if before and after else "–"))
        rows.append(("page", f"run.report() or planish report {self.path}"))
        cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in rows)
        return f"<table>{cells}</table>"


def paths_of(runs: Sequence[Any]) -> list[str]:
    """Folders of runs that are given as `Run` or path."""
    return [str(getattr(run, "path", run)) for run in runs]
