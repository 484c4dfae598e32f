"""Questions and answers in the forms of lmms-eval and VLMEvalKit. Reading theirs: :mod:`vitrail.evaluation.predictions`."""
