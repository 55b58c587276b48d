"""One study: trials until the budget is spent, by one process or many, taken up again after a kill.

A trial belongs to the worker that began it, and a worker holds a lock for as long as it lives. So a trial
that is running while its worker's lock is free is dead: it is closed as failed, and its settings are tried
again in its place. What a trial proposes depends on the seed, on the trials before it and on how many have
been drawn, not on the process: a study of one worker that was killed goes on as it would have gone. With
several workers the order in which trials end decides, too, and no two such studies are the same.
"""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from toolkit.errors import ConfigError, DataError, UserError, raise_interruption
from toolkit.runfolder import alone, held
from toolkit.training.fitting import BUGS
from toolkit.tuning.objective import Objective
from toolkit.tuning.settings import Optuna
from toolkit.tuning.space import grid, placed, suggest
from toolkit.tuning.storage import get_heartbeat, open_storage

Progress = Callable[[str, float], None]
WORKER, AGAIN, WHY = "worker", "again", "why"
DIED = "its process died"
MOST_FAILED = 10
FEW = 10  # finished trials, below which no importance is told


@dataclass(frozen=True)
class Studied:
    """A finished study. best: the settings that won; trials: every trial, in order, as plain data."""

    metric: str
    best: dict[str, Any]
    value: float
    trials: list[dict[str, Any]]
    importance: dict[str, float]


class Pruned(Exception):  # noqa: N818  not an error: the trial is given up
    """The running metric is behind those of earlier trials."""


def study(
    name: str, settings: Optuna, model: Any, objective: Objective, folder: Path, progress: Progress
) -> Studied:
    """Run (or go on with) the study in `folder`, to the end of its budget.

    name: the model's, for messages; model: its configuration with the `search` space. Raises DataError if
    no trial came to an end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):  # a second run that wants the same study waits, and finds it done
        if settings.workers == 1:
            work(name, settings, model, objective, folder, progress)
        else:
            _side_by_side(name, settings, model, objective, folder, progress)
        return _read(name, objective.name, settings, _opened(settings, folder))


def _side_by_side(
    name: str, settings: Optuna, model: Any, objective: Objective, folder: Path, progress: Progress
) -> None:
    """Several workers. One that is killed takes the others with it; they begin again, unless nothing moves."""
    from concurrent.futures.process import BrokenProcessPool

    from joblib import Parallel, delayed

    one = delayed(work)(name, settings, model, objective, folder, None)
    before = -1
    while True:
        try:
            done = Parallel(n_jobs=settings.workers, return_as="generator_unordered")(
                [one] * settings.workers
            )
            for number, _ in enumerate(done):
                progress(f"tuning {name}: {number + 1} of {settings.workers} workers are done", 0.0)
            return
        except BrokenProcessPool as error:
            finished = len(_finished(_opened(settings, folder)))
            if finished == before:
                raise DataError(
                    f"the processes that tune `{name}` were killed, again and again",
                    where="tuning.workers",
                    why=str(error).splitlines()[0],
                    fix="fewer workers; each holds the data in memory",
                ) from None
            before = finished


def work(
    name: str, settings: Optuna, model: Any, objective: Objective, folder: Path, progress: Progress | None
) -> None:
    """One worker: trial after trial until the budget is spent."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    worker = folder / f"worker-{uuid4().hex}"
    worker.mkdir()
    try:
        with held(worker), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings(
                "ignore", message="Heartbeat of storage"
            )  # `optimize` is not all that beats
            found = _opened(settings, folder)
            if settings.sampler == "grid":
                _lay_out(found, model, folder, objective.seed)
            while (trial := _next(found, settings, folder, worker.name, objective.seed)) is not None:
                if progress:
                    share = trial.number / settings.trials if settings.trials else 0.0
                    of = f" of {settings.trials}" if settings.trials else ""
                    progress(f"tuning {name}: trial {trial.number + 1}{of}{_best(found)}", share)
                with get_heartbeat(trial):
                    _try(trial, model, objective)
    except ImportError as error:
        raise ConfigError(
            f"`tuning.sampler: {settings.sampler}` needs a package that is not installed",
            where="tuning.sampler",
            why=str(error).splitlines()[0],
            fix="install it, or choose another sampler",
        ) from None
    finally:
        shutil.rmtree(worker, ignore_errors=True)


def _best(found: Any) -> str:
    with suppress(ValueError):
        return f", best {found.best_value:.4f}"
    return ""


def _finished(found: Any) -> list[Any]:
    """Trials that count: those that came to an end and those that were given up, in order."""
    from optuna.trial import TrialState

    return found.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _next(found: Any, settings: Optuna, folder: Path, worker: str, seed: int) -> Any:
    """The next trial, or None if the budget is spent. One worker at a time asks, so none is one too many.

    Minutes are those that trials took: a study that has spent them stays finished.
    """
    from optuna.trial import TrialState

    with alone(folder / "asking.lock"):
        _bury(found, settings, folder)
        trials = found.get_trials(deepcopy=False)
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        if settings.trials is not None and len(_finished(found)) + len(running) >= settings.trials:
            return None
        spent = sum(trial.user_attrs.get("seconds", 0.0) for trial in trials) / settings.workers
        waiting = any(trial.state == TrialState.WAITING for trial in trials)
        if settings.sampler == "grid" and not waiting:
            return None
        if settings.minutes is not None and spent >= settings.minutes * 60:
            return None
        # A trial that died does not count: what takes its place is drawn as it was.
        drawn = sum(
            trial.state != TrialState.WAITING and trial.user_attrs.get(WHY) != DIED for trial in trials
        )
        found.sampler = _sampler(settings, seed, drawn)
        trial = found.ask()
        trial.set_user_attr(WORKER, worker)
        return trial


def _lay_out(found: Any, model: Any, folder: Path, seed: int) -> None:
    """Put every combination of a grid in line, in random order: what minutes cut off is a fair part of it.

    Not by Optuna's GridSampler: with `ask` and several workers it tries some combinations twice, and it
    knows no conditions.
    """
    points = grid(model.search, model.model_dump())
    with alone(folder / "asking.lock"):
        there = [one.system_attrs.get("fixed_params") for one in found.get_trials(deepcopy=False)]
        for place in np.random.default_rng(seed).permutation(len(points)):
            if points[place] not in there:  # a study that is gone on with has them already
                found.enqueue_trial(points[place])


def _bury(found: Any, settings: Optuna, folder: Path) -> None:
    """Close trials whose worker is dead, and put their settings first in line."""
    from optuna.storages import fail_stale_trials
    from optuna.trial import TrialState

    if "://" in settings.storage:  # workers may be on other machines: their heartbeat tells
        fail_stale_trials(found)
        return
    trials = found.get_trials(deepcopy=False)
    again = {trial.user_attrs.get(AGAIN) for trial in trials}
    for trial in trials:
        if trial.state != TrialState.RUNNING:
            continue
        worker = folder / str(trial.user_attrs.get(WORKER, "-"))
        alive = False
        with suppress(FileNotFoundError), held(worker, wait=False) as mine:
            alive = not mine
        if alive:
            continue
        tried = trial.params or trial.system_attrs.get("fixed_params")
        if tried and trial.number not in again:
            found.enqueue_trial(tried, user_attrs={AGAIN: trial.number})
        found._storage.set_trial_user_attr(trial._trial_id, WHY, DIED)
        found.tell(trial.number, state=TrialState.FAIL)
        with suppress(OSError):
            worker.rmdir()


def _try(trial: Any, model: Any, objective: Objective) -> None:
    """Fit and judge one trial's settings. Settings that the model cannot be fitted with are a failed trial."""
    from optuna.trial import TrialState

    begun = time.perf_counter()

    def report(step: int, value: float) -> None:
        trial.report(value, step)
        if trial.should_prune():
            raise Pruned

    def close(state: Any, value: float | None = None) -> None:
        trial.set_user_attr("seconds", time.perf_counter() - begun)
        trial.study.tell(trial, value, state=state)

    try:
        tried = applied(model, suggest(trial, model.search, model.model_dump()))
        value, fits = objective(tried, report)
    except Pruned:
        return close(TrialState.PRUNED)
    except Exception as error:
        raise_interruption(error)
        if isinstance(error, BUGS) or (isinstance(error, UserError) and not isinstance(error, DataError)):
            raise
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        trial.set_user_attr(WHY, why)
        close(TrialState.FAIL)
        failed = trial.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        if sum(one.user_attrs.get(WHY) != DIED for one in failed) >= MOST_FAILED:
            raise DataError(
                f"{MOST_FAILED} trials of `{model.kind}` have failed",
                where="tuning",
                why=why,
                fix="narrow its `search` space",
            ) from None
        return None
    if value != value:  # no target's metric is defined
        trial.set_user_attr(WHY, "the metric is not defined on the rows that judge")
        close(TrialState.FAIL)
        raise DataError(
            "tuning has nothing to go by: the metric is not defined on the rows that judge",
            where="tuning.objective", fix="more validation rows, or `tuning=none`",
        )  # fmt: skip
    trial.set_user_attr("iterations", json.dumps([list(fitted.iterations) for fitted in fits]))
    return close(TrialState.COMPLETE, value)


def applied(model: Any, settings: dict[str, Any]) -> Any:
    """The model with other settings, checked like a declared one; it has no search space of its own."""
    return type(model).model_validate(placed(model.model_dump(), settings))


def _opened(settings: Optuna, folder: Path) -> Any:
    """The study; in the storage that it has begun in, where none is named."""
    import optuna

    return optuna.create_study(
        storage=open_storage(settings.storage, folder, settings.workers), study_name=folder.name, load_if_exists=True,
        direction="maximize", pruner=_pruner(settings),
    )  # fmt: skip


def _sampler(settings: Optuna, seed: int, drawn: int) -> Any:
    """A sampler that begins anew for each trial, by the run's seed and the number of trials drawn before."""
    from optuna import samplers

    own, start = int(np.random.SeedSequence([seed, drawn]).generate_state(1)[0]), settings.startup_trials
    match settings.sampler:
        case "tpe":
            return samplers.TPESampler(seed=own, n_startup_trials=start, constant_liar=settings.workers > 1)
        case "random" | "grid":  # a grid's combinations wait in line, so nothing is drawn
            return samplers.RandomSampler(seed=own)
        case "gp":
            return samplers.GPSampler(seed=own, n_startup_trials=start)
        case "cmaes":
            return samplers.CmaEsSampler(seed=own, n_startup_trials=start)
        case _:
            return samplers.QMCSampler(seed=seed, scramble=True)  # a sequence counts for itself


def _pruner(settings: Optuna) -> Any:
    from optuna import pruners

    match settings.pruner:
        case "median":
            return pruners.MedianPruner(n_startup_trials=settings.startup_trials, n_warmup_steps=20)
        case "successive_halving":
            return pruners.SuccessiveHalvingPruner()
        case "hyperband":
            return pruners.HyperbandPruner()
        case _:
            return pruners.NopPruner()


def _read(name: str, metric: str, settings: Optuna, found: Any) -> Studied:
    """The study as plain data, up to as many trials as were asked for: an earlier run may have asked for more."""
    from optuna.trial import TrialState

    finished = _finished(found)
    more = finished[settings.trials :] if settings.trials is not None else []
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    kept = found.get_trials(deepcopy=False, states=states)
    if more:
        last = finished[-len(more) - 1].number
        kept = [one for one in kept if one.number <= last]
    trials = [
        {
            "number": trial.number, "state": trial.state.name.lower(),
            "value": trial.value if trial.state == TrialState.COMPLETE else None, "settings": trial.params,
            "seconds": trial.user_attrs.get("seconds"), "why": trial.user_attrs.get(WHY, ""),
            "again": trial.user_attrs.get(AGAIN), "iterations": json.loads(trial.user_attrs.get("iterations", "null")),
            "begun": trial.datetime_start and trial.datetime_start.isoformat(timespec="seconds"),
        }
        for trial in kept
    ]  # fmt: skip
    complete = [trial for trial in kept if trial.state == TrialState.COMPLETE]
    if not complete:
        raise DataError(
            f"no trial of `{name}` came to an end",
            where="tuning",
            why="; ".join({trial["why"] for trial in trials if trial["why"]})
            or "the budget was spent before",
            fix="more trials or minutes, or `tuning.pruner=none`",
        )
    best = max(complete, key=lambda trial: trial.value)
    return Studied(metric, dict(best.params), float(best.value), trials, _importance(complete))


def _importance(complete: list[Any]) -> dict[str, float]:
    """Share of the metric's variance that each setting explains (PED-ANOVA, Watanabe et al. 2023)."""
    import optuna

    if len(complete) < FEW:
        return {}
    with suppress(Exception), warnings.catch_warnings():  # a nicety: a study of constants has none
        warnings.simplefilter("ignore")
        alike = optuna.create_study(direction="maximize")
        alike.add_trials(complete)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        shares = optuna.importance.get_param_importances(alike, evaluator=evaluator)
        return {key: float(value) for key, value in shares.items()}
    return {}
