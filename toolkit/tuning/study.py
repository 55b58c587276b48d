"""One study: trials until the budget is spent, by one process or many, taken up again after a kill.

A trial belongs to the worker that began it, and a worker holds a lock for as long as it lives. So a trial
that is running while its worker's lock is free is dead: it is closed as failed, and its settings are tried
again, by the same number of trials in all. What a trial proposes depends on the trials before it and on
its number, not on the process, so a study that was killed goes on as it would have gone.
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

from toolkit.errors import DataError
from toolkit.runfolder import held
from toolkit.tuning.objective import Objective
from toolkit.tuning.settings import Optuna
from toolkit.tuning.space import suggest
from toolkit.tuning.storage import alone, open_storage

Progress = Callable[[str, float], None]
WORKER, AGAIN, WHY = "worker", "again", "why"
DIED = "its process died"
MOST_FAILED = 10


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
    deadline = time.time() + settings.minutes * 60 if settings.minutes else None
    with held(folder):  # a second run that wants the same study waits, and finds it done
        if settings.workers == 1:
            work(name, settings, model, objective, folder, deadline, progress)
        else:
            from joblib import Parallel, delayed

            one = delayed(work)(name, settings, model, objective, folder, deadline, None)
            done = Parallel(n_jobs=settings.workers, return_as="generator_unordered")(
                [one] * settings.workers
            )
            for number, _ in enumerate(done):
                progress(f"tuning {name}: {number + 1} of {settings.workers} workers are done", 0.0)
        return _read(name, objective.name, _opened(settings, folder, 0))


def work(
    name: str, settings: Optuna, model: Any, objective: Objective, folder: Path, deadline: float | None,
    progress: Progress | None,
) -> None:  # fmt: skip
    """One worker: trial after trial until the budget is spent."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    worker = folder / f"worker-{uuid4().hex}"
    worker.mkdir()
    try:
        with held(worker), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            while (trial := _next(settings, folder, worker.name, deadline)) is not None:
                if progress:
                    share = trial.number / settings.trials if settings.trials else 0.0
                    of = f" of {settings.trials}" if settings.trials else ""
                    progress(f"tuning {name}: trial {trial.number + 1}{of}{_best(trial.study)}", share)
                _try(trial, model, objective)
    finally:
        shutil.rmtree(worker, ignore_errors=True)


def _best(found: Any) -> str:
    with suppress(ValueError):
        return f", best {found.best_value:.4f}"
    return ""


def _next(settings: Optuna, folder: Path, worker: str, deadline: float | None) -> Any:
    """The next trial, or None if the budget is spent. One worker at a time asks, so none is one too many."""
    from optuna.trial import TrialState

    with alone(folder / "asking.lock"):
        found = _opened(settings, folder, 0)
        _bury(found, folder)
        trials = found.get_trials(deepcopy=False)
        spent = sum(
            trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING) for trial in trials
        )
        if settings.trials is not None and spent >= settings.trials:
            return None
        if deadline is not None and time.time() > deadline:
            return None
        trial = _opened(settings, folder, len(trials)).ask()
        trial.set_user_attr(WORKER, worker)
        return trial


def _bury(found: Any, folder: Path) -> None:
    """Close trials whose worker is dead, and put their settings first in line."""
    from optuna.trial import TrialState

    for trial in found.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = folder / str(trial.user_attrs.get(WORKER, "-"))
        alive = False
        with suppress(FileNotFoundError), held(worker, wait=False) as mine:
            alive = not mine
        if alive:
            continue
        if trial.params:
            found.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})
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
        close(TrialState.PRUNED)
    except (DataError, ValueError) as error:
        trial.set_user_attr(WHY, str(error).splitlines()[0])
        close(TrialState.FAIL)
        failed = trial.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        if sum(one.user_attrs.get(WHY) != DIED for one in failed) >= MOST_FAILED:
            raise DataError(
                f"{MOST_FAILED} trials of `{model.kind}` have failed",
                where="tuning",
                why=str(error).splitlines()[0],
                fix="narrow its `search` space",
            ) from None
    else:
        if value != value:  # no target's metric is defined
            trial.set_user_attr(WHY, "the metric is not defined on the rows that judge")
            close(TrialState.FAIL)
            raise DataError(
                "tuning has nothing to go by: the metric is not defined on the rows that judge",
                where="tuning.objective", fix="more validation rows, or `tuning=none`",
            )  # fmt: skip
        trial.set_user_attr("iterations", json.dumps([list(fitted.iterations) for fitted in fits]))
        close(TrialState.COMPLETE, value)


def applied(model: Any, settings: dict[str, Any]) -> Any:
    """The model with other settings, checked like a declared one; it has no search space of its own."""
    return type(model).model_validate(model.model_dump() | settings)


def _opened(settings: Optuna, folder: Path, number: int) -> Any:
    """The study, with a sampler that begins anew for the trial of this number."""
    import optuna

    kind = settings.storage or ("sqlite" if settings.workers == 1 else "journal")
    return optuna.create_study(
        storage=open_storage(kind, folder), study_name=folder.name, load_if_exists=True, direction="maximize",
        sampler=_sampler(settings, number), pruner=_pruner(settings),
    )  # fmt: skip


def _sampler(settings: Optuna, number: int) -> Any:
    from optuna import samplers

    seed, start = number, settings.startup_trials
    match settings.sampler:
        case "tpe":
            return samplers.TPESampler(seed=seed, n_startup_trials=start, constant_liar=settings.workers > 1)
        case "random":
            return samplers.RandomSampler(seed=seed)
        case "gp":
            return samplers.GPSampler(seed=seed, n_startup_trials=start)
        case "cmaes":
            return samplers.CmaEsSampler(seed=seed, n_startup_trials=start)
        case _:
            return samplers.QMCSampler(seed=0, scramble=True)


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


def _read(name: str, metric: str, found: Any) -> Studied:
    """The study as plain data."""
    from optuna.trial import TrialState

    trials = []
    for trial in found.get_trials(deepcopy=False):
        if trial.state == TrialState.WAITING:
            continue
        trials.append({
            "number": trial.number, "state": trial.state.name.lower(),
            "value": trial.value if trial.state == TrialState.COMPLETE else None, "settings": trial.params,
            "seconds": trial.user_attrs.get("seconds"), "why": trial.user_attrs.get(WHY, ""),
            "again": trial.user_attrs.get(AGAIN), "iterations": json.loads(trial.user_attrs.get("iterations", "null")),
            "begun": trial.datetime_start and trial.datetime_start.isoformat(timespec="seconds"),
        })  # fmt: skip
    complete = [trial for trial in trials if trial["state"] == "complete"]
    if not complete:
        raise DataError(
            f"no trial of `{name}` came to an end",
            where="tuning",
            why="; ".join({trial["why"] for trial in trials if trial["why"]})
            or "the budget was spent before",
            fix="more trials or minutes, or `tuning.pruner=none`",
        )
    best = found.best_trial
    return Studied(metric, dict(best.params), float(best.value), trials, _importance(found, len(complete)))


def _importance(found: Any, complete: int) -> dict[str, float]:
    """Share of the metric's variance that each setting explains (PED-ANOVA, Watanabe et al. 2023)."""
    import optuna

    if complete < 10:
        return {}
    with suppress(Exception), warnings.catch_warnings():  # a nicety: a study of constants has none
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        shares = optuna.importance.get_param_importances(found, evaluator=evaluator)
        return {key: float(value) for key, value in shares.items()}
    return {}
