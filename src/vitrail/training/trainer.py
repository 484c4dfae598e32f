"""Run a stage: from a model, data and an objective to trained weights in a folder that survives being killed.

::

    stage.json           what the stage is; another one is refused in this folder
    plan.json            how many steps, fixed before the first
    metrics.jsonl        a row for each optimiser step
    checkpoint-<step>/   while it runs
    final.safetensors    what was trained (objective.safetensors beside it, where the objective has
    parameters) done.json            the result; a finished stage is not run again
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from vitrail.objectives.objective import Objective
from vitrail.storage import atomic
from vitrail.training import checkpoints, planning, processes, trunks
from vitrail.training.activations import checkpoint_activations
from vitrail.training.beginning import begin
from vitrail.training.companions import Companion
from vitrail.training.division import Division
from vitrail.training.joint import Joint
from vitrail.training.loop import NonFiniteLoss, StageTrainer
from vitrail.training.memory import keep_freed_memory
from vitrail.training.mixed import example_of
from vitrail.training.mixed_steps import mixing_of
from vitrail.training.optimiser import check_optimizer
from vitrail.training.packed_batches import refuse_unpackable
from vitrail.training.packing import Fill, check
from vitrail.training.planning import StagePlan
from vitrail.training.precision import Precision, choose
from vitrail.training.progress import Progress, QuietProgress, StageStart
from vitrail.training.sampling import lengths_of
from vitrail.training.selection import Selection, select_parameters
from vitrail.training.sharding import Sharded
from vitrail.training.stages import StageConfig

__all__ = ["NonFiniteLoss", "StageResult", "train_stage"]


@dataclass(frozen=True)
class StageResult:
    """What a stage did. ``loss``: the last step's; ``seconds``: spent in steps, over all starts. ``places``: tokens and
    padding.

    ``resumed_from``: the step this start went on from (0: from the beginning); ``already_done``: nothing was
    run.
    """

    folder: Path
    plan: StagePlan
    steps: int
    loss: float
    terms: dict[str, float]
    samples: int
    tokens: int
    seconds: float
    places: int = 0
    resumed_from: int = 0
    already_done: bool = False


def train_stage(
    model: nn.Module,
    dataset: Sequence[Any],
    collator: Callable[[Sequence[Any]], dict[str, Any]],
    objective: Objective,
    config: StageConfig,
    folder: Path | str,
    *,
    progress: Progress | None = None,
    seed: int = 0,
    parts: Mapping[str, nn.Module] | None = None,
    fingerprint: str | None = None,
    device: str = "auto",
    trunk: Path | None = None,
    keeps_state: bool = False,
    companions: Sequence[Companion] = (),
) -> StageResult:
    """Train ``model`` in place, or go on where a killed process left off.

    ``dataset``: encoded records by number, the same record for the same number always (``length`` and ``id``
    are read; ``lengths`` of the whole, where it has them). ``collator``: a list of them → a batch. ``parts``:
    the anatomy (default: the model's). ``seed``: for order and dropout, unless the config has its own.
    ``fingerprint``: of the data; a folder begun with other data is refused. ``device``: ``"auto"`` or
    ``"cpu"``. ``trunk``: the folder of the stage that the config ``continues``, finished and with ``keeps_state``,
    which leaves what that takes. ``companions`` go along (:mod:`vitrail.training.companions`).

    ValueError for settings that cannot work; :class:`~vitrail.training.loop.NonFiniteLoss` where training
    diverges.
    """
    processes.refuse_sharding()
    folder, progress = Path(folder), progress if progress is not None else QuietProgress()
    seed = config.seed if config.seed is not None else seed
    selection = select_parameters(model, config.trains, parts)
    joint = Joint(model, objective, lambda: example_of(collator))
    if config.packing is not None:
        refuse_unpackable(model, objective)
    first = _arguments(config, folder, seed, device, bfloat16=False)
    check_optimizer(config, first.device.type, first.world_size)
    if first.world_size > 1:
        processes.leave_in_order()
    with first.main_process_first(desc="stage"):
        begin(folder, config, seed, len(dataset), fingerprint)
    if (folder / "done.json").exists():
        if first.process_index == 0:
            _clear(folder)  # killed between writing the result and this
        return _finished(folder, joint, selection)
    if first.device.type == "cpu":
        keep_freed_memory()
    plan = StagePlan.read(folder / "plan.json")
    precision = _precision(plan, config, model, first)
    _prepare(model, selection, config)
    if trunk is not None:
        trunks.put_back(trunk, joint, selection)
    frozen = planning.frozen_fingerprint(model, selection.parameters)
    sharded = _shard(joint, config, first)
    lengths = lengths_of(dataset) if config.length_batches else None
    division = _division(config, plan, first.world_size, objective)
    if config.packing is not None and lengths is not None:
        check(lengths, config.packing, division.size)
    trainer = StageTrainer(
        joint,
        _arguments(config, folder, seed, device, bfloat16=precision.name == "bfloat16", division=division),
        dataset=dataset,
        collator=collator,
        lengths=lengths,
        config=config,
        seed=seed,
        division=division,
        selection=selection,
        folder=folder,
        progress=progress if first.process_index == 0 else QuietProgress(),
    )
    trainer.trunk, trainer.companions, trainer.sharded = trunk, companions, sharded
    plan = _plan(trainer, plan, precision, selection, frozen)
    return _run(trainer, plan, progress, keeps_state)


def _division(config: StageConfig, plan: StagePlan | None, world: int, objective: Objective) -> Division:
    """How this many processes share the steps of the stage, which may have been begun with others."""
    return Division.among(
        world,
        batch_size=config.batch_size,
        accumulation=config.accumulation,
        begun=world if plan is None else plan.processes,
        decomposes=objective.decomposes,
    )


def _shard(joint: Joint, config: StageConfig, arguments: transformers.TrainingArguments) -> Sharded | None:
    """Share out the weights, where the stage asks for it and there are several processes."""
    if config.sharding == "none" or arguments.world_size == 1:
        return None
    if not all(parameter.is_floating_point() for parameter in joint.parameters()):
        raise ValueError(
            "sharding: quantised weights are not shared out; use sharding: none, or no quantization"
        )
    return Sharded(joint, joint.model, arguments.device.type)


def _arguments(
    config: StageConfig,
    folder: Path,
    seed: int,
    device: str,
    *,
    bfloat16: bool,
    division: Division | None = None,
) -> transformers.TrainingArguments:
    if device not in ("auto", "cpu"):
        raise ValueError(
            f"device is {device!r}; give 'auto' or 'cpu' (CUDA_VISIBLE_DEVICES chooses among GPUs)"
        )
    use_cpu = processes.on_cpu(device)
    return transformers.TrainingArguments(
        output_dir=str(folder),
        run_name=config.name,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation if division is None else division.micro_batches,
        max_steps=1,  # the plan's, once it is made
        learning_rate=max(config.rate_of(name) for name in config.trains),
        weight_decay=config.weight_decay,
        adam_beta1=config.betas[0],
        adam_beta2=config.betas[1],
        adam_epsilon=config.epsilon,
        max_grad_norm=config.max_grad_norm or 0.0,
        optim=config.optimizer,
        bf16=bfloat16,
        use_cpu=use_cpu,
        ddp_backend="gloo" if use_cpu and processes.count() > 1 else None,
        ddp_timeout=processes.PATIENCE,
        seed=seed,
        dataloader_num_workers=config.workers,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=list(config.report_to) or "none",
        remove_unused_columns=False,
        disable_tqdm=True,
    )


def _precision(
    plan: StagePlan | None, config: StageConfig, model: nn.Module, arguments: transformers.TrainingArguments
) -> Precision:
    if plan is not None:
        return Precision(plan.precision, plan.precision_reason)  # type: ignore[arg-type]
    chosen = choose(config.precision, model, arguments.device)
    if arguments.world_size > 1:
        from accelerate.utils import broadcast_object_list

        chosen = broadcast_object_list([chosen])[0]
    return chosen


def _prepare(model: nn.Module, selection: Selection, config: StageConfig) -> None:
    """Trained weights in float32 (small updates vanish in bfloat16), and gradient checkpointing as asked
    for."""
    for name, parameter in model.named_parameters():
        if (
            name in selection.parameters
            and parameter.dtype != torch.float32
            and parameter.is_floating_point()
        ):
            parameter.data = parameter.data.float()
    checkpoint_activations(model, config.gradient_checkpointing)


def _plan(
    trainer: StageTrainer, known: StagePlan | None, precision: Precision, selection: Selection, frozen: str
) -> StagePlan:
    """The plan that was written, or a new one, written before the first step."""
    config, world = trainer.config, trainer.args.world_size
    if known is not None:
        _check_resumed(trainer, known, frozen)
        trainer.args.max_steps = known.steps
        return known
    started, step = time.monotonic(), None
    if config.max_minutes is not None:
        trainer.progress.note(
            f"{config.name}: measuring a few steps to see how many fit into {config.max_minutes:g} min"
        )
        step = trainer.agreed(trainer.step_time())
        if step.busy:
            trainer.progress.note(step.note(config.name))
    seconds = None if step is None else step.best
    records, lengths, seed = len(trainer.records), trainer.lengths, trainer.data_seed
    mixing = mixing_of(trainer.records.records)
    epoch = records if mixing is None else mixing.records_an_epoch
    filling = planning.filling(config, records, lengths, world, seed)
    rows = planning.rows_wanted(config, lengths, seed)
    steps, by = trainer.agreed(
        planning.choose_steps(config, epoch, world, seconds, trainer.agreed(time.monotonic() - started), rows)
    )
    own = sum(p.numel() for p in trainer.joint.objective.parameters())
    plan = StagePlan(
        steps=steps,
        by=by,
        records=records,
        epochs=round(steps * filling["records_a_step"] / epoch, 4),
        seconds_a_step=None if seconds is None else round(seconds, 4),
        expected_seconds=None if seconds is None else round(seconds * steps, 1),
        precision=precision.name,
        precision_reason=precision.reason,
        device=trainer.args.device.type,
        threads=torch.get_num_threads(),
        processes=world,
        trained_parameters=selection.trained + own,
        parameters=selection.total + own,
        frozen_weights=frozen,
        busy=step is not None and step.busy,
        usual_seconds_a_step=None if step is None else round(step.usual, 4),
        **filling,
    )
    if trainer.is_world_process_zero():
        plan.write(trainer.folder / "plan.json")
    trainer.args.max_steps = steps
    return plan


def _check_resumed(trainer: StageTrainer, plan: StagePlan, frozen: str) -> None:
    if plan.frozen_weights != frozen:
        raise ValueError(
            f"{trainer.folder} was begun on a model with other frozen weights; go on with that model, "
            "choose another folder, or remove this one to start again"
        )
    for name, there, here in (
        ("processes", plan.processes, trainer.args.world_size),
        ("threads", plan.threads, torch.get_num_threads()),
        ("device", plan.device, trainer.args.device.type),
    ):
        if there != here:
            trainer.progress.note(
                f"begun with {name} {there}, now {here}: last digits of the losses may differ"
            )


def _run(
    trainer: StageTrainer, plan: StagePlan, progress: Progress, keeps_state: bool = False
) -> StageResult:
    checkpoint, notes = checkpoints.newest(trainer.folder)
    trainer.begin(checkpoint)
    done = trainer.counters.step
    trainer.progress.start(
        StageStart(
            name=trainer.config.name,
            steps=plan.steps,
            done=done,
            trained_parameters=plan.trained_parameters,
            parameters=plan.parameters,
            precision=plan.precision,
            device=plan.device,
        )
    )
    for note in [*notes, *_notes(trainer, plan)]:
        trainer.progress.note(note)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        trainer.progress.end(trainer.config.name)
        trainer.log_file.close()
        for companion in trainer.companions:
            companion.close()
    if keeps_state:
        trunks.keep(trainer)
    if trainer.sharded is not None:
        trainer.sharded.gather()
    return _finish(trainer, plan, done)


def _notes(trainer: StageTrainer, plan: StagePlan) -> list[str]:
    found = [] if trainer.config.packing is None else [_packed_note(trainer, plan)]
    if trainer.config.sharding == "full" and trainer.sharded is None:
        found.append("sharding: there is one process, which holds all weights; torchrun starts several")
    if not trainer.joint.objective.decomposes and trainer.config.accumulation > 1:
        found.append(
            f"the objective does not decompose: with accumulation={trainer.config.accumulation} its loss is "
            "the mean over micro-batches, not that of one large batch"
        )
    return found


def _packed_note(trainer: StageTrainer, plan: StagePlan) -> str:
    """How full rows are."""
    packing, rows = trainer.config.packing, plan.rows
    assert packing is not None and rows is not None and plan.fill is not None
    places = rows * packing.length
    fill = Fill(rows, plan.records, round(plan.fill * places), places, tuple(plan.fill_histogram))
    return fill.sentence(packing.length)


def _finish(trainer: StageTrainer, plan: StagePlan, resumed_from: int) -> StageResult:
    folder, joint, counters = trainer.folder, trainer.joint, trainer.counters
    trainer.model_wrapped = joint
    joint.eval()
    for parameter in joint.parameters():
        parameter.grad = None
    result: dict[str, Any] = {}
    if trainer.is_world_process_zero():
        checkpoints.save_tensors(
            folder / "final.safetensors", checkpoints.trained_state(joint.model, trainer.selection)
        )
        if state := checkpoints.objective_state(joint.objective):
            checkpoints.save_tensors(folder / "objective.safetensors", state)
        last = trainer.log_file.read()[-1]
        result = {**asdict(counters), "loss": last["loss"], "terms": last["terms"]}
        atomic.write_json(folder / "done.json", result)
        _clear(folder)
    result = trainer.agreed(result)
    steps = result.pop("step")
    return StageResult(folder=folder, plan=plan, steps=steps, resumed_from=resumed_from, **result)


def _clear(folder: Path) -> None:
    """A finished stage needs no checkpoints."""
    for path in checkpoints.existing(folder):
        checkpoints.remove(path)


def _finished(folder: Path, joint: Joint, selection: Selection) -> StageResult:
    """Put the trained weights of a finished stage into the model."""
    plan = StagePlan.read(folder / "plan.json")
    if plan is None:
        raise ValueError(f"{folder} has done.json but no plan.json; remove the folder to start again")
    if plan.frozen_weights != planning.frozen_fingerprint(joint.model, selection.parameters):
        raise ValueError(f"{folder} was trained on a model with other frozen weights; choose another folder")
    for name, parameter in joint.model.named_parameters():
        if name in selection.parameters and parameter.is_floating_point():
            parameter.data = parameter.data.float()
    checkpoints.load_trained(folder / "final.safetensors", joint.model, selection)
    checkpoints.load_objective(folder / "objective.safetensors", joint.objective)
    joint.eval()
    result = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    steps = result.pop("step")
    return StageResult(folder=folder, plan=plan, steps=steps, already_done=True, **result)
