"""What other programs may build on."""

import subprocess
import sys
from pathlib import Path

import pytest

import aurora_release
from aurora_release import api


def test_every_name_that_is_promised_says_what_it_is() -> None:
    for name in api.__all__:
        assert getattr(api, name).__doc__, name
    assert api.__all__ == sorted(api.__all__)
    assert aurora_release.__all__ == ["__version__"]


def test_import_loads_no_framework() -> None:
    script = (
        "import sys, aurora_release.api\n"
        "heavy = {'torch', 'transformers', 'fastapi', 'gradio', 'datasets', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_program_reads_a_recipe_and_is_told_what_is_no_release(tmp_path: Path) -> None:
    recipe, beside = api.load("demo", ("seed=7",))
    assert (recipe.name, recipe.seed) == ("demo", 7)
    assert beside == api.shipped("train/recipes")
    with pytest.raises(api.AuroraError, match="is not a release"):
        api.verify(api.release(str(tmp_path)))


def test_a_type_checker_sees_the_types() -> None:
    assert (Path(aurora_release.__file__).parent / "py.typed").is_file()
