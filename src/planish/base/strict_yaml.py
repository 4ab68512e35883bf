"""YAML in which nothing is dropped in silence: a key that occurs twice and a value that holds itself are refused, with their
line."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, cast

import yaml


def parse_yaml(text: str) -> Any:
    """The value that the text holds; a yaml.YAMLError where it holds none."""
    return yaml.load(text, Loader=_Loader)


class _Loader(yaml.SafeLoader):
    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._open: list[str] = []  # anchors of the values that are being read

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        anchor: str | None = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent) and anchor in self._open:
            problem = f"*{anchor} stands for a value that it is part of"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        if anchor is None or isinstance(event, yaml.AliasEvent):
            return super().compose_node(parent, index)
        self._open.append(anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The mapping as it is written: a merge key (<<), which is read later, may repeat a key on purpose."""
        node = super().compose_mapping_node(anchor)
        first: dict[Hashable, yaml.Node] = {}
        for key, _ in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else key
            if name in first:
                line = first[name].start_mark.line + 1
                problem = f"'{key.value}' is written twice in one mapping, first in line {line}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            first[name] = key
        return node
