"""Layout, anatomy, towers, connectors, the VLM, testbeds.

Importing this registers vitrail's model with transformers' Auto classes.
"""

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from vitrail.models.configuration import VitrailConfig
from vitrail.models.processing import VitrailProcessor
from vitrail.models.vlm import VitrailForConditionalGeneration

AutoConfig.register("vitrail", VitrailConfig, exist_ok=True)
AutoModelForImageTextToText.register(VitrailConfig, VitrailForConditionalGeneration, exist_ok=True)
AutoProcessor.register(VitrailConfig, VitrailProcessor, exist_ok=True)

__all__ = ["VitrailConfig", "VitrailForConditionalGeneration", "VitrailProcessor"]
