"""Who is where: traces of movement, and the moves that follow from them."""

# The experiment's planner asks this room for the timeline, and this room speaks of the plan's moves: whichever is
# imported first, the experiment's modules have to come first.
import testbed.experiment  # noqa: F401
