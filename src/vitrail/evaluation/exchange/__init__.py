"""Questions and answers in the forms of lmms-eval and VLMEvalKit; :mod:`vitrail.evaluation.predictions` reads theirs."""
