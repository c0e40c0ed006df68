"""YAML as it was typed: every scalar stays text, since a password 0123 or `yes` is no number.

What only its own program can read (a vault's cipher, any other tag) is left out rather than guessed
at, so a value that is there is the value that was meant.
"""

from typing import Any, Final

import yaml

MOST_CHARACTERS: Final = 256 * 1024  # PyYAML takes a second or two for as much
_MOST_NODES: Final = 100_000  # what a document may be once every alias stands for all it repeats

_CORE: Final = "tag:yaml.org,2002:"
_KEPT: Final = {_CORE + "null", _CORE + "merge"}
_TEXTS: Final = (*(_CORE + name for name in ("str", "bool", "int", "float")), "!unsafe")


def parsed(text: str) -> Any:
    """Return the document, in which every value is a text, None, a mapping or a list.

    Raises:
        ValueError: it is not one document of valid YAML; PyYAML's words would quote it.
    """
    try:
        return yaml.load(text, Loader=_AsTyped)  # noqa: S506 - a SafeLoader that knows less
    except (yaml.YAMLError, RecursionError):
        raise ValueError("not one document of valid YAML") from None


class _AsTyped(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in rows if tag in _KEPT]
        for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._size = 0
        self._sizes = dict[int, int]()

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Count what comes, so that a few lines of aliases of aliases do not become millions."""
        is_alias = self.check_event(yaml.AliasEvent)
        before = self._size
        node = super().compose_node(parent, index)
        if not is_alias:
            self._size += 1
            self._sizes[id(node)] = self._size - before
        elif id(node) in self._sizes:
            self._size += self._sizes[id(node)]
        else:
            raise yaml.YAMLError("an alias stands within what it repeats")
        if self._size > _MOST_NODES:
            raise yaml.YAMLError("too large")
        return node


def _text(loader: yaml.SafeLoader, node: yaml.Node) -> str | None:
    return str(loader.construct_scalar(node)) if isinstance(node, yaml.ScalarNode) else None


def _left_out(_loader: yaml.SafeLoader, _node: yaml.Node) -> None:
    return None


_AsTyped.yaml_constructors = {
    None: _left_out,
    **dict.fromkeys(_TEXTS, _text),
    **{
        _CORE + name: yaml.SafeLoader.yaml_constructors[_CORE + name]
        for name in ("map", "seq", "null")
    },
}
