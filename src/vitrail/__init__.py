"""vitrail: does this method help my multimodal model on my data at my budget?"""

__version__ = "0.1.0"
