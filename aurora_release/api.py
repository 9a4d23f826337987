"""What other programs may build on; every other module may change in any version.

```python
from aurora_release import api

folder = api.release("org/name")  # or a folder of yours
assert api.verify(folder).passed
guard = api.Guard.load(api.shipped("serve/policies/default.yaml"))
print(guard.judge("Miten keitän kananmunan?", "input").action)
```
"""

from aurora_release.card.verify import Check, Report, verify
from aurora_release.chain import run
from aurora_release.download import model, release
from aurora_release.errors import AuroraError, Interrupted
from aurora_release.evidence import measured, read
from aurora_release.publish.diff import diff
from aurora_release.recipe import Recipe, load
from aurora_release.safety.guard import Guard, Verdict
from aurora_release.shipped import shipped

__all__ = [
    "AuroraError", "Check", "Guard", "Interrupted", "Recipe", "Report", "Verdict", "diff", "load",
    "measured", "model", "read", "release", "run", "shipped", "verify",
]  # fmt: skip
