"""What a recipe may say: one YAML that decides the whole result."""

from aurora_release.recipe.data import Clean, Data, Executor, Source, nameless
from aurora_release.recipe.part import Part
from aurora_release.recipe.portable import portable
from aurora_release.recipe.provider import Provider
from aurora_release.recipe.quantize import Compressed, Gguf, Gptq, Int8, Nf4, Quantization
from aurora_release.recipe.read import load
from aurora_release.recipe.train import Keep, Lora, Preference, Train, TrainStage, Watch
from aurora_release.recipe.whole import Evaluate, Gates, Model, Recipe

__all__ = [
    "Clean", "Compressed", "Data", "Evaluate", "Executor", "Gates", "Gguf", "Gptq", "Int8", "Keep",
    "Lora", "Model", "Nf4", "Part", "Preference", "Provider", "Quantization", "Recipe", "Source",
    "Train", "TrainStage", "Watch", "load", "nameless", "portable",
]  # fmt: skip
