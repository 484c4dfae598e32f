"""The sub-commands: their names, where their code is, and one line about each."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Command:
    """One sub-command. ``module`` holds ``arguments(parser)`` and ``run(args) -> int``.

    A command with ``children`` (``recipe list``) has code of its own only where it has a ``module`` too: then a first
    word that is a child's name means the child. ``together``: torchrun may start it in several processes.
    """

    about: str
    module: str = ""
    children: dict[str, Command] = field(default_factory=dict)
    together: bool = False

    def load(self) -> tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]:
        """Import the module and return its two functions."""
        module = importlib.import_module(f"vitrail.cli.{self.module}")
        return module.arguments, module.run


COMMANDS: dict[str, Command] = {
    "quickstart": Command(
        "train, measure and show a small real model, from nothing", "quickstart", together=True
    ),
    "train": Command("train a recipe, or on your own file of conversations", "train", together=True),
    "prepare": Command("tokens and features of a recipe's data, made ready for training", "prepare"),
    "loop": Command("train, look, make data, and train again: a recipe with a loop", "loop"),
    "eval": Command(
        "evaluate a trained model: on its own questions, a file, or a benchmark's official files (eval list)",
        "evaluate",
        children={
            "list": Command(
                "benchmarks by the abilities they test, and what a choice leaves untested", "eval_list"
            ),
            "audit": Command(
                "is a benchmark about its pictures, is it leaked, does it favour a place?", "eval_audit"
            ),
            "export": Command("a benchmark or answers, as lmms-eval and VLMEvalKit read them", "eval_export"),
            "import": Command("another tool's predictions on a benchmark, scored here", "eval_import"),
            "score": Command("score a file of answers again, without asking", "eval_score"),
            "compare": Command(
                "two files of results row by row: ours, lmms-eval's samples, VLMEvalKit's predictions",
                "eval_compare",
            ),
            "report": Command(
                "one HTML page of results: abilities beside baselines and other models, calibration, mistakes",
                "eval_report",
            ),
        },
    ),
    "judge": Command(
        "which pictures break which rules of a constitution, and why",
        "judge",
        children={
            "prepare": Command(
                "a language model makes rules objective and takes them apart", "judge_prepare"
            ),
        },
    ),
    "leaderboard": Command(
        "all results below a folder: models by benchmarks, intervals, ties", "leaderboard"
    ),
    "chat": Command("talk to a model, with pictures", "chat"),
    "serve": Command("an OpenAI-compatible endpoint for a model, on this machine", "serve"),
    "export": Command(
        "write a model for other runtimes: transformers and vLLM, adapters folded in, ONNX", "export"
    ),
    "compare": Command(
        "does a method help my model on my data at my budget? Or: two runs side by side", "compare"
    ),
    "study": Command("put a paper's claim to the test, under a rule fixed before the run", "study"),
    "papers": Command("the catalogue of methods: list, search, explain", "papers"),
    "atlas": Command(
        "the catalogue and its evidence as a site that opens from disk",
        children={"build": Command("write the site into a folder", "atlas")},
    ),
    "plan": Command("memory, time and parameters of a recipe, before anything runs", "plan"),
    "show": Command("the anatomy and parameters of a model or a run", "show"),
    "report": Command("write a run's HTML report again, from its files", "report"),
    "forgetting": Command("what a run over several datasets kept of the earlier ones", "forgetting"),
    "data": Command(
        "look at, check and count files of records",
        children={
            "look": Command("an HTML contact sheet of a file or a recipe's data", "data_look"),
            "check": Command("read every record and picture; name what is wrong", "data_check"),
            "stats": Command("counts and sizes", "data_stats"),
            "convert": Command("write a file in another format or container", "data_convert"),
            "run": Command("curate: web pages and records through a pipeline of operations", "data_run"),
            "explain": Command("what every operation of a pipeline does to one document", "data_explain"),
            "report": Command("what a pipeline kept and dropped, by reason, with samples", "data_report"),
            "classifier": Command("learn which texts to keep, for a pipeline", "data_classifier"),
            "mine": Command("find translations among the texts of two languages", "data_mine"),
            "challenging": Command("choose what an early model finds hard but learnable", "data_challenging"),
            "skills": Command("which source of a mixture helps which, by short runs", "data_skills"),
        },
    ),
    "weights": Command(
        "differences of checkpoints: measured, kept, and added to others",
        children={
            "add": Command("add the difference of two checkpoints to a third", "weights_add"),
            "diff": Command("how far two checkpoints lie apart; write their difference", "weights_diff"),
        },
    ),
    "memory": Command(
        "what a model should know of you: things with names and pictures, looked up when it answers",
        children={
            "add": Command("remember something, with a picture and a line", "memory_add"),
            "list": Command("what is remembered", "memory_list"),
            "forget": Command("remove something, and every byte of it", "memory_forget"),
            "ask": Command("what comes to mind at a picture or question, and a model's answer", "memory_ask"),
        },
    ),
    "recipe": Command(
        "list, show and check recipes",
        children={
            "list": Command("the recipes that are shipped", "recipe_list"),
            "show": Command("a recipe with every default filled in, as YAML", "recipe_show"),
            "schema": Command("the JSON schema of recipe files, for editors", "recipe_schema"),
            "continual": Command("a recipe whose datasets come one after the other", "recipe_continual"),
        },
    ),
    "completion": Command("a completion script for bash, zsh or tcsh", "completion"),
    "version": Command("the version, and those of the libraries that matter", "version"),
}
