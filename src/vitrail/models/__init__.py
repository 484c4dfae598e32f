"""Layout, anatomy, towers, connectors, the VLM, testbeds.

Importing this registers vitrail's models with transformers' Auto classes.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
)

from vitrail.models.configuration import VitrailConfig
from vitrail.models.dual_configuration import VitrailDualEncoderConfig
from vitrail.models.dual_encoder import VitrailDualEncoder, VitrailDualEncoderProcessor
from vitrail.models.processing import VitrailProcessor
from vitrail.models.vlm import VitrailForConditionalGeneration

AutoConfig.register("vitrail", VitrailConfig, exist_ok=True)
AutoModelForImageTextToText.register(VitrailConfig, VitrailForConditionalGeneration, exist_ok=True)
AutoProcessor.register(VitrailConfig, VitrailProcessor, exist_ok=True)

AutoConfig.register("vitrail_dual_encoder", VitrailDualEncoderConfig, exist_ok=True)
AutoModel.register(VitrailDualEncoderConfig, VitrailDualEncoder, exist_ok=True)
AutoModelForZeroShotImageClassification.register(VitrailDualEncoderConfig, VitrailDualEncoder, exist_ok=True)
AutoProcessor.register(VitrailDualEncoderConfig, VitrailDualEncoderProcessor, exist_ok=True)

__all__ = [
    "VitrailConfig",
    "VitrailDualEncoder",
    "VitrailDualEncoderConfig",
    "VitrailDualEncoderProcessor",
    "VitrailForConditionalGeneration",
    "VitrailProcessor",
]
