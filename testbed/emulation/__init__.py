"""Makes a plan real: containers, bridges, links, limits, handovers, and the way to take all of it away."""
