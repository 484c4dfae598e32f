"""Names → components, lazily.

A component is found by its *seam* (``"tower"``, ``"connector"``, ``"objective"`` …) and its *name*. The registry
holds references (``"package.module:Attribute"``), so listing names imports nothing; the component's module is
imported when it is asked for. Other packages register theirs through the entry point group
``vitrail.components``; an entry point's name is ``"<seam>.<name>"`` and its value is the component.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

ENTRY_POINT_GROUP = "vitrail.components"


@dataclass(frozen=True)
class Reference:
    """Where a component lives: ``target`` is ``"module:attribute"``, ``summary`` one line for listings."""

    seam: str
    name: str
    target: str
    summary: str = ""

    def load(self) -> Any:
        """Import the component. ImportError names the component when its module is missing."""
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ImportError(
                f"{self.seam} {self.name!r} ({self.target}) cannot be imported: {error}"
            ) from error


_BUILT_IN: dict[tuple[str, str], Reference] = {}


def register(seam: str, name: str, target: str, summary: str = "") -> None:
    """Add a component under ``seam`` and ``name``. ValueError if the name is taken by another target."""
    key = (seam, name)
    known = _all().get(key)
    if known is not None and known.target != target:
        raise ValueError(f"{seam} {name!r} is already registered as {known.target}; choose another name.")
    _BUILT_IN[key] = Reference(seam, name, target, summary)
    _all.cache_clear()


@cache
def _all() -> dict[tuple[str, str], Reference]:
    found = dict(_BUILT_IN)
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        seam, _, name = point.name.partition(".")
        if not name:
            raise ValueError(
                f"entry point {point.name!r} of group {ENTRY_POINT_GROUP!r} must be named '<seam>.<name>'."
            )
        found.setdefault((seam, name), Reference(seam, name, point.value))
    return found


def names(seam: str) -> list[str]:
    """The registered names of a seam, sorted."""
    return sorted(name for s, name in _all() if s == seam)


def seams() -> list[str]:
    """Every seam with at least one component, sorted."""
    return sorted({seam for seam, _ in _all()})


def reference(seam: str, name: str) -> Reference:
    """The reference of a component. ValueError names the nearest right name."""
    try:
        return _all()[(seam, name)]
    except KeyError:
        raise ValueError(f"no {seam} is called {name!r}; {nearest(name, names(seam))}") from None


def get(seam: str, name: str) -> Any:
    """Import and return a component. ValueError for a name that is not registered."""
    return reference(seam, name).load()


def nearest(name: str, known: list[str]) -> str:
    """The end of an error sentence: the nearest right name, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(known)}." if known else "none is registered."


def _built_in(seam: str, module: str, **components: str) -> None:
    for name, attribute_and_summary in components.items():
        attribute, _, summary = attribute_and_summary.partition(" ")
        key = name.replace("__", "-")
        _BUILT_IN[(seam, key)] = Reference(seam, key, f"vitrail.{module}:{attribute}", summary)


_built_in(
    "tower", "models.towers.efficientnet", efficientnet_lite="EfficientNetLite convolutional, fast on CPU"
)
_built_in(
    "tower", "models.towers.huggingface", huggingface="HuggingFaceTower any vision model of transformers"
)
_built_in(
    "tower",
    "models.towers.convolutional",
    convolutional="ConvolutionalTower small and convolutional, for small pictures",
)
_built_in("tower", "models.towers.s2", s2="S2Tower any tower over several sizes of a picture")
_built_in("connector", "models.connectors.mlp", mlp="MLPConnector two layers, pooled to a grid")
_built_in(
    "connector",
    "models.connectors.resampler",
    resampler="PerceiverResampler learned latents look at a picture; as many tokens whatever its size",
)
_built_in("connector", "models.connectors.ovis", ovis="OvisConnector mixtures of a visual embedding table")
_built_in(
    "surgery", "models.surgery.aligngpt", aligngpt="AlignGPT a token for how well picture and text match"
)
_built_in(
    "surgery",
    "models.surgery.ee_mllm",
    ee_mllm="EEMLLM only text asks; visual tokens are carried by the layer's own weights",
)
_built_in(
    "surgery", "models.surgery.gamma_mod", gamma_mod="GammaMod mixture of depths in chosen decoder layers"
)
_built_in(
    "surgery",
    "models.surgery.sltrain",
    low_rank="LowRank low-rank linear layers from scratch",
    sltrain="Sltrain low-rank plus sparse linear layers from scratch",
)
_built_in(
    "surgery",
    "models.surgery.tc_llava",
    tc_llava="TCLLaVA time in rotary positions, frames as blocks of the mask",
)
_built_in(
    "surgery",
    "models.surgery.latest_picture",
    latest_picture="LatestPicture text sees the latest picture alone",
)
_built_in(
    "surgery", "models.surgery.connector", connector="ReplaceConnector another connector in a ready model"
)
_built_in("surgery", "models.surgery.moca", moca="MoCa scale and shift of visual states behind each layer")
_built_in("surgery", "models.surgery.reinitialise", reinitialise="Reinitialise parts drawn anew")
_built_in("surgery", "models.surgery.s2", s2="S2 the tower sees several sizes of each picture")
_built_in("objective", "objectives.next_token", next_token="NextToken cross-entropy at labelled tokens")
_built_in(
    "objective",
    "objectives.word_alignment",
    word_alignment="WordAlignment contrast of visual tokens with word embeddings",
)
_built_in("objective", "objectives.routing", routed="Routed next token plus the routers' loss")
_built_in(
    "objective",
    "objectives.llava_kd",
    llava_kd="LlavaKD a larger teacher's distributions and visual relations",
)
_built_in("objective", "objectives.masked", masked="Masked tokens of a masked encoder, hidden at random")
_built_in("objective", "objectives.lem", lem="LEM one piece of each name, noun and verb hidden")
_built_in(
    "tagger",
    "models.experts.taggers",
    annotated="Annotated what the data says: CoNLL files, or entities in meta",
    lexicon="Lexicon words looked up in a list",
    spacy="Spacy an installed pipeline of spaCy",
    stanza="Stanza an installed pipeline of Stanza",
    token_classifier="TokenClassifier models of transformers for parts of speech and names",
)
_built_in("objective", "objectives.preference", dpo="DPO the better of two answers, against a reference")
_built_in(
    "objective", "objectives.salt", salt="Salt next token mixed with a small teacher's in the first steps"
)
_built_in(
    "schedule", "training.schedules.infinite", infinite="Infinite one warm-up, and no end until it anneals"
)
_built_in(
    "schedule",
    "training.schedules.repeated_cosine",
    repeated_cosine="RepeatedCosine a warm-up and a cosine for each cycle",
)
_built_in("mixture", "data.mixtures.rule", fixed="Fixed the same shares in every draw")
_built_in(
    "mixture", "data.mixtures.keeper", kept="Kept the shares of an earlier mixture, some sources replaced"
)
_built_in(
    "mixture", "data.mixtures.skill_it", skill_it="SkillIt shares that follow losses along a graph of skills"
)
_built_in(
    "format",
    "data.readers.formats",
    chat="HuggingFaceChat chat messages with typed content",
    record="VitrailRecord records with their kind",
)
_built_in(
    "scenario",
    "evaluation.scenarios",
    scenes="ScenesScenario questions about composed scenes",
    file="FileScenario chat records of a file",
    benchmark="BenchmarkScenario a benchmark's official files",
)
_built_in(
    "instruction",
    "evaluation.instructions",
    plain="Plain the record's own question",
    template="Template a query and an answer template",
    lettered="Lettered options listed with letters",
)
_built_in(
    "inferencer",
    "evaluation.inferencers",
    likelihood="Likelihood rank options by likelihood",
    generate="Generate answer in words",
    reference="Reference how likely the reference answer is",
)
_built_in(
    "metric",
    "evaluation.metrics",
    accuracy="Accuracy the highest-ranked option is right",
    loss="Loss nats a token of the reference answer",
    match="Match an answer in words says the right option",
)
_built_in(
    "inferencer",
    "evaluation.best_of",
    best_of="BestOf of several samples the one that preference learning rewards most",
)
_built_in(
    "metric",
    "evaluation.answer_metrics",
    numeric="Numeric an answer's final number is the reference's",
    span_f1="SpanF1 an answer's words overlap with the reference's",
)
_built_in("metric", "evaluation.hallucination", chair="Chair a description names no object that is not there")
_built_in("loop", "loops.llm2llm", llm2llm="LLM2LLM data grow where the student is still wrong")
_built_in("loop", "loops.rlaif_v", rlaif_v="RLAIFV preferences among the model's own samples, claim by claim")
_built_in(
    "writer",
    "loops.writers",
    chat_model="ChatModel a language model writes new examples",
    scenes="Scenes a program composes another scene and asks alike",
)
_built_in(
    "writer",
    "loops.rewriters",
    eda="Eda the question with words replaced, inserted, swapped or deleted",
    paraphrase="Paraphrase a language model says the question in other words",
    back_translation="BackTranslation the question translated into another language and back",
)
_built_in(
    "splitter",
    "loops.splitters",
    rules="Rules sentences and listed things, by rule",
    chat_model="ChatModel a language model rewrites answers into facts and questions",
)
_built_in(
    "labeller",
    "loops.labellers",
    model="Model a multimodal model, by its probabilities of yes and no",
    chat_model="ChatModel a multimodal model that answers yes or no in words",
    scene_truth="SceneTruth what is known about composed scenes, right as often as asked",
)

_built_in(
    "objective",
    "objectives.contrastive",
    contrastive="Contrastive contrast of pictures and texts in one space",
)
_built_in(
    "inferencer",
    "evaluation.similarity",
    similarity="Similarity rank options, or all texts, by likeness to the picture",
)
_built_in(
    "inferencer",
    "evaluation.translation",
    translation="Translation find the sentence of another language that says the same",
)
_built_in(
    "expert",
    "models.experts.clip_scorer",
    clip="ClipScorer how alike picture and text are, by any CLIP, SigLIP or ours",
)
_built_in(
    "benchmark", "evaluation.benchmarks.seed_bench", seed_bench="SeedBench twelve abilities, by ranking"
)
_built_in(
    "benchmark",
    "evaluation.benchmarks.seed_bench_2",
    seed_bench_2="SeedBench2 27 abilities in levels, several pictures, video",
)
_built_in(
    "benchmark",
    "evaluation.benchmarks.seed_bench_2_plus",
    seed_bench_2_plus="SeedBench2Plus charts, maps and web pages",
)
_built_in(
    "benchmark", "evaluation.benchmarks.mibench", mibench="MIBench thirteen tasks over several pictures"
)
_built_in("benchmark", "evaluation.benchmarks.mmr", mmr="MMR pairs of a plain and a leading question")
_built_in(
    "instruction", "evaluation.in_context", in_context="InContext answered examples before the question"
)
_built_in(
    "instruction", "evaluation.verbaliser", verbaliser="Verbaliser other words to answer with than letters"
)
_built_in(
    "inferencer",
    "evaluation.chain_of_thought",
    cot="ChainOfThought think in words, then rank options",
    cot_words="ChainOfThoughtInWords think in words, then answer in words",
)
_built_in(
    "inferencer",
    "evaluation.multi_turn",
    multi_turn="MultiTurn rank the options of one turn after the other",
)
_built_in("metric", "evaluation.multi_turn", every_turn="EveryTurn right only if every turn is")
_built_in(
    "instruction", "evaluation.membership", item_text="ItemText question, options and answer as one text"
)
_built_in(
    "inferencer",
    "evaluation.membership",
    membership="Membership every token's probability, for Min-K % and kin",
)
_built_in(
    "benchmark", "evaluation.benchmarks.wikimia", wikimia="WikiMIA which texts was this model trained on?"
)
_built_in("metric", "evaluation.needles", needle="NeedleMetric an answer names image, row and column")
_built_in("benchmark", "evaluation.benchmarks.mmneedle", mmneedle="MMNeedle a needle in stitched pictures")
_built_in(
    "inferencer", "evaluation.two_words", two_words="TwoWords a number from the logits of good and poor"
)
_built_in("metric", "evaluation.two_words", assessment="Assessment a score, to be held against people's")
_built_in(
    "benchmark",
    "evaluation.benchmarks.q_bench",
    q_bench="QBench blur, noise, light, colour",
    q_bench_assessment="QBenchAssessment scores of pictures against people's",
)
_built_in(
    "benchmark", "evaluation.benchmarks.video_mme", video_mme="VideoMME videos, with subtitles or without"
)
_built_in("metric", "evaluation.box_answers", boxes="BoxAnswers an answer gives boxes in two pictures")
_built_in("benchmark", "evaluation.benchmarks.mc_bench", mc_bench="MCBench boxes in two pictures, in groups")
_built_in(
    "benchmark",
    "evaluation.benchmarks.offline_grounding",
    offline_grounding="OfflineGrounding boxes of what a text means in two scenes",
)
_built_in("benchmark", "evaluation.benchmarks.pope", pope="Pope is this object there? yes or no")
_built_in(
    "benchmark",
    "evaluation.benchmarks.offline",
    offline_scenes="OfflineScenes scenes with exact truth",
    offline_sequences="OfflineSequences several pictures and their order",
    offline_differences="OfflineDifferences what was changed between two pictures",
    offline_leading="OfflineLeading plain and leading questions in pairs",
    offline_presence="OfflinePresence is this thing there?",
    offline_text_rich="OfflineTextRich charts, maps and pages",
    offline_needles="OfflineNeedles in which picture, row and column is this?",
    offline_quality="OfflineQuality what distorts this picture?",
    offline_assessment="OfflineAssessment scores against known distortion",
    offline_rules="OfflineRules does this scene break a rule?",
    offline_conditions="OfflineConditions does this condition of a rule hold?",
)
_built_in(
    "benchmark",
    "evaluation.benchmarks.os_bench",
    os_bench="OSBench pictures that break rules, and that nearly do",
)
_built_in(
    "inferencer", "evaluation.clue", clue="ClueInferencer does a picture break a constitution? with a trace"
)
_built_in(
    "operation",
    "curation.operations.extract",
    extract="Extract HTML into texts and pictures in their places",
)
_built_in(
    "operation",
    "curation.operations.document_rules",
    document_length="DocumentLength short documents go",
    page_rules="PageRules filler, punctuation and broken characters",
    adult_content="AdultContent documents with words for adults go",
    toxic_words="ToxicWords documents with several toxic words of their language go",
)
_built_in(
    "operation",
    "curation.operations.text_rules",
    text_rules="TextRules texts that are no prose go, the others are cleaned",
)
_built_in(
    "operation",
    "curation.operations.language",
    language="Language the language of a document, by the vote of its texts",
)
_built_in(
    "operation",
    "curation.operations.personal_data",
    personal_data="PersonalData addresses and numbers of people replaced by placeholders",
)
_built_in(
    "operation",
    "curation.operations.duplicates",
    repeated_texts="RepeatedTexts texts that came before in their document go",
    exact_duplicates="ExactDuplicates documents equal to an earlier one go",
    near_duplicates="NearDuplicates documents alike to an earlier one go, by MinHash",
)
_built_in(
    "operation",
    "curation.operations.snapshots",
    snapshot_duplicates="SnapshotDuplicates near duplicates inside snapshots of a crawl and between neighbours",
    repeated_addresses="RepeatedAddresses of equal addresses in a year the most recent page stays",
)
_built_in(
    "operation",
    "curation.operations.lecture_speech",
    lecture_rules="LectureRules videos by their length, and words of title and description",
    transcribe="Transcribe what is said in a video, with times",
    judge_transcript="JudgeTranscript videos off the subject, empty or badly heard go, by a language model",
    refine_transcript="RefineTranscript a transcript written again by a language model, its meaning kept",
    merge_segments="MergeSegments segments of a transcript joined to clips",
)
_built_in(
    "operation",
    "curation.operations.textbook",
    textbook="Textbook a video as key frames, text on the screen and speech in the order of time",
)
_built_in(
    "operation",
    "curation.operations.math_pages",
    math_markup="MathMarkup pages without a sign of formulas go, before they are parsed",
    extract_math="ExtractMath all texts of a page with formulas as LaTeX, and pictures in their places",
)
_built_in(
    "operation",
    "curation.operations.text_class",
    text_class="TextClass documents by the probability that a classifier of texts gives them",
)
_built_in(
    "operation",
    "curation.operations.fetch_images",
    fetch_images="FetchImages pictures fetched from their addresses, politely and within bounds",
)
_built_in(
    "operation",
    "curation.operations.unsafe_images",
    unsafe_images="UnsafeImages documents with an unsafe picture go, by classifier and detector",
)
_built_in(
    "operation",
    "curation.operations.faces",
    faces="Faces where faces are in pictures; blurred or filled where asked",
)
_built_in(
    "operation",
    "curation.operations.training_documents",
    single_image="SingleImage a share of the documents with one picture goes",
    most_images="MostImages a document ends before one picture too many",
)
_built_in(
    "operation",
    "curation.operations.joined_texts",
    join_texts="JoinTexts texts that follow each other made one",
)
_built_in(
    "operation",
    "curation.operations.benchmark_texts",
    benchmark_texts="BenchmarkTexts documents that hold a text of a benchmark go",
)
_built_in(
    "operation",
    "curation.operations.image_addresses",
    image_addresses="ImageAddresses pictures whose address is there too often or is furniture go",
)
_built_in(
    "operation",
    "curation.operations.images",
    image_rules="ImageRules pictures too small, too long, or of a site's furniture go",
    repeated_images="RepeatedImages pictures that are there too often go, by address and perceptual hash",
)
_built_in(
    "operation",
    "curation.operations.relevance",
    relevance="RankRelevance texts and pictures that belong together, by rank against negatives",
)
_built_in(
    "inference", "inference.vicrop", vicrop="ViCrop look again at a crop that the model's attention chose"
)
_built_in(
    "inference", "inference.gsearch", gsearch="GSearch visual tokens leave layer by layer, by a schedule"
)
_built_in("inference", "inference.rap", rap="RAP what a memory knows of picture and names enters the prompt")
_built_in(
    "objective", "objectives.ragllava", ragllava="RagLLaVA tokens that owe much to the picture count more"
)
_built_in(
    "inference",
    "inference.ragllava",
    ragllava="RagLLaVA pictures of a memory, reranked by a model, enter the prompt",
)
_built_in("metric", "evaluation.two_way", two_way="TwoWay an answer says the right one of two names")
_built_in(
    "benchmark",
    "evaluation.benchmarks.link_context",
    isekai="Isekai invented creatures and objects, by examples",
    imagenet100_pairs="ImageNet100Pairs unseen classes in pairs, by examples",
)
_built_in(
    "benchmark",
    "evaluation.benchmarks.offline_episodes",
    offline_episodes="OfflineEpisodes which of two invented names, going by examples?",
)
_built_in("surgery", "models.surgery.aim", aim="AIM demonstrations enter as states of their text, read apart")
_built_in("inference", "inference.aim", aim="AIM demonstrations are read apart, once, and enter as rows")
