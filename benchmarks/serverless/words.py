"""What the page says around its tables."""

from __future__ import annotations

from benchmarks.serverless.cells import CASES
from benchmarks.serverless.lessons import DEVICES, LESSONS, SHARE

_SHARE = f"{SHARE:.0%}".replace("%", " %")
_RULES = ", ".join(f"`{lesson.rule}` for {name}" for name, lesson in LESSONS.items() if lesson.embedded)
_HELD = " and ".join(name for name, lesson in LESSONS.items() if lesson.held)
MEANING = {
    "worst_against_baseline_pct": "by how much the orchestrator's measured objective is above a baseline's, worst "
    "scenario and baseline, means over the seeds [%]",
    "blind_beaten": "whether it beats each blind baseline, outside the interval, in the scenario about what that is "
    "blind to",
    "blind_beaten_by_pct": "by how much less its objective is there, of the baseline's [%]",
    "prediction_error_pct": "by how much a round's prediction was off, over what was measured, mean over the "
    "orchestrator's scenarios: of seconds or of joules, whichever is more [%]",
    "prediction_error_by_pct": "the same by scenario and quantity [%]",
    "greedy_gap_pct_p95": f"greedy above exact, 95th percentile of {CASES} small cases; where exact is not proved in "
    "time, above what is proved [%]",
    "decide_10k_s": "longest of the decisions on 10,000 units [s]",
    "small_data_time_ratio": f"the devices' time of work on all data over that on {_SHARE} by the task's rule (its "
    "selection counted), mean over the seeds, least of the embedded images and text and of the schemes",
    "small_data_energy_ratio": "the same of the devices' active energy",
    "small_data_bytes_ratio": "the same of what devices send, least of the schemes that split the model",
    "small_data_accuracy_delta": f"accuracy after the last round on {_SHARE} by the task's rule less that on all data, "
    f"mean over the seeds, least of {_HELD}; **not** of text (docstrings), which has too few samples [points]",
    "random_accuracy_delta": "the same of a random subset of the same size [points]",
    "small_data_accuracy_delta_by": "by the task's rule, by task, text (docstrings) as well [points]",
    "random_accuracy_delta_by": "random, by task [points]",
    "invalid": "runs with the verdict `invalid`, which count in the figures above; the row of cells names them",
}

HOW = f"""\
How: *orchestrators* are held against each other by what the objective came to when tasks had run on containers and
links: seconds of their rounds, joules that devices took, money charged, and what owners count for that were left out of
a round; where a round was not done, all of them (a task that is refused or fails pays for what is missing). Runs are
paired by seed. Instances of all functions are provisioned before a run's tasks come: cold starts are those of shares
that go where more is asked for than was foreseen. *Small data* is learnt by {DEVICES} devices with an
equal share of the samples each, an edge server and a cloud; a device keeps {_SHARE} of its samples by the task's rule
({_RULES}), and trains for as many epochs. Accuracy takes trainings that have (nearly) come to rest: they run in memory,
batch by batch and round by round as the schemes do it, on all seeds, paired by seed (the same initial weights and
samples). Time, energy and bytes are measured on containers and links, over the first round of the same trainings; the
selection is spent once a task, so it weighs more here than over a whole training. *Time* is what devices work, the
selection included; *energy* is active energy: computing and radio, not idling ([the model](energy.md)); *bytes* are all
that leaves devices by their links, models included. *Greedy against exact* and *decisions* are of the same
kind as those of [the orchestrator's benchmark](orchestrator.md): problems made up from seeds, on which nothing runs."""

ABOUT: dict[str, tuple[str, ...]] = {
    "Orchestrators": (
        "Means over the seeds, with the 95 % interval of the difference, paired by seed (Student's t). *Above*: of the",
        "baseline's objective over the orchestrator's; below 0 the baseline was better. *Left out*: owners by round.",
        "",
    ),
    "Tasks": (
        "*To 90 %*: seconds until a task was first as accurate as 90 % of what the orchestrator's run ended with.",
        "",
    ),
    "Predicted and measured": (
        "By how much the orchestrator's predictions were off, above or below, over what was measured: by round, added",
        "up over a task's rounds; the mean over the run's tasks. So no round or task makes good for another.",
        "",
    ),
    "Small data on the platform": ("The orchestrator, with a share of the data by rule and at random.", ""),
    "Small data: accuracy": (
        "Points against all data and against the control, paired by seed, with the 95 % interval (Student's t).",
        f"The figures are of {_HELD}; other tasks stand here as they are. Of the two embedded texts *passages* is the",
        "easier question, made so that samples are abundant: four packages of the library and not twelve, and passages",
        "that overlap (one begins at every word), so that most of what a share leaves out stands in what it keeps. On",
        "*docstrings*, one sample a docstring, a share of 30 % costs 17 points and more by any rule that was tried",
        "([small data](selection.md)): that limit is **not kept** there.",
        "",
    ),
    "Small data: what it saves": (
        "All data over the share: how many times less. *Round*: its whole length, waiting included.",
        "*Selection*: of the devices' time of work in this short training. *As in memory*: trainings that were after",
        "each round as accurate as the one in memory; passages are measured on a part of their samples here"
        f" ({LESSONS['passages'].costed}, and {_SHARE} of those), so there is none to hold them against.",
        "",
    ),
}
