"""Searching the paper's grid of settings for one expert, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codenoise.core.base.errors import CodenoiseError, DataError
from codenoise.core.diffusion.config import TrainingConfig
from codenoise.core.diffusion.data import ExpertData
from codenoise.core.diffusion.training import train_expert

if TYPE_CHECKING:
    import optuna

GRID: Mapping[str, Sequence[float]] = {
    "learning_rate": (1e-4, 3e-4, 1e-3, 3e-3),
    "batch": (64, 128, 256, 512),
    "layers": (2, 4, 7),
    "width": (256, 512, 1024),
    "time_dim": (64, 128),
    "condition_width": (32, 64, 128),
}


@dataclass(frozen=True)
class Trial:
    """One set of settings and what became of it.

    Attributes
    ----------
    number
        In the order of trying; the first is the recipe's own.
    settings
        Those of `GRID`.
    energy_score
        On the validation patients, lower is better; NaN for a trial that was given up early.
    r2_expectation, seconds
        Likewise, and the time its training took.
    """

    number: int
    settings: dict[str, float]
    energy_score: float
    r2_expectation: float
    seconds: float


def tune(
    train: ExpertData,
    validation: ExpertData,
    base: TrainingConfig,
    journal: Path,
    *,
    trials: int,
    seconds: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Trial]:
    """Search `GRID` with a tree-structured Parzen estimator (Bergstra et al. 2011, by optuna).

    A trial that lags behind the median of those before it is given up. Trials are ranked by energy
    score, which rewards neither narrow nor wide draws.

    Parameters
    ----------
    train, validation
        As for `train_expert`.
    base
        All other settings; its own values of the grid's are tried first.
    journal
        File that keeps every trial; with the same file a search goes on where it stopped.
    trials
        Trials in all, earlier ones included.
    seconds
        Time after which no trial is begun.
    progress
        Called with trials done and in all.

    Returns
    -------
    list
        All finished trials, best first.

    Raises
    ------
    CodenoiseError
        If optuna is not installed, or the journal cannot be read.
    DataError
        If there are too few patients.
    """
    library = _optuna()
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    library.logging.set_verbosity(library.logging.WARNING)
    try:
        study = library.create_study(
            study_name="codenoise",
            storage=JournalStorage(JournalFileBackend(str(journal))),
            sampler=library.samplers.TPESampler(seed=base.seed),
            pruner=library.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2000),
            load_if_exists=True,
        )
    except (OSError, ValueError, KeyError) as problem:
        raise CodenoiseError(
            f"{journal} cannot be read as a journal of trials: {problem}; give another `journal`"
        ) from None
    study.enqueue_trial({name: getattr(base, name) for name in GRID}, skip_if_exists=True)

    def objective(trial: optuna.Trial) -> float:
        chosen: dict[str, Any] = {
            name: trial.suggest_categorical(name, grid) for name, grid in _grid(base)
        }

        def watch(step: int, _: int, error: float) -> None:
            trial.report(error, step)
            if trial.should_prune():
                raise library.TrialPruned

        trained = train_expert(train, validation, replace(base, **chosen), progress=watch)
        trial.set_user_attr("r2_expectation", trained.validation.r2_expectation)
        trial.set_user_attr("seconds", trained.seconds)
        return trained.validation.energy_score

    def count(study: optuna.Study, _: object) -> None:
        if progress is not None:
            progress(len(_finished(study)), trials)

    left = trials - len(_finished(study))
    if left > 0:
        study.optimize(objective, n_trials=left, timeout=seconds, callbacks=[count])
    found = [_trial(trial) for trial in _finished(study)]
    if not found:
        raise DataError("no trial was finished; give more time")
    return sorted(found, key=lambda t: (t.energy_score != t.energy_score, t.energy_score))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise CodenoiseError(
            "tuning needs optuna, which is not installed: pip install 'codenoise[tune]'"
        ) from None
    return optuna


def _grid(base: TrainingConfig) -> list[tuple[str, list[float]]]:
    """The grid, with the base's own values where they are not on it."""
    return [(name, sorted({*values, getattr(base, name)})) for name, values in GRID.items()]


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]


def _trial(trial: optuna.trial.FrozenTrial) -> Trial:
    unknown = float("nan")
    done = trial.state.name == "COMPLETE"
    return Trial(
        number=trial.number,
        settings=dict(trial.params),
        energy_score=float(trial.value) if done and trial.value is not None else unknown,
        r2_expectation=trial.user_attrs.get("r2_expectation", unknown),
        seconds=trial.user_attrs.get("seconds", unknown),
    )
