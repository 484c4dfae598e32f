"""Questions and answers in other tools' forms; :mod:`vitrail.evaluation.predictions` reads theirs."""
