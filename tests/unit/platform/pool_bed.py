"""A pool of instances that are no processes, and a clock that is set."""

from nodes.platform.instances import Pool
from nodes.platform.outcomes import Invocation
from nodes.platform.store import Store
from tests.unit.platform.fakes import Clock, Fakes

F = Invocation("f", "/mine.py", memory=100)
G = Invocation("g", "/mine.py", memory=100)


class Bed:
    def __init__(self, directory, memory=300, **more):
        self.clock, self.fakes, self.came = Clock(), Fakes(), []
        self.passed, self.heard = [], []
        self.store = Store(directory)
        self.pool = Pool(
            self.store, memory, clock=self.clock, launch=self.fakes,
            forward=lambda invocation, node, frames: self.passed.append((invocation, node, [bytes(f) for f in frames])),
            say=lambda invocation, frame: self.heard.append(frame), **more,
        )  # fmt: skip

    def submit(self, invocation=F):
        return self.pool.submit(invocation, self.came.append)

    def run(self, fake, **more):
        """Have an instance do what it was told, and the pool hear of it."""
        fake.result(**more)
        self.pool.step()
        return self.came[-1]

    def cold(self, invocation=F, **more):
        """An invocation that an instance is started for, as far as that it works."""
        self.submit(invocation)
        self.fakes[-1].ready(invocation.function, **more)
        self.pool.step()
        return self.fakes[-1]

    def after(self, seconds):
        """Time passes."""
        self.clock.now += seconds
        self.pool.step()

    def close(self):
        self.pool.close()
        self.fakes.close()


def beds(tmp_path):
    """What makes beds, for a fixture; they are closed after the test."""
    made = []

    def make(**more):
        made.append(Bed(tmp_path / f"store{len(made)}", **more))
        return made[-1]

    yield make
    for bed in made:
        bed.close()
