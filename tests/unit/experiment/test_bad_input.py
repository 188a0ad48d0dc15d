"""Everything that a user may get wrong in the file: each is refused with its place and a remedy."""

# ruff: noqa: E501  (a table of one fault a line reads better)

from __future__ import annotations

import pytest

from testbed.errors import InputError
from testbed.experiment import load, load_plan
from testbed.experiment.problems import InputProblems

DEV = "  dev: {profile: tiny-device, count: 2, at: north}"
LONE = "  lone: {profile: pi4, at: south}"
ACCESS = "  access: {rate: {up: 20Mbit, down: 40Mbit}, delay: 4ms, jitter: 1ms, loss: 0.1%, queue: 100ms}"
NORTH_SOUTH = "  north -- south: {rate: 100Mbit, delay: 5ms}"
NORTH_CLOUD = "  north -- cloud: {rate: 50Mbit}"
MOVE = "    - {device: dev-1, to: south, round: 2, progress: 50%}"

# What is replaced, what by, the line of the fault, what the message says, what the remedy says.
BAD = {
    # form
    "unknown key at the top": ("seed: 5", "seeed: 5", 2, "unknown key 'seeed'", "did you mean 'seed'?"),
    "unknown key in a section": ("cut: 4", "cutt: 4", 20, "unknown key 'cutt' in workload", "did you mean 'cut'?"),
    "unknown key in a link": (NORTH_CLOUD, "  north -- cloud: {rat: 50Mbit}", 13, "unknown key 'rat'", "'rate'"),
    "unknown key in a move": ("progress: 50%", "progres: 50%", 16, "unknown key 'progres'", "'progress'"),
    "key in the wrong section": ("rounds: 3", "lead: 1s", 21, "unknown key 'lead' in workload", "under 'mobility'"),
    "key that belongs at the top": ("rounds: 3", "seed: 3", 21, "unknown key 'seed'", "top of the file"),
    "key that nothing is like": ("rounds: 3", "xyzzy: 3", 21, "unknown key 'xyzzy'", "docs/experiment.md"),
    "missing key": (DEV, "  dev: {count: 2, at: north}", 8, "devices.dev: 'profile' is missing", "add 'profile: …'"),
    "one direction only": ("{up: 20Mbit, down: 40Mbit}", "{up: 20Mbit}", 11, "'down' is missing", "add 'down: …'"),
    "section that is a word": ("cloud: {}", "cloud: big", 6, "cloud: this has the wrong form", None),
    "name that is a number": ("name: good", "name: 5", 1, "name: this has the wrong form", None),
    "boolean as a number": ("rounds: 3", "rounds: true", 21, "workload.rounds", None),
    "half a round": ("rounds: 3", "rounds: 1.5", 21, "workload.rounds", None),
    "rounds without end": ("rounds: 3", f"rounds: 1{'0' * 30}", 21, "so many rounds", "1000000 or less"),
    "no rounds": ("rounds: 3", "rounds: 0", 21, "workload.rounds: the value must be greater", None),
    "no devices of a kind": ("count: 2", "count: 0", 8, "devices.dev.count", None),
    "one coordinate": ("at: [100, 0]", "at: [100]", 5, "sites.south.at: too few values", None),
    "coordinate that is no number": ("at: [100, 0]", "at: [100, .nan]", 5, "sites.south.at", None),
    "unknown choice": ("workload:", "emulation: {links: netm}\nworkload:", 17, "unknown choice", "'netem'"),
    # units
    "unknown unit": ("rate: 50Mbit", "rate: 50Mbti", 13, "unknown unit 'Mbti'", "did you mean 50Mbit?"),
    "Mbps": ("rate: 50Mbit", "rate: 50Mbps", 13, "unknown unit 'Mbps'", "write 50Mbit for megabits"),
    "MB/s": ("rate: 50Mbit", "rate: 50MB/s", 13, "unknown unit 'MB/s'", "400Mbit for megabytes"),
    "Mbps in one direction": ("down: 40Mbit", "down: 40Mbps", 11, "links.access.rate.down: ", "write 40Mbit"),
    "rate without a unit": ("rate: 50Mbit", "rate: 50", 13, "needs a unit", "50Mbit"),
    "negative delay": ("delay: 5ms", "delay: -5ms", 12, "links.north -- south.delay: the duration is negative", "minus"),
    "delay that is not a number": ("delay: 5ms", "delay: .nan", 12, "finite", "write a number"),
    "infinite delay": ("delay: 5ms", "delay: .inf", 12, "finite", "write a number"),
    "delay without a unit": ("delay: 5ms", "delay: 5", 12, "needs a unit", "5ms"),
    "loss in per cent without the sign": ("loss: 0.1%", "loss: 5", 11, "more than the whole", "write 5% if"),
    "progress without the sign": ("progress: 50%", "progress: 50", 16, "more than the whole", "write 50% if"),
    "progress below 0": ("progress: 50%", "progress: -50%", 16, "negative", "minus"),
    "queue smaller than a packet": ("queue: 100ms", "queue: 100B", 11, "cannot hold two packets", "3028B"),
    # faults
    "fault that is two things": ("workload:", "faults:\n  - {kill: edge-north, cut: lone, at: 1s}\nworkload:", 18, "a fault is one thing", None),
    "fault that is nothing": ("workload:", "faults:\n  - {at: 1s}\nworkload:", 18, "a fault is one thing", None),
    "fault at no moment": ("workload:", "faults:\n  - {spoil: edge-north}\nworkload:", 18, "needs one moment", None),
    "fault on what is not there": ("workload:", "faults:\n  - {spoil: edge-nroth, at: 1s}\nworkload:", 18, "no edge server 'edge-nroth'", "'edge-north'"),
    "cut of what is not there": ("workload:", "faults:\n  - {cut: north -- sout, at: 1s}\nworkload:", 18, "no link 'north -- sout'", "'north -- south'"),
    "kill of what is not there": ("workload:", "faults:\n  - {kill: dev, at: 1s}\nworkload:", 18, "no edge server or device 'dev'", "did you mean 'dev-"),
    "kill of a device that is waited for": ("workload:", "faults:\n  - {kill: lone, at: 1s}\nworkload:", 18, "lone is killed, and every round waits for it", "how long"),
    "every device killed": ("workload:", "faults: [{kill: lone, at: 1s}, {kill: dev-1, at: 1s}, {kill: dev-2, at: 1s}]\nworkload:\n  late: {drop: 9s}", 17, "every device is killed", "leave one"),
    "kill for a while": ("workload:", "faults:\n  - {kill: edge-north, at: 1s, lasting: 2s}\nworkload:", 18, "only a cut comes to an end", None),
    "fault after the last round": ("workload:", "faults:\n  - {kill: edge-north, device: lone, round: 9}\nworkload:", 18, "there are 3 rounds", None),
    # links
    "link to a missing site": (NORTH_CLOUD, NORTH_CLOUD + "\n  south -- wets:", 14, "'wets', which is not there", "add 'wets'"),
    "link to a misspelt site": (NORTH_SOUTH, "  nroth -- south: {}", 12, "link to 'nroth'", "did you mean 'north'?"),
    "link to an edge server": (NORTH_SOUTH, "  edge-north -- south: {}", 12, "link to 'edge-north'", "did you mean 'north'"),
    "link to a device": (NORTH_SOUTH, "  north -- lone: {}", 12, "link to 'lone'", "links.access"),
    "link that is there twice": (NORTH_CLOUD, NORTH_CLOUD + "\n  cloud -- north: {}", 14, "a second link", "keep one"),
    "link to itself": (NORTH_CLOUD, NORTH_CLOUD + "\n  north -- north: {}", 14, "to itself", "two places"),
    "misspelt access": (ACCESS, "  acess: {}", 11, "unknown key 'acess' in links", "did you mean 'access'?"),
    "link of three": (NORTH_SOUTH, "  north -- south -- cloud: {}", 12, "unknown key", "north -- cloud"),
    "jitter beyond the delay": ("jitter: 1ms", "jitter: 9ms", 11, "jitter larger than the delay", "raise delay to 9ms"),
    "jitter beyond a site's delay": (
        "at: [0, 0]", "at: [0, 0], access: {delay: 0}", 4, "jitter larger than the delay", "lower jitter",
    ),
    "everything is lost": ("loss: 0.1%", "loss: 1", 11, "a loss of 1 is every packet", "write 1%"),
    "site cut off": (NORTH_SOUTH + "\n", "", 5, "'south' has no way to the cloud", "add 'south -- cloud: {}'"),
    # nodes
    "no sites": ("sites:\n  north: {at: [0, 0]}\n  south: {at: [100, 0], edge: {profile: tiny-edge}}\n", "sites: {}\n",
                 3, "there are no sites", "add 'sites:"),
    "no devices": (f"devices:\n{DEV}\n{LONE}\n", "devices:\n", 7, "devices", None),
    "empty devices": (f"devices:\n{DEV}\n{LONE}\n", "devices: {}\n", 7, "there are no devices", "add 'devices:"),
    "no cloud": ("cloud: {}\n", "", 1, "there is no cloud", "add 'cloud: {}'"),
    "two devices of one name": (LONE, LONE + "\n" + LONE, 10, "'lone' is there twice", "another name"),
    "two nodes of one name by count": (LONE, "  dev-2: {profile: pi4, at: south}", 9, "two have the name 'dev-2'", "another name"),
    "device with the name of a site": (LONE, "  south: {profile: pi4, at: south}", 9, "two have the name 'south'", "another name"),
    "device with the name of an edge server": (
        LONE, "  edge-north: {profile: pi4, at: south}", 9, "two have the name 'edge-north'", "another name",
    ),
    "device called cloud": (LONE, "  cloud: {profile: pi4, at: south}", 9, "two have the name 'cloud'", "another name"),
    "name that is no label": (LONE, "  My_Dev: {profile: pi4, at: south}", 9, "cannot be the name", "call it 'my-dev'"),
    "name that is too long": (LONE, f"  {'x' * 33}: {{profile: pi4, at: south}}", 9, "cannot be the name", "call it 'xxx"),
    "name with two hyphens": (LONE, "  a--b: {profile: pi4, at: south}", 9, "cannot be the name", "call it 'a-b'"),
    "unknown profile": ("profile: pi4", "profile: pi44", 9, "unknown profile 'pi44'", "did you mean 'pi4'?"),
    "device at an unknown site": ("at: south}", "at: sooth}", 9, "there is no site 'sooth'", "did you mean 'south'?"),
    "device at an edge server": ("at: south}", "at: edge-south}", 9, "there is no site", "did you mean 'south', its site?"),
    "device nowhere": (LONE, "  lone: {profile: pi4}", 9, "device 'lone' is at no site", "add 'at: north'"),
    "memory too small": (
        "workload:", "profiles:\n  pi4: {memory: 128MiB}\nworkload:", 18, "too little memory", "profiles.pi4.memory to 256MiB",
    ),
    "memory too small by profile": ("profile: pi4", "profile: small-host", 9, "too little memory", "256MiB"),
    "profile without memory": ("workload:", "profiles:\n  fast: {speed: 1}\nworkload:", 18, "has no memory", "add memory"),
    "misspelt shipped profile": ("workload:", "profiles:\n  pi-4: {speed: 1}\nworkload:", 18, "has no memory", "did you mean 'pi4'?"),
    "quota below speed": (
        "workload:", "profiles:\n  pi4: {speed: 0.5, cpus: 0.4}\nworkload:", 18, "quota below its speed", "leave cpus out",
    ),
    "speed of nothing": ("workload:", "profiles:\n  pi4: {speed: 0}\nworkload:", 18, "profiles.pi4.speed", None),
    "quota the kernel refuses": (
        "workload:", "profiles:\n  pi4: {speed: 0.01, period: 5ms}\nworkload:", 18, "less than 1ms of CPU", None,
    ),
    "period the kernel refuses": ("workload:", "profiles:\n  pi4: {period: 2s}\nworkload:", 18, "period", None),
    # training
    "cut outside": ("cut: 4", "cut: 7", 20, "cut 7 lies outside the model 'vgg5'", "one of 1 to 6"),
    "cut of no layer": ("cut: 4", "cut: poll2", 20, "'vgg5' has no layer or cut 'poll2'", "did you mean 'pool2'?"),
    "cut of another model": ("model: vgg5\n  cut: 4", "model: cnn\n  cut: SP1", 20, "'cnn' has no layer or cut 'SP1'", None),
    "cut behind the last layer": ("cut: 4", "cut: fc2", 20, "cut fc2 (7) lies outside the model", "one of 1 to 6"),
    "cut that is none": ("cut: 4", "cut: 4.5", 20, "this is not a cut", None),
    "cut of a device": ("profile: pi4,", "profile: pi4, cut: 7,", 9, "cut 7 lies outside the model 'vgg5'", "one of 1"),
    "cut before the first layer": ("cut: 4", "cut: 0", 20, "cut 0 lies outside", "one of 1 to 6"),
    "negative cut": ("cut: 4", "cut: -1", 20, "cut -1 lies outside", "one of 1 to 6"),
    "cut outside the small model": ("model: vgg5\n  cut: 4", "model: cnn\n  cut: 5", 20, "cut 5 lies outside", "1 to 4"),
    "late policy that is none": ("rounds: 3", "late: skip", 21, "unknown policy 'skip'", None),
    "late devices dropped, but not when": ("rounds: 3", "late: drop", 21, "unknown policy 'drop'", "{drop: 30s}"),
    "late devices dropped at once": ("rounds: 3", "late: {drop: 0s}", 21, "a round that lasts no time", None),
    "late devices dropped after the end": (
        "rounds: 3", "late: {drop: 30s}\ntolerances: {round_deadline: 30s}", 21, "the run ends for want of progress", "earlier"),
    "tiers without edge halves": (
        "[splitfed, fedfly]\n  model: vgg5", "[fedfly, fedavg]\n  aggregation: hierarchical", 19,
        "the devices of 'fedavg' deal with the cloud alone", "aggregation: flat",
    ),
    "unknown aggregation": ("rounds: 3", "aggregation: tiered", 21, "unknown choice", None),
    "unknown scheme": ("[splitfed, fedfly]", "fedfy", 18, "unknown scheme 'fedfy'", "did you mean 'fedfly'?"),
    "scheme twice": ("[splitfed, fedfly]", "[fedfly, fedfly]", 18, "'fedfly' is there twice", "take one"),
    "no scheme": ("[splitfed, fedfly]", "[]", 18, "workload.scheme", None),
    "unknown strategy": ("rounds: 3", "strategy: migrat", 21, "unknown strategy", "did you mean 'migrate'?"),
    "unknown model": ("model: vgg5", "model: vgg", 19, "unknown model 'vgg'", "did you mean 'vgg5'?"),
    "selection without a share": ("rounds: 3", "data: {select: {rule: hard}}", 21, "'share' is missing", "add 'share: …'"),
    "selection of nothing": ("rounds: 3", "data: {select: {rule: hard, share: 0%}}", 21, "a share of the data that is none", "leave 'select' out"),
    "selection of more than there is": ("rounds: 3", "data: {select: {rule: hard, share: 130%}}", 21, "more than the whole", None),
    "selection by an unknown rule": ("rounds: 3", "data: {select: {rule: hrad, share: 30%}}", 21, "unknown rule 'hrad'", "did you mean 'hard'?"),
    "selection by an unknown classifier": ("rounds: 3", "data: {select: {rule: hard, share: 30%, by: oracle}}", 21, "unknown choice", None),
    "selection of less than a batch": ("rounds: 3", "data: {select: {rule: hard, share: 3%}}", 21, "leaves each device less than a batch", "keep 4% or more, or set workload.batch to 14"),
    "classifier for a rule that needs none": ("rounds: 3", "data: {select: {rule: random, share: 30%, by: centroid}}", 21, "'by' has nothing to act on", "take by out"),
    "classifier on a device half without layers": (
        "[splitfed, fedfly]\n  model: vgg5\n  cut: 4", "fedavg\n  cut: 0\n  data: {select: {rule: hard, share: 30%, features: half}}", 20,
        "the device half of 'dev' has no layers", "set features: samples, or another cut",
    ),
    "control that is a word": ("rounds: 3", "data: {select: {rule: hard, share: 30%, control: never}}", 21, "unknown choice", None),
    "unknown data set": ("rounds: 3", "data: {set: cifar}", 21, "unknown data set 'cifar'", "did you mean 'cifar10'?"),
    "model that does not take the set": (
        "model: vgg5", "model: transformer", 19, "'transformer' does not take images, which 'digits' has", "model to vgg5",
    ),
    "set that the model does not take": ("model: vgg5\n  cut: 4", "model: cnn1d\n  data: {set: wisdm, dir: .}", 19, "does not take features", "model to mlp"),
    "set that the model by default does not take": ("model: vgg5\n  cut: 4", "data: {set: motion}", 19, "'vgg5' does not take windows", "model to cnn1d"),
    "directory of what is made up": ("model: vgg5\n  cut: 4", "model: mlp\n  data: {set: motion, dir: .}", 20, "'motion' is built in", "take dir out"),
    "missing directory of texts": ("model: vgg5\n  cut: 4", "model: transformer\n  data: {set: sms}", 20, "is missing", "built in: docstrings"),
    "more docstrings than are used": ("model: vgg5\n  cut: 4", "model: transformer\n  data: {set: docstrings, train: 1801}", 20, "fewer samples", "leave train out"),
    "block that the model does not have": ("model: vgg5\n  cut: 4", "model: transformer\n  cut: block9\n  data: {set: docstrings}", 20, "no layer or cut 'block9'", "block"),
    "missing data directory": (
        "rounds: 3", "data: {set: cifar10, dir: nowhere}", 21, "data directory of 'cifar10' is missing", "workload.data.dir",
    ),
    "missing data directory by default": ("rounds: 3", "data: {set: fashion-mnist}", 21, "is missing", "put them there"),
    "unknown split": ("rounds: 3", "data: {split: eqal}", 21, "unknown split 'eqal'", "did you mean 'equal'?"),
    "two splits": ("rounds: 3", "data: {split: {dirichlet: 1, fractions: {}}}", 21, "two rules", "keep one"),
    "alpha of nothing": ("rounds: 3", "data: {split: {dirichlet: 0}}", 21, "workload.data.split.dirichlet", None),
    "share of an unknown device": (
        "rounds: 3", "data: {split: {fractions: {dev-1: 50%, dev-2: 25%, lone: 25%, lonne: 0.0}}}", 21,
        "there is no device 'lonne'", "did you mean 'lone'?",
    ),
    "shares of more than the whole": (
        "rounds: 3", "data: {split: {fractions: {dev-1: 50%, dev-2: 50%, lone: 25%}}}", 21, "do not add up", "multiply each by 0.8",
    ),
    "device without a share": (
        "rounds: 3", "data: {split: {fractions: {dev-1: 50%, dev-2: 50%}}}", 21, "'lone' has no share", "add 'lone",
    ),
    "share of nothing": (
        "rounds: 3", "data: {split: {fractions: {dev-1: 50%, dev-2: 50%, lone: 0}}}", 21, "'lone' is given no data", None,
    ),
    "fewer samples than devices": ("rounds: 3", "data: {train: 2}", 21, "fewer training samples than devices", None),
    "momentum of more than 1": ("rounds: 3", "optimizer: {momentum: 1.5}", 21, "workload.optimizer.momentum", None),
    "split without an edge server": (
        "{profile: tiny-edge}", "none", 5, "site 'south' has no edge server", "leave 'edge: none' out",
    ),
    # moves
    "move of an unknown device": ("device: dev-1", "device: dev-3", 16, "there is no device 'dev-3'", "did you mean"),
    "move of a group": ("device: dev-1", "device: dev", 16, "there is no device 'dev'", "name one of dev-1, dev-2"),
    "move to an unknown site": ("to: south", "to: sooth", 16, "there is no site or edge server 'sooth'", "'south'"),
    "move after the end": ("round: 2", "round: 4", 16, "a move in round 4, and there are 3 rounds", "workload.rounds to 4"),
    "move when training is over": (
        "round: 2, progress: 50%", "round: 3, progress: 100%", 16, "comes when training is over", "a little earlier"),
    "moves of which the last is when training is over": (
        "round: 2, progress: 50%", "every: 3, progress: 100%", 16, "comes when training is over", "a little earlier"),
    "move in round 0": ("round: 2", "round: 0", 16, "mobility.moves.0.round", None),
    "move without a moment": ("round: 2, progress: 50%", "", 16, "no moment", "add round: 2, or at: 12s"),
    "move of two moments": ("round: 2,", "at: 3s, round: 2,", 16, "two moments", "keep one"),
    "move to where it is": ("to: south", "to: north", 16, "'dev-1' is at 'north' already", "take the move out"),
    "two moves at once": (MOVE, MOVE + "\n" + MOVE, 17, "moves twice at one moment", "take one move out"),
    "move there again": (MOVE, MOVE + "\n    - dev-1 to edge-south at 0% of round 3", 17, "at 'south' already", "take the move"),
    "sentence that is none": (MOVE, "    - dev-1 goes south", 16, "this is not a move", None),
    "sentence with a bad unit": (MOVE, "    - dev-1 to south at 5m", 16, "unknown unit 'm'", "5min"),
    "moves and a trace": ("mobility:", "mobility:\n  trace: x.csv", 15, "there are moves and a trace", "take one out"),
    # what links do
    "rate of 0": ("rate: 50Mbit", "rate: 0bit", 13, "a rate must be more than 0", "leave the key out"),
    "rate beyond any machine": ("rate: 50Mbit", "rate: 1Tbit", 13, "higher than any machine carries", "mind the unit"),
    "rate that nothing is served at": ("rate: 50Mbit", "rate: 1bit", 13, "lower than a link can be given", "write 8kbit"),
    "delay beyond the clock": ("delay: 5ms", "delay: 11min", 12, "a delay above what the clock can hold", "mind the unit"),
    "jitter beyond the clock": (
        "delay: 5ms", "delay: 9min, jitter: 2min", 12, "a delay above what the clock can hold", "mind the unit",
    ),
    "queue below two packets": ("queue: 100ms", "queue: 3027B", 11, "the queue cannot hold two packets", "3028B"),
    "queue of one packet": ("queue: 100ms", "queue: 1p", 11, "the queue cannot hold two packets", "or 2p"),
    "queue too short for its rate": ("queue: 100ms", "queue: 1ms", 11, "the queue cannot hold two packets", "2p or more"),
    "queue too short for a site's rate": (
        "at: [0, 0]", "at: [0, 0], access: {rate: 100kbit}", 4, "the queue cannot hold two packets", "2p or more",
    ),
    "queue too large": ("queue: 100ms", "queue: 1GiB", 11, "larger than a link can have", "mind the unit"),
    "queue too long for its rate": (
        "{rate: 50Mbit}", "{rate: 50Gbit, queue: 2s}", 13, "larger than a link can have", "100ms",
    ),
    "loss above the whole": ("loss: 0.1%", "loss: 101%", 11, "more than the whole", "100%"),
    "no such loss": ("loss: 0.1%", "loss: {brust: 4}", 11, "this is no loss", "did you mean 'burst'?"),
    "bursts without a share": ("loss: 0.1%", "loss: {burst: 4}", 11, "'share' is missing", "add 'share: …'"),
    "bursts with a stray key": ("loss: 0.1%", "loss: {burst: 4, share: 1%, bad: 1}", 11, "unknown key 'bad' in a loss", "take"),
    "bursts of less than a packet": ("loss: 0.1%", "loss: {burst: 0.5, share: 1%}", 11, "not a length of bursts", "4"),
    "bursts that cannot lose so much": (
        "loss: 0.1%", "loss: {burst: 1, share: 60%}", 11, "more is lost than bursts of that length allow", "longer bursts",
    ),
    "bursts of nothing": ("loss: 0.1%", "loss: {burst: 4, share: 0}", 11, "nothing would be lost", "write 0"),
    "bursts that never end": ("loss: 0.1%", "loss: {enter: 1%, leave: 0}", 11, "bad for ever", "plain share"),
    "bursts that lose nothing": ("loss: 0.1%", "loss: {enter: 1%, leave: 9%, bad: 0}", 11, "nothing is lost", "bad out"),
    "bursts that lose all": (
        "loss: 0.1%", "loss: {enter: 1%, leave: 9%, good: 1}", 11, "a loss of this kind is every packet", "write 1%",
    ),
    "bursts in one direction": ("loss: 0.1%", "loss: {up: 1%, down: {burst: 4}}", 11, "loss.down: 'share' is missing", "add"),
    "reorder without a delay": ("{rate: 50Mbit}", "{delay: 0, reorder: 1%}", 13, "nothing can be reordered without", "add delay"),
    "everything reordered": ("{rate: 50Mbit}", "{reorder: 1}", 13, "every packet would be sent ahead", "write 1%"),
    "everything damaged": ("{rate: 50Mbit}", "{corrupt: 100%}", 13, "every packet would be damaged", "write 1%"),
    "unknown distribution": (
        "{rate: 50Mbit}", "{jitter: 1ms, distribution: gauss}", 13, "unknown distribution 'gauss'", ".dist",
    ),
    "misspelt distribution": (
        "{rate: 50Mbit}", "{jitter: 1ms, distribution: pareta}", 13, "unknown distribution 'pareta'", "'pareto'",
    ),
    "distribution without its file": (
        "{rate: 50Mbit}", "{jitter: 1ms, distribution: wifi.dist}", 13, "cannot be read", "relative to the experiment file",
    ),
    "distribution without a jitter": ("{rate: 50Mbit}", "{distribution: normal}", 13, "nothing would vary", "add jitter"),
    "normal jitter that reaches below 0": (
        "{rate: 50Mbit}", "{delay: 5ms, jitter: 5ms, distribution: normal}", 13, "15.87% of delays would be below 0", "lower",
    ),
    "loop without a trace": ("{rate: 50Mbit}", "{loop: true}", 13, "no trace to loop", "add a trace"),
    "trace that is not there": ("{rate: 50Mbit}", "{trace: no.csv}", 13, "the trace cannot be read", "relative to the exp"),
    "rate by a trace that is not there": ("{rate: 50Mbit}", "{rate: trace}", 13, "as the trace says, and no", "20Mbit"),
    # speed, memory, what is trained
    "faster than a core": (
        "workload:", "profiles:\n  pi4:\n    speed: 1.5\nworkload:", 19, "'pi4' is faster than a core", "dilation to 1.5, or auto",
    ),
    "a share of more than a core": (
        "workload:", "profiles:\n  pi4: {share: 2}\nworkload:", 18, "'pi4' is faster than a core", "profiles.pi4.share to 1",
    ),
    "speed and share": (
        "workload:", "profiles:\n  pi4: {share: 0.2, speed: 0.2}\nworkload:", 18, "both share and speed", "keep share",
    ),
    "share with a guard": (
        "workload:", "profiles:\n  pi4: {share: 0.2, cpus: 0.2}\nworkload:", 18, "both share and cpus", "keep share",
    ),
    "memory too small for the batch": (
        "rounds: 3", "batch: 479\nprofiles: {tiny-device: {memory: 384MiB}}", 22, "too little memory", "or use a smaller batch",
    ),
    "learning rate of nonsense": ("rounds: 3", "optimizer: {lr: 100}", 21, "workload.optimizer.lr", None),
    "batch that no device can fill": ("rounds: 3", "batch: 480", 21, "a batch is more than each device has", "batch to 479"),
    "batch that one device cannot fill": (
        "rounds: 3", "batch: 64\n  data: {split: {fractions: {dev-1: 50%, dev-2: 48%, lone: 2%}}}", 21,
        "a batch is more than 'lone' has", "batch to 29",
    ),
    "strategy without an edge half": (
        "[splitfed, fedfly]", "fedavg\n  strategy: migrate", 19, "strategy 'migrate' has nothing to act on", "take strategy out",
    ),
    "directory of the built-in set": ("rounds: 3", "data: {dir: x}", 21, "'digits' is built in", "take dir out"),
    "more samples than there are": ("rounds: 3", "data: {test: 361}", 21, "fewer samples than are asked for", "leave test out"),
    "name of an edge server": ("{profile: tiny-edge}", "{name: Edge}", 5, "cannot be the name of an edge server", "'edge'"),
    # a remedy that can be followed
    "speed of nothing, at all": (
        "workload:", "profiles:\n  pi4: {speed: -0.5}\nworkload:", 18, "profiles.pi4.speed", "write more than 0",
    ),
    "speed that is no number": ("workload:", "profiles:\n  pi4: {speed: .nan}\nworkload:", 18, "finite", "write a number"),
    "speed in quotes": ("workload:", "profiles:\n  pi4: {speed: '0.5'}\nworkload:", 18, "wrong form", "write 0.5, without"),
    "speed in per cent": ("workload:", "profiles:\n  pi4: {speed: 50%}\nworkload:", 18, "wrong form", "write 0.5, without"),
    "share of nothing at all": ("workload:", "profiles:\n  pi4: {share: 0}\nworkload:", 18, "share", "write more than 0"),
    "guard of nothing": ("workload:", "profiles:\n  pi4: {cpus: 0}\nworkload:", 18, "cpus", "write more than 0"),
    "quota below the kernel's": (
        "workload:", "profiles:\n  pi4: {speed: 0.15, period: 1ms}\nworkload:", 18, "less than 1ms of CPU", "period to 3ms",
    ),
    "quota below the kernel's in any period": (
        "workload:", "profiles:\n  pi4: {speed: 0.0000001}\nworkload:", 18, "less than 1ms of CPU", "speed to 0.0004",
    ),
    "share below the kernel's in any period": (
        "workload:", "profiles:\n  pi4: {share: 0.0001}\nworkload:", 18, "less than 1ms of CPU", "share to 0.001",
    ),
    "period of an hour": ("workload:", "profiles:\n  pi4: {period: 1h}\nworkload:", 18, "a period that", "leave period out"),
    "loop that is perhaps": ("{rate: 50Mbit}", "{loop: maybe}", 13, "wrong form", "write true or false"),
    "loop of old YAML": ("{rate: 50Mbit}", "{loop: yes}", 13, "wrong form", "write true"),
    "links that nothing is like": (
        "workload:", "emulation: {links: ovs}\nworkload:", 17, "unknown choice", "write one of auto, netem, relay",
    ),
    "rate of a bare 0": ("rate: 50Mbit", "rate: 0", 13, "a rate must be more than 0", "leave the key out"),
    "rate of a bare 0 in one direction": ("down: 40Mbit", "down: 0", 11, "a rate must be more than 0", "leave the key out"),
    "memory of 0": ("workload:", "profiles:\n  pi4: {memory: 0}\nworkload:", 18, "at least one byte", "512MiB"),
    "queue of 0": ("queue: 100ms", "queue: 0", 11, "cannot hold two packets", "or 2p"),
    "dilation that is no number": ("workload:", "dilation: .nan\nworkload:", 17, "this is no dilation", "write 2, for"),
    "bursts without end": ("loss: 0.1%", "loss: {burst: 1e9, share: 1%}", 11, "not a length of bursts", "write 4"),
    "loop of a trace that is none": ("{rate: 50Mbit}", "{trace: none, loop: true}", 13, "no trace to loop", "take loop out"),
    "nodes that hang at once": ("workload:", "tolerances: {node_silence: 0}\nworkload:", 17, "too short", "write 3s or more"),
    "rounds that are late at once": (
        "workload:", "tolerances: {round_deadline: 0}\nworkload:", 17, "too short", "write 100ms or more, or leave it out",
    ),
    # emulation
    "dilation below 1": ("workload:", "dilation: 0.5\nworkload:", 17, "out of range", "leave it out"),
    "dilation that is none": ("workload:", "dilation: fast\nworkload:", 17, "this is no dilation", "or auto"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refused_with_place_and_remedy(write, case):
    old, new, line, message, remedy = BAD[case]
    path = write((old, new))
    with pytest.raises(InputError) as caught:
        load_plan(path)
    problems = getattr(caught.value, "problems", (caught.value,))
    assert any(
        problem.where == f"{path}:{line}" and message in problem.message and (remedy or "") in (problem.remedy or "")
        for problem in problems
    ), str(caught.value)
    assert all(problem.remedy or problem.wanted or problem.found for problem in problems)
    assert str(caught.value).count("\n") < 24, "an error fits on a screen"


def test_the_cases_start_from_a_good_file(write):
    load_plan(write())


@pytest.mark.parametrize(
    "profile",
    ["speed: 0.15, period: 5ms", "speed: 0.00067, period: 1s", "share: 0.001, period: 1s", "speed: 0.001, period: 667ms"],
)
def test_what_remedies_for_quotas_say_is_taken(write, profile):
    load_plan(write(("workload:", f"profiles:\n  pi4: {{{profile}}}\nworkload:")))


def test_all_problems_at_once_each_with_its_line(write):
    units = ("20Mbit", "20Mbps"), ("delay: 5ms", "delay: -5ms")
    path = write(*units, ("profile: pi4", "profil: pi4"), ("rounds: 3", "rounds: 0"))
    with pytest.raises(InputProblems) as caught:
        load(path)
    places = [problem.where for problem in caught.value.problems]
    assert {int(str(place).rpartition(":")[2]) for place in places} == {9, 11, 12, 21}
    for place in places:
        assert f"{place}: " in str(caught.value)
    assert caught.value.exit_code == 2
    assert caught.value.where == places[0]


def test_problems_of_meaning_come_together_too(write):
    path = write(("cut: 4", "cut: 9"), ("device: dev-1", "device: dave"), ("at: south}", "at: sooth}"))
    with pytest.raises(InputProblems) as caught:
        load(path)
    assert len(caught.value.problems) == 3


def test_more_problems_than_fit_are_counted(write):
    devices = "".join(f"  d{i}: {{profile: nix, at: north}}\n" for i in range(25))
    with pytest.raises(InputProblems) as caught:
        load(write((LONE + "\n", devices)))
    assert len(caught.value.problems) == 25
    assert str(caught.value).endswith("and 15 more")
