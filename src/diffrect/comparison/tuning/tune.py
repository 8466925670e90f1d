"""Tune methods with equal budgets on held-out training patients, and freeze what is found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from diffrect.atomic import write_atomic
from diffrect.checks import at_least
from diffrect.comparison.cell import CellJob, Outcome, cell_state, do_cell
from diffrect.comparison.cell_process import do_cell_apart
from diffrect.comparison.locks import CellLock
from diffrect.comparison.matrix import Cell
from diffrect.comparison.request import make_job
from diffrect.comparison.tuning.held_out import hold_out
from diffrect.comparison.tuning.result import VARIANTS_FILE, TunedMethod, Tuning, write_result
from diffrect.comparison.tuning.search import check_optuna, next_values
from diffrect.comparison.tuning.space import Space, own_values, read_sections, space_of
from diffrect.comparison.tuning.trials import Trial, TrialsFile
from diffrect.config import TrainConfig
from diffrect.console import stderr_console
from diffrect.data.split import Split
from diffrect.data.store import Store
from diffrect.distributed.devices import find_device
from diffrect.distributed.locks import LockedError
from diffrect.errors import InputError, PartialFailure
from diffrect.methods.registry import check_network_name, resolve
from diffrect.plugins.trust import trust_names
from diffrect.text_files import read_text

SPLIT_FILE = "split.json"


class TrialError(InputError):
    """Report that a training failed for a reason that has nothing to do with its settings."""


@dataclass(frozen=True)
class Budget:
    """What each method may spend, the same for all.

    Attributes:
        trials: the most trainings of a method, the one with its own settings included.
        minutes: no training begins once those of the method have taken this many processor
            minutes; None = only their number counts.
    """

    trials: int = 8
    minutes: float | None = None

    def allows(self, done: Sequence[Trial]) -> bool:
        """Return whether another training of a method may begin after these."""
        spent = sum(trial.cost.processor_minutes or 0.0 for trial in done)
        return len(done) < self.trials and (self.minutes is None or spent < self.minutes)


def tune(
    store: Path | str,
    folder: Path | str,
    *,
    methods: Sequence[str],
    trials: int = 8,
    minutes: float | None = None,
    held_out: int = 10,
    space: Path | str | None = None,
    config: TrainConfig | None = None,
    seed: int = 0,
    apart: bool = True,
    progress: bool = True,
) -> Tuning:
    """Search the settings of methods with equal budgets, on patients that no table reports.

    Some patients of the training list are held out and judge every training; the validation and
    test patients of the split are not looked at. The best settings of each method are written as
    variants for `compare`. Finished trainings are kept and started ones resume; several processes
    may work in one folder, each on methods of its own.

    Example:
        >>> import diffrect
        >>> config = diffrect.TrainConfig(size=16, iterations=1, batch_labelled=2)
        >>> tuning = diffrect.tune(
        ...     "store",
        ...     "tuning",
        ...     methods=["supervised"],
        ...     trials=1,
        ...     held_out=1,
        ...     config=config,
        ...     apart=False,
        ...     progress=False,
        ... )
        >>> list(tuning.variants)
        ['supervised-tuned']

    Args:
        store: folder made by `prepare`.
        folder: gets a RUN folder per training, METHOD.trials.json, trials.csv, tuned.yaml and
            tuning.md.
        methods: names of methods.
        trials: trainings of each method; the first has its own settings.
        minutes: processor minutes after which a method gets no further training; None = any.
        held_out: number of patients to judge by.
        space: YAML file of what to tune, see `space`; None takes the space that the package ships.
        config: what all trainings have in common; the method is replaced.
        seed: of the search. The seed of the trainings is the configuration's.
        apart: train in processes of their own, otherwise in this one.
        progress: report progress on stderr.

    Raises:
        InputError: an argument is wrong, or Optuna is not installed; nothing was started.
        PartialFailure: a training of some methods failed for another reason than numbers that are
            not finite, such as a full disk; the same call goes on.
        KeyboardInterrupt: a stop was asked for; the same call resumes.
    """
    check_optuna()
    at_least("--trials", trials, 1, 10_000)
    at_least("--held-out", held_out, 1)
    if minutes is not None and not minutes > 0:
        raise InputError("--minutes", "above 0", got=f"{minutes:g}", setting="minutes")
    if not methods:
        raise InputError("--methods", "names such as supervised,diffrect", got="none")
    job = make_job(store, folder, "val", "best", progress)
    base = config or TrainConfig()
    trust_names(methods)
    split = hold_out(Store(job.store), base, held_out)
    file = None if space is None else Path(space)
    sections = read_sections(file)
    base = replace(
        base, split_file=Path(folder) / SPLIT_FILE, labelled=None, val_patients=None,
        test_patients=None,
    )  # fmt: skip
    plans = {}
    for name in dict.fromkeys(methods):
        own = replace(base, method=name)
        check_network_name(own)
        resolve(own)
        plans[name] = Plan(own, space_of(own, sections, file), seed)
    find_device(base.device, base.devices)
    remember_split(split, Path(folder) / SPLIT_FILE)
    for plan in plans.values():  # refuse all before any is started
        plan.file(Path(folder))
    budget, console = Budget(trials, minutes), stderr_console(quiet=not progress)
    do: Callable[[CellJob, Cell], Outcome] = do_cell_apart if apart else do_cell
    failures: dict[Path, str] = {}
    for plan in plans.values():
        trials_file = plan.file(Path(folder))
        try:
            with CellLock(Path(folder), trials_file.method):
                run_trials(plan, budget, job, do, console)
        except LockedError as taken:
            console.print(f"{trials_file.method}: taken by {taken.owner}", highlight=False)
        except TrialError as error:
            failures[trials_file.path] = str(error)
    found = [TunedMethod(p.config, p.file(Path(folder)).trials) for p in plans.values()]
    tuning = Tuning(split, found)
    write_result(Path(folder), tuning)
    if failures:
        line = f"{len(failures)} of {len(plans)} methods failed: {'; '.join(failures.values())}"
        raise PartialFailure(line, [Path(folder) / VARIANTS_FILE], failures)
    return tuning


def remember_split(split: Split, file: Path) -> None:
    """Write the split of the trials, or check that it is the one that is there.

    Raises:
        InputError: the folder has trials with another split.
    """
    text = split.to_json()
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, text)
    elif Split.from_json(read_text(file, "a split as JSON")) != split:
        raise InputError(
            file, "the patients of this tuning", found="others", hint="tune in another folder"
        )


@dataclass(frozen=True)
class Plan:
    """What is to be tuned of a method.

    Attributes:
        config: its training, without tuned values.
        space: what is tuned.
        seed: of the search.
    """

    config: TrainConfig
    space: Space
    seed: int

    def file(self, folder: Path) -> TrialsFile:
        """Return its trials so far."""
        return TrialsFile(folder, self.config, self.space, self.seed)


def run_trials(
    plan: Plan,
    budget: Budget,
    job: CellJob,
    do: Callable[[CellJob, Cell], Outcome],
    console: Console,
) -> None:
    """Train until the budget of a method is spent.

    Args:
        plan: the method.
        budget: what it may spend.
        job: what is asked of each training.
        do: trains and scores a cell.
        console: where to report progress.

    Raises:
        TrialError: a training failed, and not because its numbers were not finite.
        KeyboardInterrupt: a stop was asked for.
    """
    file = plan.file(Path(job.folder))
    own = own_values(plan.config, plan.space)
    number = 0
    while True:
        done = file.trials[:number]
        if not budget.allows(done):
            return
        if number == len(file.values):
            file.add(next_values(plan.space, done, own, plan.seed))
        cell = file.cell(number)
        where = f"{file.method} [{number + 1}/{budget.trials}]"
        if number not in file.failures and cell_state(Path(job.folder) / cell.folder, job) != (
            "finished"
        ):
            console.print(f"{where}: {cell.config.iterations} iterations")
            outcome = do(job, cell)
            if outcome.kind == "diverged":
                file.fail(number, outcome.reason)
            elif outcome.kind != "finished":
                raise TrialError(f"{cell.folder}: {outcome.reason}")
        trial = file.trial(number)
        result = trial.failed or f"Dice {100 * (trial.dice or 0):.2f} on held-out patients"
        console.print(f"{where}: {result}", highlight=False)
        number += 1
