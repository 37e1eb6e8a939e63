"""``-o yaml``: the JSON contract in YAML, ASCII only, without tags, anchors or aliases."""

from typing import Any

import yaml
from probemesh_shared.jsonout import plain


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def render(value: Any) -> str:
    return yaml.dump(plain(value), Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=110)
